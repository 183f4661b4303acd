"""How far a run is: in steps and in wall time, in which stage, and with which learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Counts steps and time; a run is as far as the further of the two.

    Attributes:
        steps: of the whole run.
        seconds: wall time of the whole run, None for no limit.
        shares: lengths of the stages, relative to each other.
        step: batches done.
        spent: seconds that earlier parts of a resumed run took.
        started: clock at the start of this part.
    """

    steps: int
    seconds: float | None
    shares: Sequence[float]
    step: int = 0
    spent: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        """Seconds of the whole run, earlier parts included."""
        return self.spent + time.monotonic() - self.started

    def fraction(self, ahead: int = 0) -> float:
        """Part of the run that is done, or will be in ``ahead`` more steps of no time; 1 or more at its end."""
        by_steps = (self.step + ahead) / self.steps
        return by_steps if self.seconds is None else max(by_steps, self.elapsed() / self.seconds)

    def stage(self, fraction: float) -> tuple[int, float]:
        """The stage at a fraction of the run, and the part of that stage that is done, in [0, 1)."""
        total = sum(self.shares)
        start = 0.0
        for index, share in enumerate(self.shares):
            length = share / total
            if fraction < start + length - 1e-12:
                return index, max(0.0, (fraction - start) / length)
            start += length
        return len(self.shares) - 1, 1.0


def learning_rate(done: float, greatest: float, final: float, warmup: float) -> float:
    """Linear rise over ``warmup``, then half a cosine down to ``final * greatest`` (arXiv 1608.03983).

    Args:
        done: part of the stage that is done, in [0, 1].
        greatest: learning rate at the end of the rise.
        final: part of it that is left at the end.
        warmup: part of the stage that the rise takes.
    """
    if done < warmup:
        return greatest * (0.01 + 0.99 * done / warmup)
    fall = (done - warmup) / (1 - warmup) if warmup < 1 else 1.0
    return greatest * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, fall))))
