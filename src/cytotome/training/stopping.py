"""Early end of a run: by Ctrl-C or SIGTERM, or because its validation score no longer improves."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from torch import Tensor


class StopSignals:
    """A context in which Ctrl-C and SIGTERM set ``requested`` instead of ending the process; a second Ctrl-C raises.

    It has no effect outside the main thread, as only that receives signals, and for ignored signals, such as under
    nohup.

    Args:
        forward: also send SIGTERM to child processes, which have their own context.
    """

    def __init__(self, *, forward: bool = False) -> None:
        self.requested = False
        self.forward = forward
        self._seen: set[int] = set()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and number in self._seen:
            raise KeyboardInterrupt
        self._seen.add(number)
        self.requested = True
        if self.forward:
            for child in multiprocessing.active_children():
                child.terminate()


@dataclass
class EarlyStopping:
    """Ends a run once its validation score has not improved for some time, and keeps the weights of the best score.

    Attributes:
        patience: number of validations without a better score after which the run ends; 0 for never.
        best: highest score so far.
        since: number of validations since then.
        weights: the averaged weights with this score, on the CPU; empty before the first validation.
    """

    patience: int
    best: float = -1.0
    since: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether the run ends."""
        return 0 < self.patience <= self.since

    def add(self, score: float, weights: Mapping[str, Tensor]) -> None:
        """Adds the result of one validation."""
        self.since += 1
        if self.patience and score > self.best:
            self.best, self.since = score, 0
            self.weights = {name: value.detach().to("cpu", copy=True) for name, value in weights.items()}

    def state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"best": self.best, "since": self.since, "weights": self.weights}

    @classmethod
    def of(cls, patience: int, content: Mapping[str, Any] | None) -> EarlyStopping:
        """Restores it from a checkpoint's content; initial without one."""
        return cls(patience, **(content["stopping"] if content is not None else {}))
