"""Exponential moving average of a network's weights (Polyak and Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Ema(AveragedModel):
    """Averages parameters and floating-point buffers; other buffers are copied. ``module`` has the averaged weights.

    The decay rises with the number of updates, ``min(decay, (1 + n) / (10 + n))``, so that the influence of random
    initial weights decays quickly.

    Args:
        net: network whose weights are averaged, on the device where it is trained.
        decay: per update, in [0, 1); 0 keeps the latest weights.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        super().__init__(net, multi_avg_fn=self._blend, use_buffers=True)
        self.decay = decay
        self.module.requires_grad_(False)
        self.n_averaged.fill_(1)  # the initial weights; at 0 the first update would replace them

    def _blend(self, averages: Any, latest: Any, _: Any) -> None:
        if not averages[0].is_floating_point():
            for average, value in zip(averages, latest, strict=True):
                average.copy_(value)
            return
        updates = int(self.n_averaged) - 1
        decay = min(self.decay, (1 + updates) / (10 + updates)) if self.decay else 0.0
        get_ema_multi_avg_fn(decay)(averages, latest, self.n_averaged)  # type: ignore[no-untyped-call]

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, under the network's names."""
        return dict(self.module.state_dict())

    def load(self, weights: Mapping[str, Tensor], averaged: int) -> None:
        """Resumes from saved weights and the number of networks in them, ``n_averaged``."""
        self.module.load_state_dict(weights)
        self.n_averaged.fill_(averaged)
