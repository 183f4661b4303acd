"""The three networks of the watershed family, one after the other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from cytotome.families.watershed.config import WatershedConfig
from cytotome.families.watershed.side_branches import SideBranchNet
from cytotome.families.watershed.targets import BACKGROUND
from cytotome.nets.compact import CompactUNet, initialise

SHORTEST = 1e-4
"""Vectors shorter than this are not normalised to unit length, so that their gradient stays finite."""


class WatershedNet(nn.Module):
    """Semantic classes from the image, directions from image and mask, energy levels from directions and mask.

    Args:
        semantic: ``(B, C, H, W)`` images to logits ``semantic`` (3) and, for several classes, ``cell_type``, coarse.
        direction: ``(B, C + 1, H, W)`` images within the mask, and the mask, to ``direction`` (2).
        energy: ``(B, 3, H, W)`` directions within the mask, and the mask, to logits ``energy`` (K).
    """

    def __init__(self, semantic: nn.Module, direction: nn.Module, energy: nn.Module) -> None:
        super().__init__()
        self.semantic = semantic
        self.direction = direction
        self.energy = energy
        self.stride = max(int(net.stride) for net in (semantic, direction, energy))  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """``semantic`` and ``energy`` logits, ``direction`` unit vectors y, x, and ``cell_type`` logits."""
        outputs: Mapping[str, Tensor] = self.semantic(images)
        mask = 1 - torch.softmax(outputs["semantic"].float(), dim=1)[:, BACKGROUND : BACKGROUND + 1]
        mask = mask.to(images.dtype)
        direction = self.directions(images, mask)
        return {**outputs, "direction": direction, "energy": self.levels(direction.to(images.dtype), mask)}

    def directions(self, images: Tensor, mask: Tensor) -> Tensor:
        """``(B, 2, H, W)`` float32 unit vectors of images and a ``(B, 1, H, W)`` mask in [0, 1]."""
        raw = self.direction(torch.cat([images * mask, mask], dim=1))["direction"].float()
        return functional.normalize(raw, dim=1, eps=SHORTEST)

    def levels(self, direction: Tensor, mask: Tensor) -> Tensor:
        """``(B, K, H, W)`` logits of unit vectors and a mask."""
        logits: Tensor = self.energy(torch.cat([direction * mask, mask], dim=1))["energy"]
        return logits


def build_network(config: WatershedConfig) -> WatershedNet:
    """Builds the networks with random weights, except for a pretrained encoder."""
    deep = {"cell_type": len(config.class_names)} if len(config.class_names) > 1 else {}
    if config.network == "timm":
        from cytotome.nets.encoder_decoder import EncoderDecoder  # timm takes seconds to import

        semantic: nn.Module = EncoderDecoder(
            config.encoder, "unet", config.channels, {"semantic": 3}, deep, pretrained=config.pretrained
        )
    else:
        semantic = _compact(config.channels, config.widths, config.blocks, {"semantic": 3}, deep)
    return WatershedNet(
        semantic,
        _trunk(
            config.direction_network,
            config.channels + 1,
            config.direction_widths,
            config.direction_blocks,
            {"direction": 2},
        ),
        _trunk(config.energy_network, 3, config.energy_widths, config.energy_blocks, {"energy": config.levels}),
    )


def _trunk(
    kind: str, channels: int, widths: tuple[int, ...], blocks: tuple[int, ...], heads: Mapping[str, int]
) -> nn.Module:
    if kind == "vgg":
        return SideBranchNet(channels, widths, blocks, heads)
    return _compact(channels, widths, blocks, heads, {})


def _compact(
    channels: int,
    widths: tuple[int, ...],
    blocks: tuple[int, ...],
    heads: Mapping[str, int],
    deep: Mapping[str, int],
) -> nn.Module:
    net = CompactUNet(channels, widths, blocks, heads, deep)
    initialise(net)
    return net


def predict_maps(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """``semantic`` and ``cell_type`` probabilities, ``direction``, and ``energy``, the expected level.

    The length of directions is the probability of cell or wall, since they are meaningless outside.
    """
    outputs = net(images)
    levels = torch.softmax(outputs["energy"].float(), dim=1)
    numbers = torch.arange(levels.shape[1], dtype=levels.dtype, device=levels.device)[None, :, None, None]
    semantic = torch.softmax(outputs["semantic"].float(), dim=1)
    maps = {
        "semantic": semantic,
        "direction": outputs["direction"].float() * (1 - semantic[:, BACKGROUND : BACKGROUND + 1]),
        "energy": (levels * numbers).sum(dim=1, keepdim=True),
    }
    if "cell_type" in outputs:
        maps["cell_type"] = torch.softmax(outputs["cell_type"].float(), dim=1)
    return maps
