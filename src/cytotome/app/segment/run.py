"""Segmenting many images: reading ahead, network and decoder, writing behind; one bad image stops no other."""

from __future__ import annotations

import datetime
import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cytotome.app.console import (
    Bar,
    Notices,
    interruption,
    printable,
    progress,
    say,
    telling_of_compiling,
    warn_of_failures,
)
from cytotome.app.discover import Found, Source, search, split_clashes, split_unspeakable
from cytotome.app.options import parse_overrides
from cytotome.app.segment.corrected import corrected_cells
from cytotome.app.segment.maps import MapPictures, map_specs
from cytotome.app.segment.marks import FileState, Marks, file_state
from cytotome.app.segment.old_marks import complete_marks
from cytotome.app.segment.results import Results, Task, read_run
from cytotome.app.segment.resume import Work, fault_of_files, may_replace, plan_work
from cytotome.app.segment.settings import SegmentOptions, differences, effective_settings, versions
from cytotome.ensemble.load import load_model
from cytotome.errors import ConfigError, CytotomeError, DataError
from cytotome.inference.scale import size_note
from cytotome.inference.segmenter import Segmenter
from cytotome.inference.stream import map_in_order
from cytotome.io.images import page_count
from cytotome.outputs.tiling import TILE
from cytotome.types import Image, Instances

READERS, WRITERS = 2, 4
WAITING = 16
"""Images whose files are being written; more make the network wait."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of the disk as a whole, which the next image would meet too."""


@dataclass
class Tally:
    """What came of a run so far; ``failures`` by the name of the image.

    ``notices.add(image, text)`` tells the user of an image what is no failure.
    """

    found: int
    skipped: int = 0
    segmented: int = 0
    measured: int = 0
    cells: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    notices: Notices = field(default_factory=Notices)


def run_segment(inputs: Sequence[str], output: Path, options: SegmentOptions) -> int:
    """Segments images into a folder; gives the number of images and tables that could not be written.

    Raises:
        ConfigError: where inputs or options are wrong, or the folder holds results of other settings.
        ModelError: where the model cannot be loaded.
        DataError: where the folder cannot be written.
    """
    found = search(inputs, output)
    sources, failures = _images(found, options)
    model = load_model(options.model, device=options.device, precision=options.precision)
    before = read_run(output)
    coco = options.coco or bool(before and before.get("coco"))  # a folder that has a COCO file keeps it up to date
    maps = [spec.name for spec in map_specs(model)] if options.maps else []
    settings = effective_settings(model, options)
    results = Results(output, settings, overlays=options.overlays, maps=maps, coco=coco)
    if not options.overwrite and (path := results.in_the_way(sources)):
        raise ConfigError(f"{path}: is there, and of no run; give --overwrite to replace it, or another folder")
    try:
        complete_marks(output)
        marks = Marks(output)
        sources, clashes = split_clashes(marks.known(sources))
        tally = Tally(len(sources) + len(clashes) + len(failures), failures=failures | clashes)
        others = may_replace(before, settings)
        work = plan_work(results, marks, sources, tally.notices, overwrite=options.overwrite, others=others)
        tally.skipped, tally.cells = work.done, work.cells
        tally.failures |= work.failures
        record = _record(model, results, inputs, options)
        record["overwrite"] = options.overwrite or others
        results.sweep()
        results.write_run(record | {"state": "running"})
        seconds = _run(model, results, work, tally, options, record)
    except OSError as error:
        place = error.filename or output
        raise DataError(
            f"{place}: cannot be written ({error.strerror or error}); mend that, then run again to resume"
        ) from error
    _tell(tally, found, seconds, output, options.quiet)
    return len(tally.failures) + len(tally.kept)


def _images(found: Found, options: SegmentOptions) -> tuple[list[Source], dict[str, str]]:
    """The images of a run, and a message for each that cannot be named."""
    sources, failures = split_unspeakable(found.sources)
    if options.page == "all":
        sources = [page for source in sources for page in source.pages()]
    return sources, failures


