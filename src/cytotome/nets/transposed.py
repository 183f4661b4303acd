"""A light decoder: transposed convolutions, skip connections, one convolution per level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cytotome.nets.compact import ConvNormAct


class TransposedDecoder(nn.Module):
    """Decodes feature maps of strides 2, 4, ... to one map at the input's resolution.

    Each level is upsampled by a 2x2 transposed convolution of stride 2, which causes no checkerboard artefacts,
    concatenated with the next finer level, and passed through one 3x3 convolution.

    Args:
        channels: channels of the levels, finest first.
        widths: channels after each upsampling, one per level, finest (that of the result, ``out_channels``) first.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = (16, 32, 48, 64, 96)) -> None:
        super().__init__()
        self.out_channels = widths[0]
        skips = (0, *channels[:-1])
        inputs = (*widths[1:], channels[-1])
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(n, width, 2, 2) for n, width in zip(inputs, widths, strict=True)
        )
        self.mix = nn.ModuleList(ConvNormAct(width + skip, width) for skip, width in zip(skips, widths, strict=True))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns ``(B, out_channels, H, W)`` for maps ``(B, C, H / 2, W / 2)``, ``(B, C, H / 4, W / 4)``, ..."""
        x = features[-1]
        for level in reversed(range(len(self.enlarge))):
            x = self.enlarge[level](x)
            x = self.mix[level](torch.cat([x, features[level - 1]], dim=1) if level else x)
        return x
