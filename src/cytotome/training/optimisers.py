"""The optimisers available to recipes and phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from cytotome.training.plan import PhaseSettings

MOMENTUM = 0.9
"""Momentum of ``sgd``, with Nesterov's correction."""


def make_optimiser(parameters: Sequence[nn.Parameter], settings: PhaseSettings) -> torch.optim.Optimizer:
    """Creates an optimiser; weight decay does not apply to biases and normalisation (one axis).

    The weight decay of ``adamw`` is decoupled (Loshchilov and Hutter 2019, arXiv 1711.05101); that of ``adam``,
    ``rmsprop`` and ``sgd`` is added to the gradient.

    Args:
        parameters: one or more.
        settings: kind, maximum learning rate, weight decay.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    fused = all(p.is_floating_point() for p in parameters)
    rate = settings.learning_rate
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=rate, fused=fused)
    if settings.optimiser == "adam":
        return torch.optim.Adam(groups, lr=rate, fused=fused)
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate)
    return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM, nesterov=True, fused=fused)
