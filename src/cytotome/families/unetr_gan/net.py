"""Generator and discriminator as one network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cytotome.families.unetr.net import Unetr
from cytotome.families.unetr_gan.config import UnetrGanConfig
from cytotome.nets.discriminator import Discriminator


class UnetrGan(nn.Module):
    """A UNETR, and a discriminator of images with the maps that belong to them.

    Args:
        config: sizes.
        heads: name to channels of the generator's outputs.
    """

    def __init__(self, config: UnetrGanConfig, heads: dict[str, int]) -> None:
        super().__init__()
        self.generator = Unetr(config, heads)
        self.stride, self.tile = self.generator.stride, self.generator.tile
        self.heads = tuple(heads)
        self.discriminator = Discriminator(
            config.channels + sum(heads.values()),
            config.discriminator_width,
            levels=config.discriminator_levels,
            size=config.window if config.pooling == "places" else None,
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The generator's logits."""
        outputs: dict[str, Tensor] = self.generator(images)
        return outputs

    def pairs(self, images: Tensor, maps: dict[str, Tensor], valid: Tensor) -> Tensor:
        """``(B, C + maps, H, W)`` float32, what the discriminator sees: 0 wherever ``valid`` ``(B, 1, H, W)`` is."""
        return torch.cat([images, *(maps[name] for name in self.heads)], dim=1).float() * valid
