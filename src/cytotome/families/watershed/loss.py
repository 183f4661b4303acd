"""Losses of the four stages (Bai and Urtasun 2017, arXiv 1611.08303, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from cytotome.contract import Batch
from cytotome.families.watershed.config import WatershedConfig
from cytotome.families.watershed.targets import BACKGROUND, CELL, WALL
from cytotome.losses.cell_type import cell_type_loss
from cytotome.losses.dice import soft_dice_loss

if TYPE_CHECKING:
    from cytotome.families.watershed.net import WatershedNet

SMALL = 1e-6


def semantic_loss(net: WatershedNet, batch: Batch, config: WatershedConfig) -> dict[str, Tensor]:
    """Cross entropy and Dice of cell and wall, and the cell type's cross entropy, over valid pixels."""
    return _semantic_losses(net.semantic(batch["image"]), batch, config)


def direction_loss(net: WatershedNet, batch: Batch) -> dict[str, Tensor]:
    """Loss of the directions within the true mask."""
    directions = net.directions(batch["image"], true_mask(batch))
    loss, angle = squared_angle(directions, batch)
    return {"angle": angle, "total": loss}


def energy_loss(net: WatershedNet, batch: Batch, config: WatershedConfig) -> dict[str, Tensor]:
    """Loss of the levels predicted from the true directions."""
    logits = net.levels(batch["direction"], true_mask(batch))
    return {"accuracy": level_accuracy(logits, batch), "total": level_loss(logits, batch, config)}


def joint_loss(net: WatershedNet, batch: Batch, config: WatershedConfig) -> dict[str, Tensor]:
    """All three losses on the image only; each network gets the output of the previous one."""
    outputs = net(batch["image"])
    direction, angle = squared_angle(outputs["direction"], batch)
    losses = {
        "semantic": _semantic_losses(outputs, batch, config)["total"],
        "direction": direction,
        "angle": angle,
        "energy": level_loss(outputs["energy"], batch, config),
        "accuracy": level_accuracy(outputs["energy"], batch),
    }
    total = config.direction_weight * direction + config.energy_weight * losses["energy"]
    if config.semantic_weight:
        total = total + config.semantic_weight * losses["semantic"]
    return {**losses, "total": total}


def true_mask(batch: Batch) -> Tensor:
    """``(B, 1, H, W)`` float32, 1 on valid cells and walls."""
    return (batch["semantic"] != BACKGROUND) * batch["valid"]


def _semantic_losses(outputs: dict[str, Tensor], batch: Batch, config: WatershedConfig) -> dict[str, Tensor]:
    logits, truth, valid = outputs["semantic"].float(), batch["semantic"][:, 0], batch["valid"]
    entropy = functional.cross_entropy(logits, truth, reduction="none")[:, None]
    entropy = (entropy * valid).sum() / valid.sum().clamp(min=1)
    chosen = [CELL, WALL]
    true_planes = torch.stack([truth == kind for kind in chosen], dim=1).float()
    losses = {"entropy": entropy}
    total = (1 - 2 * config.dice) * entropy
    if config.dice:
        probabilities = torch.softmax(logits, dim=1)[:, chosen]
        planes = [(probabilities[:, k : k + 1], true_planes[:, k : k + 1]) for k in range(2)]
        losses["dice_cell"], losses["dice_wall"] = (soft_dice_loss(one, true, valid) for one, true in planes)
        total = total + config.dice * (losses["dice_cell"] + losses["dice_wall"])
    if "cell_type" in outputs:
        losses["cell_type"] = cell_type_loss(outputs["cell_type"].float(), batch["cell_type"], valid)
        total = total + config.type_weight * losses["cell_type"]
    return {**losses, "total": total}


def squared_angle(directions: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean squared angle in radians between ``(B, 2, H, W)`` and the true directions, weighted by pixel.

    The angle is computed with atan2, whose gradient stays finite where the two agree; that of the arc cosine does not.

    Returns:
        The loss, and the mean angle in degrees without gradient.
    """
    truth, directions = batch["direction"], directions.float()
    dot = (directions * truth).sum(dim=1, keepdim=True)
    cross = directions[:, :1] * truth[:, 1:] - directions[:, 1:] * truth[:, :1]
    weight = batch["weight"] * batch["valid"] * (truth.square().sum(dim=1, keepdim=True) > 0.5)
    # Where the network outputs zeros, both are 0; a small dot product keeps the gradient finite.
    angle = torch.atan2(cross, torch.where(dot.abs() < SMALL, SMALL, dot))
    total = weight.sum().clamp(min=SMALL)
    degrees = torch.rad2deg((angle.detach().abs() * (weight > 0)).sum() / (weight > 0).sum().clamp(min=1))
    return (angle.square() * weight).sum() / total, degrees


def level_loss(logits: Tensor, batch: Batch, config: WatershedConfig) -> Tensor:
    """Two-sided log loss of the levels: each level's probability against all others, weighted by level and pixel."""
    levels = batch["energy"][:, 0]
    probabilities = torch.softmax(logits.float(), dim=1)
    truth = functional.one_hot(levels, config.levels).permute(0, 3, 1, 2)
    right = torch.where(truth > 0, probabilities, 1 - probabilities)
    scale = level_weights(config, logits.device)[None, :, None, None]
    entropy = -(scale * right.clamp(min=SMALL).log()).sum(dim=1, keepdim=True)
    weight = batch["weight"] * batch["valid"]
    return (entropy * weight).sum() / weight.sum().clamp(min=SMALL)


def level_weights(config: WatershedConfig, device: torch.device) -> Tensor:
    """``(K,)`` float32."""
    given = config.level_weights or (1.0, *(1 + 1 / level for level in range(1, config.levels)))
    return torch.tensor(given, dtype=torch.float32, device=device)


def level_accuracy(logits: Tensor, batch: Batch) -> Tensor:
    """Fraction of the instances' pixels whose most likely level is the true one."""
    inside = (batch["energy"] > 0) & (batch["valid"] > 0)
    right = logits.detach().argmax(dim=1, keepdim=True) == batch["energy"]
    return (right & inside).sum() / inside.sum().clamp(min=1)
