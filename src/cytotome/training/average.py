"""Exponential moving average of a network's weights (Polyak and Juditsky 1992)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averages parameters and floating-point buffers; other buffers are copied.

    The decay rises with the number of updates, ``min(decay, (1 + n) / (10 + n))``, so that random initial weights are
    soon forgotten.

    Args:
        net: whose weights are averaged; only its present device is used.
        decay: per update, in [0, 1); 0 keeps the latest weights.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        live = net.state_dict(keep_vars=True)
        self._names = list(live)
        self._live = [value.detach() for value in live.values()]
        self._average = [value.clone() for value in self._live]
        floating = [i for i, value in enumerate(self._live) if value.is_floating_point()]
        self._live_floating = [self._live[i] for i in floating]
        self._average_floating = [self._average[i] for i in floating]
        self._other = [i for i in range(len(self._live)) if i not in set(floating)]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the network's present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.decay else 0.0
        self.updates += 1
        torch._foreach_lerp_(self._average_floating, self._live_floating, 1 - decay)
        for i in self._other:
            self._average[i].copy_(self._live[i])

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights, under the network's names."""
        return dict(zip(self._names, self._average, strict=True))

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor], updates: int) -> None:
        """Goes on from averaged weights that were saved."""
        self.updates = updates
        for name, average in zip(self._names, self._average, strict=True):
            average.copy_(weights[name])
