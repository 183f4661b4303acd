"""A discriminator of images with their masks."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from cytotome.errors import ConfigError

LEAST_SIDE = 32
"""The team's discriminator halves its input while both sides are this long or longer."""
SLOPE = 0.2


class Discriminator(nn.Module):
    """Convolutions of stride 2 with leaky ReLUs, whose channels double, and one value per image.

    There is no normalisation over the batch, so that the value of an image does not depend on the others, as the
    gradient penalty asks for (Gulrajani et al. 2017, arXiv 1704.00028).

    Args:
        channels: of the input, image and masks together.
        width: channels of the first convolution.
        levels: number of convolutions; None for as many as bring ``size`` below 32 pixels, as the team's has.
        size: height and width of the input, for a last layer with a weight for each place; None for the mean over
            places, which takes any size.

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
        """``(B,)`` values of ``(B, C, H, W)`` images with masks; greater for what looks real.

        Raises:
            ConfigError: if the last layer has a weight for each place and the input is of another size.
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
    """How often both sides can be halved while they are 32 pixels or more."""
    sides, count = size, 0
    while min(sides) >= LEAST_SIDE:
        sides, count = (sides[0] // 2, sides[1] // 2), count + 1
    return count


@torch.no_grad()
def clip_weights(net: nn.Module, limit: float) -> None:
    """Brings every weight into ``[-limit, limit]`` (Arjovsky et al. 2017, arXiv 1701.07875)."""
    for parameter in net.parameters():
        parameter.clamp_(-limit, limit)
