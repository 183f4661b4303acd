"""The discriminative loss for embeddings (De Brabandere et al. 2017, arXiv 1708.02551)."""

from __future__ import annotations

import torch
from torch import Tensor


def discriminative_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    pull_margin: float = 0.5,
    push_margin: float = 1.5,
    centre_weight: float = 0.001,
) -> Tensor:
    """Pulls pixels to within ``pull_margin`` of their label's mean, and means to beyond ``2 * push_margin``.

    Hinges are squared, as in the paper; all labels have equal weight in the pull term, and all pairs in the push term.

    Args:
        embeddings: ``(N, D)``.
        labels: ``(N,)`` integers; each value is a label, including 0.
        pull_margin, push_margin: the paper's delta_v and delta_d.
        centre_weight: weight of the mean length of the means.

    Returns:
        A scalar, 0 without pixels. Memory is linear in the number of pixels and quadratic in that of labels.
    """
    embeddings = embeddings.float()
    if len(labels) == 0:
        return embeddings.new_zeros(())
    _, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    sums = embeddings.new_zeros(len(counts), embeddings.shape[1])
    means = sums.index_add(0, inverse, embeddings) / counts[:, None]
    distance = _length(embeddings - means[inverse])
    pull = ((distance - pull_margin).clamp(min=0).square() / counts[inverse]).sum() / len(counts)
    total: Tensor = pull + centre_weight * _length(means).mean()
    if len(counts) > 1:
        first, second = torch.triu_indices(len(counts), len(counts), 1, device=means.device)
        apart = _length(means[first] - means[second])
        total = total + (2 * push_margin - apart).clamp(min=0).square().mean()
    return total


def _length(vectors: Tensor) -> Tensor:
    """Euclidean length over the last axis, with a gradient of 0 at 0."""
    lengths: Tensor = (vectors.square().sum(dim=-1) + 1e-12).sqrt()
    return lengths
