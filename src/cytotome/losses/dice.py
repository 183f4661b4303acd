"""The Dice loss."""

from __future__ import annotations

from torch import Tensor

SMOOTH = 1.0


def soft_dice_loss(probabilities: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """1 - Dice of each channel over the whole batch (Milletari et al. 2016, arXiv 1606.04797).

    The mean is over the channels that occur in the truth. For an absent class, the Dice of few false pixels is as bad
    as that of many, which would not help; the cross entropy handles these.
    """
    shared = (probabilities * truth * weight).sum(dim=(0, 2, 3))
    area = (truth * weight).sum(dim=(0, 2, 3))
    total = area + (probabilities * weight).sum(dim=(0, 2, 3))
    present = (area > 0).float()
    loss = 1 - (2 * shared + SMOOTH) / (total + SMOOTH)
    return (loss * present).sum() / present.sum().clamp(min=1)
