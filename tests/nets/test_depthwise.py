"""Depthwise convolutions that a processor trains in float32: the same function, with the same gradients."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from cytotome.nets.depthwise import DepthwiseConv2d, speed_up_depthwise


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_a_network_stays_the_same_function(name: str) -> None:
    torch.manual_seed(0)
    original = timm.create_model(name, features_only=True, in_chans=1)
    changed = copy.deepcopy(original)
    speed_up_depthwise(changed)
    assert list(changed.state_dict()) == list(original.state_dict())
    assert any(isinstance(module, DepthwiseConv2d) for module in changed.modules())
    image = torch.rand(2, 1, 64, 96)
    for one, other in zip(original(image), changed(image), strict=True):
        torch.testing.assert_close(one, other)
    sum(level.square().mean() for level in original(image)).backward()
    sum(level.square().mean() for level in changed(image)).backward()
    for one, other in zip(original.parameters(), changed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)


def test_a_processor_trains_it_in_float32_and_predicts_as_it_is_told() -> None:
    layer = DepthwiseConv2d(nn.Conv2d(4, 4, 3, groups=4))
    image = torch.rand(1, 4, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(image.bfloat16()).dtype == torch.float32
        assert layer.eval()(image).dtype == torch.bfloat16
    assert copy.deepcopy(layer)(image).shape == (1, 4, 6, 6)
