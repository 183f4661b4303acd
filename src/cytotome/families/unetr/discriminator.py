"""A discriminator of images with their masks."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from cytotome.errors import ConfigError

LEAST_SIDE = 32
"""As in the team's code, the input is halved while both sides are at least this long."""
SLOPE = 0.2


class Discriminator(nn.Module):
    """Convolutions of stride 2 with leaky ReLUs, whose channels double, and one value per image.

    There is no batch normalisation, so that the value of an image does not depend on others, as required by the
    gradient penalty (Gulrajani et al. 2017, arXiv 1704.00028).

    Args:
        channels: channels of the input, image and masks together.
        width: channels of the first convolution.
        levels: number of convolutions; None for as many as reduce ``size`` to less than 32 pixels, as in the team's
            code.
        size: height and width of the input, for a last layer with one weight per position; None for the mean over
            positions, which accepts any size.

    Raises:
        ConfigError: if neither ``levels`` nor ``size`` is given.
    """

    def __init__(
        self, channels: int, width: int, *, levels: int | None = None, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        if levels is None:
            if size is None:
                raise ConfigError("discriminator: give levels, or the size of its input")
            levels = halvings(size)
        self.size = size
        layers: list[nn.Module] = []
        wide = channels
        for level in range(levels):
            layers += [nn.Conv2d(wide, width << level, 4, 2, 1), nn.LeakyReLU(SLOPE)]
            wide = width << level
        self.body = nn.Sequential(*layers)
        places = 1 if size is None else (size[0] >> levels) * (size[1] >> levels)
        self.value = nn.Linear(wide * places, 1)

    def forward(self, pairs: Tensor) -> Tensor:
        """``(B,)`` values for ``(B, C, H, W)`` images with masks; higher for inputs that look real.

        Raises:
            ConfigError: if the last layer has one weight per position and the input has another size.
        """
        if self.size is not None and tuple(pairs.shape[2:]) != self.size:
            raise ConfigError(
                f"discriminator: it is made for crops of {self.size[0]}x{self.size[1]}, got "
                f"{pairs.shape[2]}x{pairs.shape[3]}; set sampling.crop or the discriminator's pooling to mean"
            )
        features = self.body(pairs)
        pooled = features.mean(dim=(2, 3)) if self.size is None else features.flatten(1)
        return cast(Tensor, self.value(pooled))[:, 0]


def halvings(size: tuple[int, int]) -> int:
    """Number of times that both sides can be halved while they are at least 32 pixels."""
    sides, count = size, 0
    while min(sides) >= LEAST_SIDE:
        sides, count = (sides[0] // 2, sides[1] // 2), count + 1
    return count


@torch.no_grad()
def clip_weights(net: nn.Module, limit: float) -> None:
    """Clips every weight to ``[-limit, limit]`` (Arjovsky et al. 2017, arXiv 1701.07875)."""
    for parameter in net.parameters():
        parameter.clamp_(-limit, limit)
