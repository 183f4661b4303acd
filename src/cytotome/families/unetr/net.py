"""UNETR (Hatamizadeh et al. 2022) in two dimensions, built from MONAI's blocks, for images of any size; its
discriminator.
"""

from __future__ import annotations

import torch
from monai.networks.nets.unetr import UNETR as MonaiUnetr
from torch import Tensor, nn
from torch.nn import functional

from cytotome.families.unetr.config import PATCH, STRIDE, Adversarial, UnetrConfig
from cytotome.families.unetr.discriminator import Discriminator
from cytotome.nets.heads import split_heads

TAPS = (3, 6, 9)
"""Transformer blocks, counted from 0, whose outputs are passed to the decoder in addition to the last."""


class Unetr(nn.Module):
    """A vision transformer over patches of 16 x 16 pixels whose states at four depths are the input of a U-Net decoder.

    MONAI's network accepts images of one size. Here, images smaller than the window use the position embeddings of its
    upper left part; for larger ones, they are interpolated (Dosovitskiy et al. 2021, arXiv 2010.11929). As the engine
    splits larger images into tiles, interpolation only happens on request.

    Args:
        config: sizes.
        heads: channels of the outputs at the input's resolution, by name.
    """

    def __init__(self, config: UnetrConfig, heads: dict[str, int]) -> None:
        super().__init__()
        whole = MonaiUnetr(
            in_channels=config.channels,
            out_channels=sum(heads.values()),
            img_size=config.window,
            feature_size=config.feature_size,
            hidden_size=config.hidden_size,
            mlp_dim=config.mlp_size,
            num_heads=config.heads,
            dropout_rate=config.dropout,
            spatial_dims=2,
        )
        self.stride = STRIDE
        self.tile = min(config.window)
        self.output_heads = heads
        self.grid = (config.window[0] // PATCH, config.window[1] // PATCH)
        embedding = whole.vit.patch_embedding
        self.patches, self.positions, self.dropout = (
            embedding.patch_embeddings,
            embedding.position_embeddings,
            embedding.dropout,
        )
        self.blocks, self.norm = whole.vit.blocks, whole.vit.norm
        self.encoders = nn.ModuleList([whole.encoder1, whole.encoder2, whole.encoder3, whole.encoder4])
        self.decoders = nn.ModuleList([whole.decoder5, whole.decoder4, whole.decoder3, whole.decoder2])
        self.out = whole.out

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns named logits for ``(B, C, H, W)`` images whose sides are multiples of ``stride``."""
        tokens = self.patches(images)
        rows, columns = tokens.shape[2], tokens.shape[3]
        tokens = (tokens + self._positions(rows, columns)).flatten(2).transpose(1, 2)
        tokens = self.dropout(tokens)
        features = [self.encoders[0](images)]
        for depth, block in enumerate(self.blocks):
            tokens = block(tokens)
            if depth in TAPS:
                features.append(self.encoders[len(features)](_to_map(tokens, rows, columns)))
        decoded = _to_map(self.norm(tokens), rows, columns)
        for decoder in self.decoders:
            decoded = decoder(decoded, features.pop())
        return split_heads(self.out(decoded), self.output_heads)

    def _positions(self, rows: int, columns: int) -> Tensor:
        """``(1, hidden, rows, columns)``: a part of the window's embeddings, or all of them, interpolated."""
        grid = torch.unflatten(self.positions.transpose(1, 2), 2, self.grid)
        if rows <= self.grid[0] and columns <= self.grid[1]:
            return grid[:, :, :rows, :columns]
        size = (max(rows, self.grid[0]), max(columns, self.grid[1]))
        wide = functional.interpolate(grid.float(), size, mode="bicubic", align_corners=False)
        return wide[:, :, :rows, :columns].to(grid.dtype)


class UnetrGan(nn.Module):
    """A UNETR, and a discriminator of images with their maps.

    Args:
        config: sizes of the generator.
        heads: channels of the generator's outputs, by name.
        adversarial: sizes of the discriminator.
    """

    def __init__(self, config: UnetrConfig, heads: dict[str, int], adversarial: Adversarial) -> None:
        super().__init__()
        self.generator = Unetr(config, heads)
        self.stride, self.tile = self.generator.stride, self.generator.tile
        self.heads = tuple(heads)
        self.discriminator = Discriminator(
            config.channels + sum(heads.values()),
            adversarial.width,
            levels=adversarial.levels,
            size=config.window if adversarial.pooling == "places" else None,
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns the generator's logits."""
        outputs: dict[str, Tensor] = self.generator(images)
        return outputs

    def pairs(self, images: Tensor, maps: dict[str, Tensor], valid: Tensor) -> Tensor:
        """``(B, C + maps, H, W)`` float32, the discriminator's input, 0 where ``valid`` ``(B, 1, H, W)`` is 0."""
        return torch.cat([images, *(maps[name] for name in self.heads)], dim=1).float() * valid


def _to_map(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """``(B, hidden, rows, columns)`` of ``(B, rows * columns, hidden)``."""
    return torch.unflatten(tokens.transpose(1, 2), 2, (rows, columns))
