"""An optimised network computes what the plain one computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cytotome.families.flow.cellpose import CellposeNet
from cytotome.inference.device import takes_bfloat16
from cytotome.inference.optimise import FusedConvolution, can_fuse_activations, optimise
from cytotome.nets.compact import CompactUNet
from cytotome.nets.encoder_decoder import EncoderDecoder

fuses = pytest.mark.skipif(not can_fuse_activations(torch.device("cpu")), reason="no oneDNN on this processor")


def randomise(net: nn.Module) -> nn.Module:
    """Statistics and scales that a trained network might have."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1)
                nn.init.uniform_(module.bias, -0.3, 0.3)
    return net.eval().requires_grad_(False)


def assert_same(net: nn.Module, images: Tensor, *, fuse_activations: bool = True) -> nn.Module:
    with torch.inference_mode():
        expected = net(images)
        fast = optimise(copy.deepcopy(net), fuse_activations=fuse_activations)
        fast = fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        found = fast(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    return fast


def count(net: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in net.modules())


@fuses
@pytest.mark.parametrize("fuse_activations", [True, False])
def test_the_compact_network(fuse_activations: bool) -> None:
    net = randomise(CompactUNet(1, (8, 12, 16), (1, 2, 1), {"a": 2, "b": 1}, {"c": 3}))
    images = torch.randn(2, 1, 32, 48)
    fast = assert_same(net, images, fuse_activations=fuse_activations)
    assert count(fast, nn.BatchNorm2d) == 0
    if fuse_activations:
        assert count(fast, nn.ReLU) == count(fast, nn.Conv2d) == 0
    assert fast.stride == net.stride


@fuses
def test_the_networks_of_others() -> None:
    images = torch.randn(1, 1, 64, 96)
    fast = assert_same(randomise(EncoderDecoder("resnet18", "unet", 1, {"a": 3}, {"c": 2})), images)
    assert count(fast, nn.BatchNorm2d) == 0
    assert count(fast, FusedConvolution) > 20
    fast = assert_same(randomise(CellposeNet(1, (8, 16, 32), {"a": 3}, {"c": 2})), images)
    assert count(fast, FusedConvolution) > 10


@fuses
@pytest.mark.parametrize("encoder", ["efficientnet_lite0", "tf_efficientnet_lite0"])
def test_depthwise_convolutions_and_activations_in_normalisations(encoder: str) -> None:
    """Also where the image is halved with TensorFlow's padding."""
    net = randomise(EncoderDecoder(encoder, "compact", 1, {"a": 3}, {"c": 2}, widths=(8, 8, 12, 16, 16)))
    fast = assert_same(net, torch.randn(1, 1, 64, 96))
    assert count(fast, nn.BatchNorm2d) == count(fast, nn.ReLU6) == count(fast, nn.Conv2d) == 0


class Odd(nn.Module):
    """All that must not be fused, or fused with care."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.reflected = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.same = nn.Conv2d(4, 4, 3, padding="same")
        self.watched = nn.Conv2d(4, 4, (3, 1), stride=(1, 1), padding=(2, 0), dilation=(2, 1), groups=2)
        self.norm = nn.BatchNorm2d(4, affine=False)
        self.gate = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.shared(x)) + self.second(self.shared(x))
        x = torch.relu(self.reflected(x) + self.same(x))
        watched = self.watched(x)
        x = self.norm(watched) * 2 + watched
        gate = functional.adaptive_avg_pool2d(x, 1)
        x = functional.relu(self.gate(x) + gate)
        x = self.gate(x).relu() + self.gate(gate)
        held = self.gate(x)
        x += held
        return x + held


@fuses
def test_shared_watched_and_broadcast_layers() -> None:
    assert_same(randomise(Odd()), torch.randn(2, 4, 12, 10))


class Choosing(nn.Module):
    """Cannot be traced: its forward asks for the values of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = 0.5
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](x) if x.mean() > self.threshold else self.layers[1](x)  # type: ignore[no-any-return]


@fuses
def test_a_network_that_cannot_be_traced_is_optimised_in_parts() -> None:
    net = randomise(Choosing())
    for shift in (0, 1):
        fast = assert_same(net, torch.rand(1, 2, 8, 8) + shift)
        assert isinstance(fast, Choosing)
        assert count(fast, nn.BatchNorm2d) == 0
        assert count(fast, FusedConvolution) == 2


@pytest.mark.skipif(not takes_bfloat16(torch.device("cpu")), reason="no bfloat16 on this processor")
def test_bfloat16_stays_within_its_rounding() -> None:
    net = randomise(CompactUNet(1, (8, 12, 16), (1, 2, 1), {"a": 2}, {"c": 3}))
    images = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        expected = net(images)
        fast = optimise(copy.deepcopy(net), fuse_activations=True).bfloat16()
        fast = fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        found = fast(images.bfloat16().contiguous(memory_format=torch.channels_last))
    for name, values in expected.items():
        assert (found[name].float() - values).abs().mean() < 0.02 * values.std()
