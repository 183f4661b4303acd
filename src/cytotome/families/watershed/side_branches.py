"""A plain trunk of convolutions whose deeper levels each have a branch to the output, fused at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cytotome.nets.compact import ConvNormAct
from cytotome.nets.heads import split_heads

BRANCHES = 3


class SideBranchNet(nn.Module):
    """VGG-like trunk (Simonyan and Zisserman 2015, arXiv 1409.1556) with side branches (Bai and Urtasun 2017).

    The last three levels (or all, if there are fewer) each have a branch of two convolutions, which is resized to the
    input's resolution; two 1x1 convolutions fuse the branches. Unlike in the paper, convolutions are followed by batch
    normalisation, so that the trunk can be trained from random weights.

    Args:
        channels: channels of the input.
        widths: channels of the levels, finest first; each level after the first halves the resolution.
        convolutions: number of 3x3 convolutions in each level, at least one.
        heads: channels of the outputs at the input's resolution, by name.
    """

    def __init__(
        self, channels: int, widths: Sequence[int], convolutions: Sequence[int], heads: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        self.levels = nn.ModuleList()
        for width, count in zip(widths, convolutions, strict=True):
            self.levels.append(
                nn.Sequential(*(ConvNormAct(channels if k == 0 else width, width) for k in range(count)))
            )
            channels = width if count else channels
        self.pool = nn.MaxPool2d(2)
        middle = min(128, min(widths[-BRANCHES:]))
        self.branches = nn.ModuleList(
            nn.Sequential(ConvNormAct(width, middle), ConvNormAct(middle, middle, 1)) for width in widths[-BRANCHES:]
        )
        fused = middle * len(self.branches)
        self.fuse = nn.Sequential(ConvNormAct(fused, middle, 1), nn.Conv2d(middle, sum(heads.values()), 1))
        self.heads = dict(heads)
        self._initialise()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns named logits for ``(B, C, H, W)`` images whose sides are multiples of ``stride``."""
        features = []
        x = images
        for index, level in enumerate(self.levels):
            x = level(x if index == 0 else self.pool(x))
            features.append(x)
        sides = [branch(x) for branch, x in zip(self.branches, features[-BRANCHES:], strict=True)]
        size = images.shape[2:]
        sides = [functional.interpolate(side, size=size, mode="bilinear", align_corners=False) for side in sides]
        return split_heads(self.fuse(torch.cat(sides, dim=1)), self.heads)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        last = self.fuse[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.normal_(last.weight, std=0.01)
