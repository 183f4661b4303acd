"""Depthwise convolutions that train fast on CPUs."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from typing_extensions import override


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that is trained in float32 on CPUs.

    On CPUs, gradients of depthwise convolutions are slower in bfloat16 than in float32, so that a whole encoder trains
    half as fast (``benchmarks/depthwise.py``). On other devices, and in prediction, it is equal to the original
    convolution.

    Args:
        like: the convolution whose weights are shared, with the same zero padding, or that of TensorFlow
            (``Conv2dSame``).
    """

    def __init__(self, like: nn.Conv2d) -> None:
        options: dict[str, Any] = {name: getattr(like, name) for name in ("stride", "padding", "dilation", "groups")}
        kernel = cast("Any", like.kernel_size)
        super().__init__(like.in_channels, like.out_channels, kernel, **options, bias=like.bias is not None)
        self.pads_same = pads_same(like)
        self.weight, self.bias = like.weight, like.bias

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, C, H, W)`` to ``(B, C, h, w)``."""
        if self.training and x.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                return super().forward(self._padded(x.float()))
        return super().forward(self._padded(x))

    def _padded(self, x: Tensor) -> Tensor:
        if not self.pads_same:
            return x
        from timm.layers.padding import pad_same  # timm takes seconds to import

        return cast("Tensor", pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation)))


def pads_same(layer: nn.Conv2d) -> bool:
    """Whether a convolution pads as TensorFlow does: timm's ``Conv2dSame``, or its replacement."""
    return layer.pads_same if isinstance(layer, DepthwiseConv2d) else type(layer).__name__ == "Conv2dSame"


def speed_up_depthwise(net: nn.Module) -> None:
    """Replaces each depthwise convolution by :class:`DepthwiseConv2d`; names of weights are unchanged."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and child.groups == child.in_channels > 1 and child.padding_mode == "zeros":
                setattr(module, name, DepthwiseConv2d(child))
