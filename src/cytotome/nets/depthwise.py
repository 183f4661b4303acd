"""Depthwise convolutions that learn at speed on processors."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from typing_extensions import override


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that a processor trains in float32.

    The gradients of depthwise convolutions in bfloat16 take a processor longer than those in float32, so that a whole
    encoder learns half as fast (``benchmarks/depthwise.py``). Everywhere else, and in prediction, it is the convolution
    that it was made of.

    Args:
        like: the convolution whose weights are shared; it pads with zeros as that does, or as TensorFlow does
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
        """``(B, C, h, w)`` of ``(B, C, H, W)``."""
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
    """Whether a convolution pads as TensorFlow does: timm's ``Conv2dSame``, or ours in its place."""
    return layer.pads_same if isinstance(layer, DepthwiseConv2d) else type(layer).__name__ == "Conv2dSame"


def speed_up_depthwise(net: nn.Module) -> None:
    """Replaces each depthwise convolution by :class:`DepthwiseConv2d`; names of weights stay."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and child.groups == child.in_channels > 1 and child.padding_mode == "zeros":
                setattr(module, name, DepthwiseConv2d(child))
