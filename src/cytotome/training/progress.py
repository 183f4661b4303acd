"""Progress of a run: steps, wall time, stage and learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Counts steps and time; the progress is the larger fraction of the two.

    Attributes:
        steps: steps of the whole run.
        seconds: wall time of the whole run, None for no limit.
        shares: lengths of the stages, relative to each other.
        step: number of finished steps.
        spent: seconds of earlier parts of a resumed run.
        started: clock at the start of this part.
        now: seconds at the start of the current step, which are used throughout the step; None to read the clock.
    """

    steps: int
    seconds: float | None
    shares: Sequence[float]
    step: int = 0
    spent: float = 0.0
    started: float = field(default_factory=time.monotonic)
    now: float | None = None

    def elapsed(self) -> float:
        """Seconds of the whole run, including earlier parts."""
        return self.spent + time.monotonic() - self.started

    def fraction(self) -> float:
        """Finished fraction of the run; 1 or more at its end."""
        by_steps = self.step / self.steps
        if self.seconds is None:
            return by_steps
        return max(by_steps, (self.elapsed() if self.now is None else self.now) / self.seconds)

    def stage(self, fraction: float) -> tuple[int, float]:
        """The stage at a fraction of the run, and the finished fraction of that stage, in [0, 1)."""
        total = sum(self.shares)
        start = 0.0
        for index, share in enumerate(self.shares):
            length = share / total
            if fraction < start + length - 1e-12:
                return index, max(0.0, (fraction - start) / length)
            start += length
        return len(self.shares) - 1, 1.0


TOO_FEW = 0.25
"""Fraction of a recipe's steps below which there is a warning about the time limit."""


def forecast(progress: Progress, seconds_per_step: float, *, fresh: bool) -> str:
    """Estimates the remaining time of a run, and whether its time limit allows enough steps.

    Args:
        progress: of the run.
        seconds_per_step: as measured.
        fresh: whether training starts from random weights.
    """
    left = (progress.steps - progress.step) * seconds_per_step
    allowed = left if progress.seconds is None else progress.seconds - progress.elapsed()
    if allowed >= left:
        return f"about {_duration(left)} to go: {progress.steps - progress.step} steps of {seconds_per_step:.2g} s each"
    steps = progress.step + int(max(0.0, allowed) / seconds_per_step)
    said = (
        f"about {_duration(max(0.0, allowed))} to go: enough for about {steps} of the recipe's {progress.steps} steps"
    )
    if steps < TOO_FEW * progress.steps:
        said += f"; expect much less than from the whole run, which takes about {_duration(left)}"
        if fresh:
            said += "; starting from a trained model needs fewer steps (--weights MODEL, or the recipe flow-finetune)"
    return said


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def learning_rate(done: float, maximum: float, final: float, warmup: float) -> float:
    """Rises linearly over ``warmup``, then follows half a cosine down to ``final * maximum`` (arXiv 1608.03983).

    Args:
        done: finished fraction of the stage, in [0, 1].
        maximum: learning rate at the end of the rise.
        final: fraction of it at the end.
        warmup: fraction of the stage for the rise.
    """
    if done < warmup:
        return maximum * (0.01 + 0.99 * done / warmup)
    fall = (done - warmup) / (1 - warmup) if warmup < 1 else 1.0
    return maximum * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, fall))))
