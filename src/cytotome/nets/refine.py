"""The decoder of RefineNet (Lin et al. 2017, arXiv 1611.06612)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class _ResidualUnit(nn.Module):
    """Twice ReLU and convolution, with a shortcut; without normalisation, as in the paper."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.relu(self.first(functional.relu(x))))  # type: ignore[no-any-return]


class _ChainedPooling(nn.Module):
    """Pooling and convolution, one after the other, each added: context from a large window."""

    def __init__(self, width: int, links: int = 2) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(links))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        path = x
        for convolution in self.convolutions:
            path = convolution(functional.max_pool2d(path, 5, 1, 2))
            x = x + path
        return x


class _RefineBlock(nn.Module):
    """Adapts a level, fuses it with the next deeper one, and applies chained pooling."""

    def __init__(self, width: int, deepest: bool) -> None:
        super().__init__()
        self.adapt = nn.Sequential(_ResidualUnit(width), _ResidualUnit(width))
        self.fuse_fine = None if deepest else nn.Conv2d(width, width, 3, padding=1)
        self.fuse_deep = None if deepest else nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.pool = _ChainedPooling(width)
        self.output = _ResidualUnit(width)

    def forward(self, fine: Tensor, deep: Tensor | None = None) -> Tensor:
        x = self.adapt(fine)
        if deep is not None:
            assert self.fuse_fine is not None
            assert self.fuse_deep is not None
            x = self.fuse_fine(x) + functional.interpolate(self.fuse_deep(deep), scale_factor=2.0, mode="bilinear")
        return self.output(self.pool(x))  # type: ignore[no-any-return]


class RefineDecoder(nn.Module):
    """Decodes feature maps of strides 2, 4, ... to one map at the input's resolution.

    The paper refines levels 4 to 32 and upsamples the last result; as cells are small, the level of stride 2 is refined
    here too, and only the last step upsamples.

    Args:
        channels: channels of the levels, finest first.
        width: channels of all blocks, and of the result (``out_channels``).
    """

    def __init__(self, channels: Sequence[int], width: int = 64) -> None:
        super().__init__()
        self.out_channels = width
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 3, padding=1, bias=False) for count in channels)
        last = len(channels) - 1
        self.blocks = nn.ModuleList(_RefineBlock(width, level == last) for level in range(len(channels)))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns ``(B, out_channels, H, W)`` for maps ``(B, C, H / 2, W / 2)``, ``(B, C, H / 4, W / 4)``, ..."""
        deep: Tensor | None = None
        for level in reversed(range(len(self.blocks))):
            deep = self.blocks[level](self.lateral[level](features[level]), deep)
        assert deep is not None
        return functional.interpolate(deep, scale_factor=2.0, mode="bilinear")
