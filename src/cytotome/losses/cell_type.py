"""The loss of a map of cell types, shared by the families that predict one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def cell_type_loss(logits: Tensor, classes: Tensor, valid: Tensor) -> Tensor:
    """Cross entropy at the resolution of ``logits``; the class of a coarse pixel is the largest class index within it.

    Args:
        logits: ``(B, K, h, w)``.
        classes: ``(B, 1, H, W)`` class indices, -1 for unknown and background.
        valid: ``(B, 1, H, W)``, 0 for ignored pixels.
    """
    size = (int(logits.shape[2]), int(logits.shape[3]))
    known = torch.where(valid > 0, classes.float(), -1.0)
    coarse = functional.adaptive_max_pool2d(known, size)[:, 0].long()
    summed = functional.cross_entropy(logits, coarse, ignore_index=-1, reduction="sum")
    return summed / (coarse >= 0).sum().clamp(min=1)
