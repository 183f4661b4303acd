"""What every network must keep: named outputs at the right size, gradients everywhere, errors that help."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from cytotome.errors import ConfigError
from cytotome.families.flow.cellpose import CellposeNet
from cytotome.nets.compact import CompactUNet, initialise
from cytotome.nets.encoder_decoder import EncoderDecoder
from cytotome.nets.heads import split_heads

FINE, DEEP = {"flow": 2, "cell": 1}, {"cell_type": 3}
BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "compact": lambda: CompactUNet(1, (8, 12, 16), (0, 1, 2), FINE, DEEP),
    "cellpose": lambda: CellposeNet(1, (8, 12, 16), FINE, DEEP),
    "timm": lambda: EncoderDecoder("test_resnet", "unet", 1, FINE, DEEP),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_outputs_have_the_input_size_and_every_weight_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    net = BUILDERS[name]()
    images = torch.randn(2, 1, 64, 96)
    outputs = net(images)
    assert outputs["flow"].shape == (2, 2, 64, 96)
    assert outputs["cell"].shape == (2, 1, 64, 96)
    stride = 96 // outputs["cell_type"].shape[3]
    assert outputs["cell_type"].shape == (2, 3, 64 // stride, 96 // stride)
    sum(output.square().sum() for output in outputs.values()).backward()
    without = [key for key, weight in net.named_parameters() if weight.grad is None]
    assert without == []


@pytest.mark.parametrize("name", BUILDERS)
def test_images_of_a_batch_do_not_see_each_other(name: str) -> None:
    torch.manual_seed(0)
    net = BUILDERS[name]().eval()
    images = torch.randn(3, 1, 64, 64)
    with torch.no_grad():
        together, alone = net(images), net(images[1:2])
    for key, output in together.items():
        torch.testing.assert_close(output[1:2], alone[key], rtol=1e-3, atol=1e-4)


def test_compact_is_shift_equivariant_by_its_stride() -> None:
    torch.manual_seed(0)
    net = CompactUNet(1, (8, 12), (0, 1), FINE, {}).eval()
    image = torch.zeros(1, 1, 96, 96)
    image[..., 40:48, 40:48] = torch.randn(8, 8)
    moved = torch.roll(image, (net.stride, net.stride), (2, 3))
    with torch.no_grad():
        there, back = net(moved)["flow"], net(image)["flow"]
    torch.testing.assert_close(there[..., 30:70, 30:70], torch.roll(back, (4, 4), (2, 3))[..., 30:70, 30:70])


def test_residual_branches_start_as_identity() -> None:
    net = CompactUNet(1, (8, 12), (1, 1), FINE, DEEP)
    initialise(net)
    block = net.encoder[0][0]  # type: ignore[index]
    x = torch.rand(1, 8, 6, 6)
    torch.testing.assert_close(block(x), x)


def test_unknown_encoder_is_named() -> None:
    with pytest.raises(ConfigError, match=r"encoder 'resnet_of_nobody'.*list_models"):
        EncoderDecoder("resnet_of_nobody", "unet", 1, FINE, DEEP)


def test_heads_are_cut_in_order() -> None:
    logits = torch.arange(6.0).reshape(1, 6, 1, 1)
    parts = split_heads(logits, {"a": 2, "b": 3, "c": 1})
    assert {name: part.flatten().tolist() for name, part in parts.items()} == {"a": [0, 1], "b": [2, 3, 4], "c": [5]}
