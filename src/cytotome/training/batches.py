"""The batches of a run: each stage has its own streams, and the run's end is decided here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cytotome.errors import CytotomeError
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
