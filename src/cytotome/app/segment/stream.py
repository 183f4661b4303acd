"""Processing of a run's images from files to results; unusable images do not stop the run."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice

from cytotome.app.console import Bar, Notices
from cytotome.app.discover import Source
from cytotome.app.options import parse_overrides
from cytotome.app.segment.corrected import corrected_cells
from cytotome.app.segment.maps import MapPictures
from cytotome.app.segment.marks import FileState, file_state
from cytotome.app.segment.results import Results, Task
from cytotome.app.segment.resume import fault_of_files
from cytotome.app.segment.settings import SegmentOptions
from cytotome.errors import CytotomeError
from cytotome.inference.passes import Prediction
from cytotome.inference.scale import size_note
from cytotome.inference.segmenter import Segmenter
from cytotome.inference.stream import Outcome, stream_jobs
from cytotome.io.images import page_count
from cytotome.outputs.tiling import TILE
from cytotome.types import Image, Instances

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of the disk, which would also affect the next image."""


@dataclass
class Tally:
    """The results of a run so far; ``failures`` by the name of the image.

    ``notices.add(image, text)`` adds a notice about an image that is not a failure.
    """

    found: int
    skipped: int = 0
    segmented: int = 0
    measured: int = 0
    cells: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    notices: Notices = field(default_factory=Notices)

    def add_segmented(self, cells: int) -> None:
        """Counts an image that was segmented."""
        self.segmented += 1
        self.cells += cells

    def add_measured(self, cells: int) -> None:
        """Counts an image that was measured after corrections."""
        self.measured += 1
        self.cells += cells


@dataclass(eq=False)
class ImageJob:
    """An image of a run.

    Attributes:
        task: files to be written.
        options: how it is read.
        notices: receives notices for the user.
        state: state of its file before it is read.
    """

    task: Task
    options: SegmentOptions
    notices: Notices
    state: FileState | None = None

    def read(self) -> Image:
        """Reads the image, with the user's pixel size if given."""
        source, microns = self.task.source, self.options.microns
        self.state = file_state(source.path)
        image = source.read(self.options.first_page)
        if self.options.page is None and page_count(source.path) > 1:
            self.note("several pages, only page 0 was used (see --page)")
        for note in image.notes if microns is None else ():
            self.note(note)
        return image if microns is None else replace(image, microns_per_pixel=microns)

    def note(self, text: str) -> None:
        """Adds a notice about the image, if there is one."""
        if text:
            self.notices.add(self.task.source.name, text)


class _Stopped(CytotomeError):
    """The user stopped the run while tiles of an image were predicted."""


class Segmenting:
    """The work of one run; results are added to the tally.

    Args:
        model: finds the cells.
        results: the folder of results.
        options: options of the run.
        tally: tally of the run.
        pictures: draws the maps of each image, None for no pictures.
        bar: progress bar, advanced by each image.
        stopped: set when the user stops the run.
    """

    def __init__(
        self,
        model: Segmenter,
        results: Results,
        options: SegmentOptions,
        tally: Tally,
        pictures: MapPictures | None,
        bar: Bar,
        stopped: threading.Event,
    ) -> None:
        self.model, self.results, self.options, self.tally = model, results, options, tally
        self.pictures, self.bar, self.stopped = pictures, bar, stopped

    def segment(self, tasks: Iterable[Task]) -> None:
        """Segments images and writes their files."""
        self._through(tasks, self._write, self._predicted, self.tally.add_segmented)

    def measure(self, tasks: Iterable[Task]) -> None:
        """Updates the files of manually corrected label maps; the network is only needed for maps."""
        predict = self._predicted if self.pictures else self._unseen
        self._through(tasks, self._write_corrected, predict, self.tally.add_measured)

    def _through(self, tasks: Iterable[Task], then: _Step, predict: _Stream, done: Callable[[int], None]) -> None:
        """Processes each image; ``done`` is called with the number of cells.

        The first usable image determines the colours of embeddings, so the others wait for it.
        """
        jobs = (ImageJob(task, self.options, self.tally.notices) for task in tasks)
        while self.pictures and not self.pictures.is_ready and (first := list(islice(jobs, 1))):
            self._tell(predict(first, then), done)
        self._tell(predict(jobs, then), done)

    def _tell(self, outcomes: Iterator[Outcome[ImageJob, int]], done: Callable[[int], None]) -> None:
        with closing(outcomes):  # type: ignore[type-var]
            for outcome in outcomes:
                if not isinstance(outcome.value, Exception):
                    done(outcome.value)
                elif isinstance(outcome.value, OSError) and outcome.value.errno in DISK:
                    raise outcome.value
                else:
                    source = outcome.job.task.source
                    self.tally.failures[source.name] = _message(source, outcome.value)
                self.bar()

    def _predicted(self, jobs: Iterable[ImageJob], then: _Step) -> Iterator[Outcome[ImageJob, int]]:
        options = self.options
        return self.model.segment_stream(
            jobs,
            then,
            tta=options.tta,
            tile=options.tile or TILE,
            scale=options.scale,
            diameter=options.diameter,
            keep_outputs=self.pictures is not None,
            watch=self._watch,
            **parse_overrides(options.settings),
        )

    def _unseen(self, jobs: Iterable[ImageJob], then: _Step) -> Iterator[Outcome[ImageJob, int]]:
        def nothing(images: Sequence[Image]) -> list[Prediction]:
            return [Prediction(image, Instances.empty(image.shape)) for image in images]

        return stream_jobs(jobs, nothing, then, self.model.device)

    def _watch(self, done: int, total: int) -> None:
        if self.stopped.is_set():
            raise _Stopped("stopped")
        self.bar.tile(done, total)

    def _write(self, job: ImageJob, found: Prediction) -> int:
        image, cells = found.image, found.instances
        job.note(size_note(image, cells, self.model.cell_sizes, self.options.cell_scale()))
        job.note(self.model.note(image, cells))
        return self._write_cells(job, found, cells)

    def _write_corrected(self, job: ImageJob, found: Prediction) -> int:
        cells = corrected_cells(self.results, job.task, found.image, self.model.class_names)
        return self._write_cells(job, found, cells)

    def _write_cells(self, job: ImageJob, found: Prediction, cells: Instances) -> int:
        pictures = self.pictures.draw(found.outputs) if self.pictures else None
        return self.results.write(job.task, job.state, found.image, cells, pictures)


_Step = Callable[[ImageJob, Prediction], int]
_Stream = Callable[[Iterable[ImageJob], _Step], Iterator[Outcome[ImageJob, int]]]


def _message(source: Source, error: Exception) -> str:
    """One line on why an image was not segmented."""
    if isinstance(error, CytotomeError):
        return str(error)
    if isinstance(error, OSError):
        return fault_of_files(source, error)
    return f"{source.path}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
