"""Losses of foreground and border maps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from cytotome.contract import Batch
from cytotome.losses.dice import soft_dice_loss


def foreground_losses(
    outputs: Mapping[str, Tensor], batch: Batch, *, dice_weight: float, border_weight: float
) -> dict[str, Tensor]:
    """Cross entropy and soft Dice of the foreground maps and of the border, over valid pixels.

    Args:
        outputs: logits ``foreground`` ``(B, K, H, W)`` and, if there is one, ``border`` ``(B, 1, H, W)``.
        batch: targets ``foreground``, ``border``, ``typed``; pixels of unknown class are excluded from the foreground's
            losses.
        dice_weight: weight of the Dice losses, relative to the cross entropies.
        border_weight: weight of the border's losses, relative to those of the foreground.

    Returns:
        ``foreground`` and ``border``, each the cross entropy plus the weighted Dice loss, and ``total``.
    """
    valid = batch["valid"]
    known = valid * batch["typed"]
    losses = {"foreground": entropy_and_dice(outputs["foreground"], batch["foreground"], known, dice_weight)}
    total = losses["foreground"]
    if "border" in outputs:
        losses["border"] = entropy_and_dice(outputs["border"], batch["border"], valid, dice_weight)
        total = total + border_weight * losses["border"]
    return {**losses, "total": total}


def entropy_and_dice(logits: Tensor, truth: Tensor, weight: Tensor, dice_weight: float) -> Tensor:
    """Mean binary cross entropy plus ``dice_weight`` times the mean over channels of 1 - Dice.

    Args:
        logits, truth: ``(B, K, H, W)``.
        weight: ``(B, 1, H, W)``, 0 for ignored pixels.
    """
    logits = logits.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    entropy = (entropy * weight).sum() / (weight.sum() * logits.shape[1]).clamp(min=1)
    return entropy + dice_weight * soft_dice_loss(torch.sigmoid(logits), truth, weight)
