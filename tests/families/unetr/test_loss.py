"""Losses of foreground and border: known answers, and what adds nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cytotome.families.unetr.loss import foreground_losses
from cytotome.losses.dice import soft_dice_loss


def batch_of(valid: float = 1.0) -> dict[str, Tensor]:
    torch.manual_seed(0)
    foreground = torch.zeros(2, 2, 16, 16)
    foreground[:, 0, 2:9, 3:12] = 1
    border = torch.zeros(2, 1, 16, 16)
    border[:, :, 5] = 1
    return {
        "foreground": foreground,
        "border": border,
        "typed": torch.ones(2, 1, 16, 16),
        "valid": torch.full((2, 1, 16, 16), valid),
    }


def logits_of(batch: dict[str, Tensor], size: float) -> dict[str, Tensor]:
    return {name: size * (2 * batch[name] - 1) for name in ("foreground", "border")}


def test_the_truth_has_no_loss_and_its_opposite_a_large_one() -> None:
    batch = batch_of()
    weights = {"dice_weight": 1.0, "border_weight": 2.0}
    assert foreground_losses(logits_of(batch, 30), batch, **weights)["total"].item() == pytest.approx(0, abs=1e-4)
    worst = foreground_losses(logits_of(batch, -30), batch, **weights)
    assert worst["border"].item() == pytest.approx(31, abs=0.1)  # 30 of the entropy, 1 of the Dice
    assert worst["total"].item() == pytest.approx((worst["foreground"] + 2 * worst["border"]).item())


def test_dice_is_that_of_masks_and_leaves_out_classes_that_are_nowhere() -> None:
    truth = torch.zeros(1, 2, 10, 10)
    truth[0, 0, :5] = 1
    guess = torch.zeros(1, 2, 10, 10)
    guess[0, :, :, :5] = 1
    loss = soft_dice_loss(guess, truth, torch.ones(1, 1, 10, 10))
    assert loss.item() == pytest.approx(1 - (2 * 25 + 1) / (100 + 1))


def test_invalid_pixels_add_nothing() -> None:
    batch = batch_of(0.0)
    assert foreground_losses(logits_of(batch, -30), batch, dice_weight=1.0, border_weight=1.0)["total"].item() == 0


def test_pixels_of_unknown_class_tell_of_the_border_alone() -> None:
    batch = batch_of()
    batch["typed"][:, :, 2:9, 3:12] = 0
    outputs = logits_of(batch, 30)
    outputs["foreground"][:, :, 2:9, 3:12] *= -1
    losses = foreground_losses(outputs, batch, dice_weight=1.0, border_weight=1.0)
    assert losses["foreground"].item() == pytest.approx(0, abs=1e-4)
    outputs["border"] *= -1
    assert foreground_losses(outputs, batch, dice_weight=0.0, border_weight=1.0)["border"].item() > 29
