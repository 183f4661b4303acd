"""The residual U-Net with style vector of Cellpose (Stringer et al. 2021, doi:10.1038/s41592-020-01018-x)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional

from cytotome.nets.heads import split_heads


def _conv(inputs: int, outputs: int, kernel: int = 3, act: bool = True) -> nn.Sequential:
    """Normalisation, ReLU, convolution: the pre-activation order of the paper."""
    layers: list[nn.Module] = [nn.BatchNorm2d(inputs, eps=1e-5, momentum=0.05)]
    if act:
        layers.append(nn.ReLU())
    layers.append(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2))
    return nn.Sequential(*layers)


class _StyledConv(nn.Module):
    """Adds the encoder's features and a projection of the style, then convolves."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = _conv(inputs, outputs)
        self.full = nn.Linear(style, inputs)

    def forward(self, style: Tensor, x: Tensor, skip: Tensor | None = None) -> Tensor:
        if skip is not None:
            x = x + skip
        return self.conv(x + self.full(style)[:, :, None, None])  # type: ignore[no-any-return]


class _Down(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = _conv(inputs, outputs, 1, act=False)
        self.first = nn.Sequential(_conv(inputs, outputs), _conv(outputs, outputs))
        self.second = nn.Sequential(_conv(outputs, outputs), _conv(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.shortcut(x) + self.first(x)
        return x + self.second(x)  # type: ignore[no-any-return]


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.shortcut = _conv(inputs, outputs, 1, act=False)
        self.entry = _conv(inputs, outputs)
        self.styled = nn.ModuleList(_StyledConv(outputs, outputs, style) for _ in range(3))

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        x = self.shortcut(x) + self.styled[0](style, self.entry(x), skip)
        return x + self.styled[2](style, self.styled[1](style, x))  # type: ignore[no-any-return]


class CellposeNet(nn.Module):
    """Residual U-Net whose decoder uses a style vector: the normalised global average of the deepest features.

    Because of this average, results for tiles differ slightly from those for the whole image.

    Args:
        channels: channels of the input.
        widths: channels of the levels, 32, 64, 128, 256 in the paper.
        fine_heads: channels by name, for outputs at the input's resolution.
        deep_heads: channels by name, for outputs on the deepest features.
    """

    def __init__(
        self, channels: int, widths: Sequence[int], fine_heads: Mapping[str, int], deep_heads: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        inputs = (channels, *widths[:-1])
        self.down = nn.ModuleList(_Down(*pair) for pair in zip(inputs, widths, strict=True))
        deeper = (*widths[1:], widths[-1])
        self.up = nn.ModuleList(_Up(*pair, widths[-1]) for pair in zip(deeper, widths, strict=True))
        self.fine_heads = dict(fine_heads)
        self.output = _conv(widths[0], sum(fine_heads.values()), 1)
        self.deep = nn.ModuleDict({name: nn.Conv2d(widths[-1], count, 1) for name, count in deep_heads.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns named logits for ``(B, C, H, W)`` images whose sides are multiples of ``stride``."""
        skips: list[Tensor] = []
        x = images
        for index, level in enumerate(self.down):
            x = level(functional.max_pool2d(x, 2) if index else x)
            skips.append(x)
        style = functional.normalize(skips[-1].mean(dim=(2, 3)), dim=1)
        outputs = {name: head(x) for name, head in self.deep.items()}
        for index in reversed(range(len(skips))):
            x = self.up[index](x, skips[index], style)
            if index:
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return {**outputs, **split_heads(self.output(x), self.fine_heads)}
