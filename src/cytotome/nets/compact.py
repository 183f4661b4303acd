"""A compact residual U-Net that is fast on CPUs: half-resolution trunk, sub-pixel heads at the input's resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from cytotome.nets.heads import split_heads


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch normalisation and ReLU, which can be folded into one convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, act: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if act:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNormAct(inputs, outputs), ConvNormAct(outputs, outputs, act=False))
        self.shortcut = nn.Identity() if inputs == outputs else ConvNormAct(inputs, outputs, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``."""
        return functional.relu(self.body(x) + self.shortcut(x), inplace=True)


def top_down_blocks(widths: Sequence[int]) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Builds the layers for :func:`top_down` from the channels of the levels: convolutions between levels, and
    blocks.
    """
    lateral = nn.ModuleList(ConvNormAct(deep, fine, 1, act=False) for fine, deep in pairwise(widths))
    return lateral, nn.ModuleList(ResidualBlock(width, width) for width in widths[:-1])


def top_down(features: Sequence[Tensor], lateral: nn.ModuleList, blocks: nn.ModuleList) -> list[Tensor]:
    """Adds to the features of each level, finest first, those of the deeper levels; the deepest is unchanged."""
    levels = list(features)
    for index in reversed(range(len(levels) - 1)):
        x = functional.interpolate(lateral[index](levels[index + 1]), scale_factor=2.0, mode="nearest")
        levels[index] = blocks[index](x + levels[index])
    return levels


class CompactDecoder(nn.Module):
    """The decoder of :class:`CompactUNet` over the levels of another encoder.

    Args:
        channels: channels of the levels, finest (at half the image's resolution) first.
        widths: channels of the decoder at each level.
    """

    stride = 2

    def __init__(self, channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = widths[0]
        self.skips = nn.ModuleList(
            ConvNormAct(count, width, 1, act=False) for count, width in zip(channels, widths, strict=True)
        )
        self.lateral, self.blocks = top_down_blocks(widths)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns ``(B, out_channels, H / 2, W / 2)`` for maps ``(B, C, H / 2, W / 2)``, ``(B, C, H / 4, W / 4)``,
        ...
        """
        return self.levels(features)[0]

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns the features of each level, with ``widths`` channels, finest first."""
        levels = [skip(level) for skip, level in zip(self.skips, features, strict=True)]
        return top_down(levels, self.lateral, self.blocks)


class CompactUNet(nn.Module):
    """U-Net (Ronneberger et al. 2015, arXiv 1505.04597) whose finest features are at half the input's resolution.

    The stem halves the resolution, so that most computations are on a quarter of the pixels; heads at the input's
    resolution use sub-pixel convolution (Shi et al. 2016, arXiv 1609.05158).

    Args:
        channels: channels of the input.
        widths: channels of the levels, finest first; each level halves the resolution.
        blocks: number of residual blocks in each level of the encoder; 0 at the finest uses only the stem.
        fine_heads: channels of the heads at the input's resolution, by name.
        deep_heads: channels of the heads on the deepest features, by name, for outputs that need context more than
            position.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        fine_heads: Mapping[str, int],
        deep_heads: Mapping[str, int],
    ) -> None:
        super().__init__()
        self.stride = 2 ** len(widths)
        self.stem = ConvNormAct(channels, widths[0], stride=2)
        self.encoder = nn.ModuleList()
        inputs = widths[0]
        for width, count in zip(widths, blocks, strict=True):
            steps = pairwise([inputs] + count * [width])
            self.encoder.append(nn.Sequential(*(ResidualBlock(*pair) for pair in steps)))
            inputs = width
        self.pool = nn.MaxPool2d(2)
        self.lateral, self.decoder = top_down_blocks(widths)
        self.fine_heads = dict(fine_heads)
        self.fine = nn.Conv2d(widths[0], 4 * sum(fine_heads.values()), 3, padding=1)
        self.deep = nn.ModuleDict({name: nn.Conv2d(widths[-1], count, 1) for name, count in deep_heads.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns named logits for ``(B, C, H, W)`` images whose sides are multiples of ``stride``."""
        features = self.features(images)
        return {name: head(features[-1]) for name, head in self.deep.items()} | self.fine_logits(features[0])

    def features(self, images: Tensor) -> list[Tensor]:
        """Returns the features of each level, from the finest, at half the images' size, to the deepest."""
        x = self.stem(images)
        features = []
        for index, level in enumerate(self.encoder):
            x = level(x if index == 0 else self.pool(x))
            features.append(x)
        return top_down(features, self.lateral, self.decoder)

    def fine_logits(self, finest: Tensor) -> dict[str, Tensor]:
        """Returns named logits at the images' resolution from the finest features."""
        return split_heads(functional.pixel_shuffle(self.fine(finest), 2), self.fine_heads)


def initialise(net: CompactUNet) -> None:
    """Applies He initialisation; the last normalisation of each residual block starts at zero, the heads near zero."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, ResidualBlock):
            last = list(module.body.modules())[-1]
            assert isinstance(last, nn.BatchNorm2d)
            nn.init.zeros_(last.weight)
    for head in (net.fine, *net.deep.values()):
        assert isinstance(head, nn.Conv2d)
        nn.init.normal_(head.weight, std=0.01)
