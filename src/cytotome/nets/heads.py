"""One convolution for several named outputs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def split_heads(logits: Tensor, heads: Mapping[str, int]) -> dict[str, Tensor]:
    """Cuts ``(B, sum of channels, H, W)`` into named tensors, in the order of ``heads``."""
    return dict(zip(heads, torch.split(logits, list(heads.values()), dim=1), strict=True))
