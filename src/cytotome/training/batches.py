"""The batches of a run: each stage has its own streams, and the run's end is decided here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cytotome.errors import CytotomeError, TrainingError
from cytotome.training.module import STAGE_KEY
from cytotome.training.progress import Progress


@dataclass
class StageBatches:
    """Batches from the present step to the end of the run, each with its stage's number under ``STAGE_KEY``.

    Batches are fetched ahead of the step that uses them; so the stage is fixed when a batch is fetched.

    Attributes:
        progress: of the run.
        loader: ``loader(stage, first_batch)`` gives endless batches of a stage.
    """

    progress: Progress
    loader: Callable[[int, int], Iterable[dict[str, Any]]]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        fetched = self.progress.step
        while (stage := self._stage(fetched)) is not None:
            batches = iter(self.loader(stage, fetched))
            while self._stage(fetched) == stage:
                yield {**_fetch(batches), STAGE_KEY: stage}
                fetched += 1
            del batches  # ends its workers, so that their shared memory is free for those of the next stage

    def _stage(self, fetched: int) -> int | None:
        fraction = self.progress.fraction(ahead=fetched - self.progress.step)
        return None if fraction >= 1 else self.progress.stage(fraction)[0]


def _fetch(batches: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The next batch; an error of ours in a worker process is raised here without that process's traceback."""
    try:
        return next(batches)
    except CytotomeError as error:
        last = str(error).strip().splitlines()[-1]
        name = f"{type(error).__module__}.{type(error).__qualname__}: "
        raise type(error)(last.removeprefix(name)) from error


@contextmanager
def watch_workers() -> Iterator[None]:
    """Tells of a worker process that was ended from outside, wherever the training stands.

    torch says so by an error of its own, unless the worker ended while it handed a batch over: then the connection to
    it breaks.

    Raises:
        TrainingError: in place of these errors.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        text = str(error)
        broken = not isinstance(error, RuntimeError) and "in DataLoader worker process" not in text
        if not (broken or text.startswith("DataLoader worker (pid")):
            raise
        raise TrainingError(
            "a process that makes crops was ended from outside, most likely because memory ran out; lower "
            "sampling.workers or sampling.cache_megabytes; the next run resumes from the last checkpoint"
        ) from error
