"""The batches of a run, for each of its stages, and the error message if their worker processes fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cytotome.data.sharing import start_method
from cytotome.errors import CytotomeError, TrainingError
from cytotome.training.progress import Progress


@dataclass
class Batches:
    """Batches from the current step on.

    Attributes:
        progress: progress of the run.
        loader: ``loader(stage, first_batch)`` returns endless batches of a stage.
        accumulate: number of batches per step.
    """

    progress: Progress
    loader: Callable[[int, int], Iterable[dict[str, Any]]]
    accumulate: int = 1
    _stage: int = -1
    _batches: Iterator[dict[str, Any]] | None = None

    def take(self, stage: int) -> list[dict[str, Any]]:
        """Returns the batches of the current step."""
        if stage != self._stage:
            self._batches = None  # ends its workers, so that their shared memory is free for those of the next stage
            self._batches = iter(self.loader(stage, self.progress.step * self.accumulate))
            self._stage = stage
        assert self._batches is not None
        return [_fetch(self._batches) for _ in range(self.accumulate)]


def _fetch(batches: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Returns the next batch; an error of cytotome in a worker process is raised without that process's traceback."""
    try:
        return next(batches)
    except CytotomeError as error:
        last = str(error).strip().splitlines()[-1]
        name = f"{type(error).__module__}.{type(error).__qualname__}: "
        raise type(error)(last.removeprefix(name)) from error


@contextmanager
def watch_workers() -> Iterator[None]:
    """Reports a worker process that was ended from outside, at any point of the training.

    torch has its own error for this, unless the worker was ended while it handed over a batch: then its connection
    breaks.

    Raises:
        TrainingError: instead of these errors.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        text = str(error)
        broken = not isinstance(error, RuntimeError) and "in DataLoader worker process" not in text
        if not (broken or text.startswith("DataLoader worker (pid")):
            raise
        script = ", or because a script calls this outside of if __name__ == '__main__':"
        guard = "" if start_method() == "fork" else script
        raise TrainingError(
            f"a worker process was ended from outside, most likely because memory ran out{guard}; lower "
            "sampling.workers or sampling.cache_megabytes; the next run resumes from the last checkpoint"
        ) from error