def _record(model: Segmenter, results: Results, inputs: Sequence[str], options: SegmentOptions) -> dict[str, Any]:
    """What ``run.json`` says from the beginning."""
    return {
        "cytotome": versions()["cytotome"],
        "settings": results.settings,
        "coco": results.coco,
        "inputs": list(map(printable, inputs)),
        "card": model.card.model_dump(mode="json"),
        "versions": versions(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _run(
    model: Segmenter, results: Results, work: Work, tally: Tally, options: SegmentOptions, record: dict[str, Any]
) -> float:
    """Does the work; whatever ends it, the tables hold what is done. Gives its seconds."""
    start, state = time.perf_counter(), "stopped"
    with telling_of_compiling(quiet=options.quiet), interruption() as stopped:
        try:
            drawn = _map_pictures(model, results, work, options)
            stream = _Segmenting(model, results, options, tally, drawn, stopped)
            stream.measure(work.measure)
            stream.run(work.segment)
            state = "finished"
        finally:
            others = _other_settings(results, tally.notices)
            tally.kept += [
                f"{path}: was changed after a run wrote it, or written by none, and is kept; "
                "move it elsewhere and run again to have the table of all images"
                for path in results.assemble(overwrite=options.overwrite)
            ]
            seconds = time.perf_counter() - start
            results.write_run(record | {"state": state, **_outcome(tally, seconds), "other_settings": others})
    return seconds


def _map_pictures(model: Segmenter, results: Results, work: Work, options: SegmentOptions) -> MapPictures | None:
    sources = [task.source for task in (*work.segment, *work.measure)]
    return MapPictures(model, results, sources, options) if results.maps else None


def _other_settings(results: Results, notices: Notices) -> list[dict[str, Any]]:
    """Settings other than this run's under which images of the folder were segmented, with the images' names."""
    others: list[tuple[Mapping[str, Any], list[str]]] = []
    for mark in results.marks():
        if not (changes := differences(mark.settings, results.settings)):
            continue
        notices.add(mark.name, f"in the folder are results of other settings ({'; '.join(changes[:4])})")
        same = next((names for settings, names in others if settings == mark.settings), None)
        if same is None:
            others.append((mark.settings, [mark.name]))
        else:
            same.append(mark.name)
    return [{"settings": dict(settings), "images": names} for settings, names in others]


class _Stopped(CytotomeError):
    """The user stopped the run while tiles of an image were predicted."""


class _Segmenting:
    """The stream of images of one run."""

    def __init__(
        self,
        model: Segmenter,
        results: Results,
        options: SegmentOptions,
        tally: Tally,
        maps: MapPictures | None,
        stopped: threading.Event,
    ) -> None:
        self.model, self.results, self.options, self.tally, self.maps = model, results, options, tally, maps
        self.look = model.look
        self.stopped = stopped
        self.left: dict[str, Task] = {}
        self.in_network: deque[Task] = deque()
        self.states: dict[str, tuple[Task, FileState | None]] = {}
        self.in_writing: deque[tuple[Task, Future[int]]] = deque()

    def measure(self, tasks: Sequence[Task]) -> None:
        """Brings up to date what describes label maps that were corrected by hand."""
        for task, outcome in zip(tasks, map_in_order(self._measure, tasks, workers=READERS), strict=True):
            if isinstance(outcome, Exception):
                self._fail(task, outcome)
            else:
                self.tally.cells += outcome
                self.tally.measured += 1

    def _measure(self, task: Task) -> int | Exception:
        image = self._read(task)
        if isinstance(image, Exception):
            return image
        try:
            cells = corrected_cells(self.results, task, image, self.model.class_names)
            _, state = self.states.pop(image.source)
            return self.results.write(task, state, image, cells, self.maps.draw(image) if self.maps else None)
        except Exception as error:  # of whatever kind: the other images are not to suffer
            return error

    def run(self, tasks: Sequence[Task]) -> None:
        """Segments the images and writes their files; failures go to the tally.

        An error that ends the stream costs the image at whose turn it came; the stream begins again behind it.
        """
        self.left = {task.source.place: task for task in tasks}
        with progress(len(tasks), quiet=self.options.quiet) as bar, ThreadPoolExecutor(WRITERS) as writers:
            while self.left:
                self._stream(list(self.left.values()), bar, writers)

    def _stream(self, tasks: Sequence[Task], bar: Bar, writers: ThreadPoolExecutor) -> None:
        outcomes = self.model.process_many(
            self._images(tasks, bar),
            self._writer(writers),
            tta=self.options.tta,
            tile=self.options.tile or TILE,
            scale=self.options.scale,
            diameter=self.options.diameter,
            watch=self._watch(bar),
            **parse_overrides(self.options.settings),
        )
        try:
            with closing(outcomes):  # type: ignore[type-var]
                for outcome in outcomes:
                    self._network_done(outcome, bar)
        except Exception as error:
            if not self.in_network or _is_of_the_disk(error):
                raise
            self._fail(self.in_network[0], error)
        finally:
            self.in_network.clear()
            self.states.clear()
        while self.in_writing:
            self._writing_done(bar)

    def _watch(self, bar: Bar) -> Callable[[int, int], None]:
        def watch(done: int, total: int) -> None:
            if self.stopped.is_set():
                raise _Stopped("stopped")
            bar.tile(done, total)

        return watch

    def _images(self, tasks: Sequence[Task], bar: Bar) -> Iterator[Image]:
        """The images that can be read, in order, a few read ahead."""
        for task, outcome in zip(tasks, map_in_order(self._read, tasks, workers=READERS), strict=True):
            if isinstance(outcome, Exception):
                self._fail(task, outcome)
                bar()
            else:
                self.in_network.append(task)
                yield outcome

    def _read(self, task: Task) -> Image | Exception:
        source, microns = task.source, self.options.microns
        self.states[source.place] = (task, file_state(source.path))
        try:
            image = source.read(self.options.first_page)
            if self.options.page is None and page_count(source.path) > 1:
                self.tally.notices.add(source.name, "several pages, of which page 0 was taken (see --page)")
            for note in image.notes if microns is None else ():
                self.tally.notices.add(source.name, note)
            return image if microns is None else replace(image, microns_per_pixel=microns)
        except Exception as error:  # of whatever kind: the other images are not to suffer
            return error

    def _writer(self, writers: ThreadPoolExecutor) -> Callable[[Image, Instances], Future[int]]:
        def write(image: Image, cells: Instances) -> Future[int]:
            task, state = self.states[image.source]
            if note := size_note(image, cells, self.model.cell_sizes, self.options.cell_scale()):
                self.tally.notices.add(task.source.name, note)
            if self.look is not None and (note := self.look.note(image, cells)):
                self.tally.notices.add(task.source.name, note)
            pictures = self.maps.draw(image) if self.maps else None
            return writers.submit(self.results.write, task, state, image, cells, pictures)

        return write

    def _network_done(self, outcome: Future[int] | CytotomeError, bar: Bar) -> None:
        task = self.in_network.popleft()
        if isinstance(outcome, CytotomeError):
            self._fail(task, outcome)
            bar()
            return
        self.in_writing.append((task, outcome))
        while len(self.in_writing) > WAITING or (self.in_writing and self.in_writing[0][1].done()):
            self._writing_done(bar)

    def _writing_done(self, bar: Bar) -> None:
        task, future = self.in_writing.popleft()
        try:
            self.tally.cells += future.result()
        except Exception as error:
            if _is_of_the_disk(error):
                raise
            self._fail(task, error)
        else:
            self.tally.segmented += 1
            self.left.pop(task.source.place)
        bar()

    def _fail(self, task: Task, error: Exception) -> None:
        self.left.pop(task.source.place, None)
        self.tally.failures[task.source.name] = _message(task.source, error)


def _is_of_the_disk(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in DISK


def _message(source: Source, error: Exception) -> str:
    """One line on why an image was not segmented."""
    if isinstance(error, CytotomeError):
        return str(error)
    if isinstance(error, OSError):
        return fault_of_files(source, error)
    return f"{source.path}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _outcome(tally: Tally, seconds: float) -> dict[str, object]:
    return {
        "images": {
            "found": tally.found,
            "segmented": tally.segmented,
            "skipped": tally.skipped,
            "corrected": tally.measured,
            "failed": len(tally.failures),
        },
        "cells_found": tally.cells,
        "seconds": round(seconds, 3),
        "images_per_second": round(tally.segmented / seconds, 3),
        "failures": {name: printable(text) for name, text in sorted(tally.failures.items())},
        "notes": list(map(printable, tally.notices.lines())),
    }


def _tell(tally: Tally, found: Found, seconds: float, output: Path, quiet: bool) -> None:
    before = f", {tally.skipped} done before" if tally.skipped else ""
    before += f", {tally.measured} measured after corrections" if tally.measured else ""
    say(
        f"{tally.segmented} of {tally.found} images segmented{before}; {tally.cells} cells"
        f"{' in all' if before else ''}; {seconds:.1f} s; results in {output}",
        quiet=quiet,
    )
    for line in (*tally.notices.lines(), *found.passed_over_lines()):
        say(f"note: {line}", quiet=quiet)
    warn_of_failures(tally.failures, tally.found, "segmented")
    warn_of_failures({text: text for text in tally.kept}, 0, "")
