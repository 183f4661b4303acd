"""UNETR for any size: against MONAI's own, position embeddings, gradients."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from monai.networks.nets.unetr import UNETR as MonaiUnetr
from pydantic import ValidationError

from cytotome.families.unetr.config import UnetrConfig
from cytotome.families.unetr.net import Unetr

SMALL = UnetrConfig(window=(96, 128), hidden_size=32, mlp_size=48, heads=2, feature_size=4)


@dataclass
class Pair:
    ours: Unetr
    monai: MonaiUnetr


@pytest.fixture(scope="module")
def pair() -> Pair:
    """The same weights in both; MONAI's are for images of the window's size alone."""
    torch.manual_seed(0)
    ours = Unetr(SMALL, {"foreground": 2, "border": 1}).eval()
    monai = MonaiUnetr(1, 3, (96, 128), 4, 32, 48, 2, spatial_dims=2).eval()
    names = {"encoders": "encoder", "decoders": "decoder"}
    table = {"blocks": "vit.blocks", "norm": "vit.norm", "patches": "vit.patch_embedding.patch_embeddings"}
    table["positions"] = "vit.patch_embedding.position_embeddings"
    weights = {}
    for key, value in ours.state_dict().items():
        head, _, rest = key.partition(".")
        if head in names:
            number, _, rest = rest.partition(".")
            number = int(number) + 1 if head == "encoders" else 5 - int(number)
            weights[f"{names[head]}{number}.{rest}"] = value
        else:
            weights[".".join(part for part in (table.get(head, head), rest) if part)] = value
    monai.load_state_dict(weights)
    return Pair(ours, monai)


def test_at_the_window_it_is_monais(pair: Pair) -> None:
    images = torch.randn(2, 1, 96, 128)
    with torch.no_grad():
        ours, theirs = pair.ours(images), pair.monai(images)
    torch.testing.assert_close(torch.cat([ours["foreground"], ours["border"]], dim=1), theirs)


@pytest.mark.parametrize("size", [(32, 64), (96, 64), (128, 128), (64, 192)])
def test_any_multiple_of_the_stride_goes_through(pair: Pair, size: tuple[int, int]) -> None:
    with torch.no_grad():
        outputs = pair.ours(torch.randn(1, 1, *size))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "foreground": (1, 2, *size),
        "border": (1, 1, *size),
    }


def test_position_embeddings_are_a_part_or_an_interpolation(pair: Pair) -> None:
    whole = pair.ours._positions(6, 8)
    assert torch.equal(pair.ours._positions(2, 5), whole[:, :, :2, :5])
    wide = pair.ours._positions(12, 16)
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(wide, 2), whole, atol=0.02, rtol=0)


def test_every_weight_that_is_used_has_a_gradient() -> None:
    torch.manual_seed(0)
    net = Unetr(SMALL, {"foreground": 2, "border": 1})
    sum(output.square().mean() for output in net(torch.randn(1, 1, 64, 64)).values()).backward()
    without = [name for name, weight in net.named_parameters() if weight.grad is None]
    without = [name for name in without if "norm_cross_attn" not in name]  # MONAI keeps it for cross attention alone
    assert without == []


def test_config_names_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match=r"window must be multiples of 32, 96 or more, got \[100, 128\]"):
        UnetrConfig(window=(100, 128))
    with pytest.raises(ValidationError, match="hidden_size must be a multiple of heads, got 30 and 4"):
        UnetrConfig(hidden_size=30, heads=4)
