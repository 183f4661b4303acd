"""Supervised contrastive loss over pixels, with memory that is not quadratic in their number.

Pixels of the same label attract each other, pixels of different labels repel each other (supervised contrastive loss,
Khosla et al. 2020, arXiv 2004.11362, between pixels as in the dense contrast of Wang et al. 2021, arXiv 2011.09157).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

BLOCK = 1 << 21
"""Number of similarities in memory at a time; 8 MB for each of the five arrays of a block."""
LEAST_TEMPERATURE = 0.02
"""Below this, exp(2 / temperature) overflows float32."""


def pixel_contrast(embeddings: Tensor, labels: Tensor, temperature: float = 0.2, *, balanced: bool = False) -> Tensor:
    """Mean over pairs i, p of the same label of ``-log(e_ip / (e_ip + sum of e_in over pixels n of other labels))``.

    ``e_ij = exp(x_i . x_j / temperature)``. The mean is taken over the partners of each pixel, then over pixels.

    Args:
        embeddings: ``(N, D)``, of unit length.
        labels: ``(N,)`` integers.
        temperature: at least 0.02.
        balanced: give each label the same weight, regardless of its number of pixels.

    Returns:
        A scalar, 0 if no pixel has a partner. The gradient is computed in the same pass, one block of rows at a time.

    Raises:
        ValueError: if the temperature is lower.
    """
    if temperature < LEAST_TEMPERATURE:
        raise ValueError(f"temperature: expected at least {LEAST_TEMPERATURE}, got {temperature}")
    loss: Tensor = _PixelContrast.apply(embeddings.float(), labels, temperature, balanced)
    return loss


class _PixelContrast(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        embeddings, labels, temperature, balanced = arguments
        weights = _pair_weights(labels, balanced)
        loss: Tensor = embeddings.new_zeros(())
        gradient = torch.zeros_like(embeddings)
        rows = max(1, BLOCK // max(1, len(labels)))
        for start in range(0, len(labels), rows):
            part = slice(start, start + rows)
            slopes, value = _block(embeddings, labels, weights, part, temperature)
            loss += value
            gradient[part] += slopes @ embeddings
            gradient += slopes.T @ embeddings[part]
        ctx.save_for_backward(gradient / temperature)
        return loss

    @staticmethod
    @override
    def backward(ctx: Any, *outer: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return outer[0] * gradient, None, None, None


def _pair_weights(labels: Tensor, balanced: bool) -> Tensor:
    """``(N,)`` weight of each pair that starts at a pixel; they sum to 1 over all pairs, or to 0 without pairs."""
    _, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    partners = (counts[inverse] - 1).float()
    paired = partners > 0
    share = 1 / counts[inverse].float() if balanced else torch.ones_like(partners)
    share = torch.where(paired, share, 0.0)
    weights: Tensor = share / share.sum().clamp(min=1e-12) / partners.clamp(min=1)
    return weights


def _block(
    embeddings: Tensor, labels: Tensor, weights: Tensor, part: slice, temperature: float
) -> tuple[Tensor, Tensor]:
    """Derivatives of the loss with respect to the block's similarities (rows ``part``, all columns), and its part of
    the loss.
    """
    similarity = embeddings[part] @ embeddings.T / temperature
    same = labels[part, None] == labels[None, :]
    partner = same.clone()
    rows = torch.arange(len(partner), device=labels.device)
    partner[rows, rows + part.start] = False
    powers = similarity.exp()
    others = powers.masked_fill(same, 0.0)
    rivals = others.sum(dim=1, keepdim=True)
    total = powers.add_(rivals)
    losses = (total.log() - similarity).masked_fill_(~partner, 0.0)
    value = (losses.sum(dim=1) * weights[part]).sum()
    inverse = total.reciprocal_().masked_fill_(~partner, 0.0)
    slopes = others.mul_(inverse.sum(dim=1, keepdim=True)).sub_(inverse.mul_(rivals))
    return slopes.mul_(weights[part, None]), value
