"""Segmenting many images: reading ahead, network and decoder, writing behind; one bad image stops no other."""

from __future__ import annotations

import datetime
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cytotome.app.console import Notices, progress, say, warn_of_failures
from cytotome.app.discover import Source, discover, split_clashes
from cytotome.app.mapping import MapPictures, map_specs
from cytotome.app.results import FileState, Results, file_state, read_run
from cytotome.app.settings import SegmentOptions, check_names, check_same, effective_settings, parse_overrides, versions
from cytotome.ensemble.load import Segmenter, open_model
from cytotome.errors import CytotomeError, DataError, ImageError
from cytotome.inference.model import Model
from cytotome.inference.scale import size_note
from cytotome.inference.stream import map_in_order
from cytotome.inference.tiling import TILE
from cytotome.io.images import page_count
from cytotome.types import Image, Instances

READERS, WRITERS = 2, 4
WAITING = 16
"""Images whose files are being written; more make the network wait."""


@dataclass
class Tally:
    """What came of a run so far; ``failures`` by the name of the image.

    ``notices.add(image, text)`` tells the user of an image what is no failure.
    """

    found: int
    skipped: int
    segmented: int = 0
    cells: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    notices: Notices = field(default_factory=Notices)


def run_segment(inputs: Sequence[str], output: Path, options: SegmentOptions) -> int:
    """Segments images into a folder; gives the number of images that could not be segmented.

    Raises:
        ConfigError: where inputs or options are wrong, or the folder holds results of other settings.
        ModelError: where the model cannot be loaded.
        DataError: where the folder cannot be written.
    """
    sources = discover(inputs, output)
    if options.page == "all":
        sources = [page for source in sources for page in source.pages()]
    sources, clashes = split_clashes(sources)
    model = open_model(options.model, device=options.device, precision=options.precision)
    settings = effective_settings(model, options)
    maps = [spec.name for spec in map_specs(model)] if options.maps else []
    before = read_run(output)
    coco = options.coco or bool(before and before.get("coco"))  # a folder that has a COCO file keeps it up to date
    results = Results(output, overlays=options.overlays, maps=maps, coco=coco)
    try:
        check_same(results, before, settings, sources, overwrite=options.overwrite)
        results.sweep()
        undone = [source for source in sources if not results.is_done(source)]
        check_names(results, undone)
        tally = Tally(len(sources) + len(clashes), len(sources) - len(undone), failures=clashes)
        record: dict[str, Any] = {"cytotome": versions()["cytotome"], "state": "running", "settings": settings}
        record |= {
            "coco": coco,
            "inputs": list(inputs),
            "card": model.card.model_dump(mode="json"),
            "versions": versions(),
        }
        record["started"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        results.write_run(record)
        start = time.perf_counter()
        drawn = MapPictures(model, results, sources, options) if isinstance(model, Model) and maps else None
        _Segmenting(model, results, options, tally, drawn).run(undone)
        results.assemble()
        seconds = time.perf_counter() - start
        results.write_run(record | {"state": "finished"} | _outcome(tally, seconds))
    except OSError as error:
        place = error.filename or output
        raise DataError(
            f"{place}: cannot be written ({error.strerror or error}); mend that, then run again to go on"
        ) from error
    _tell(tally, seconds, output, options.quiet)
    return len(tally.failures)


class _Segmenting:
    """The stream of images of one run."""

    def __init__(
        self, model: Segmenter, results: Results, options: SegmentOptions, tally: Tally, maps: MapPictures | None
    ) -> None:
        self.model, self.results, self.options, self.tally, self.maps = model, results, options, tally, maps
        self.look = model.look
        self.in_network: deque[Source] = deque()
        self.states: dict[str, tuple[Source, FileState | None]] = {}
        self.in_writing: deque[tuple[Source, Future[int]]] = deque()

    def run(self, undone: Sequence[Source]) -> None:
        """Segments the images and writes their files; failures go to the tally."""
        overrides = parse_overrides(self.options.settings)
        with progress(len(undone), quiet=self.options.quiet) as advance, ThreadPoolExecutor(WRITERS) as writers:
            try:
                images = self._images(undone, advance)
                outcomes = self.model.process_many(
                    images,
                    self._writer(writers),
                    tta=self.options.tta,
                    tile=self.options.tile or TILE,
                    scale=self.options.scale,
                    diameter=self.options.diameter,
                    **overrides,
                )
                for outcome in outcomes:
                    self._network_done(outcome, advance)
                while self.in_writing:
                    self._writing_done(advance)
            except BaseException:
                writers.shutdown(cancel_futures=True)
                raise

    def _images(self, undone: Sequence[Source], advance: Callable[[], None]) -> Iterator[Image]:
        """The images that can be read, in order, a few read ahead."""
        for source, outcome in zip(undone, map_in_order(self._read, undone, workers=READERS), strict=True):
            if isinstance(outcome, CytotomeError):
                self._fail(source, outcome, advance)
            else:
                self.in_network.append(source)
                yield outcome

    def _read(self, source: Source) -> Image | CytotomeError:
        self.results.discard(source)
        self.states[source.place] = (source, file_state(source.path))
        microns = self.options.microns
        try:
            image = source.read(self.options.first_page)
            if self.options.page is None and page_count(source.path) > 1:
                self.tally.notices.add(source.name, "several pages, of which page 0 was taken (see --page)")
            for note in image.notes if microns is None else ():
                self.tally.notices.add(source.name, note)
            return image if microns is None else replace(image, microns_per_pixel=microns)
        except ImageError as error:
            return error

    def _writer(self, writers: ThreadPoolExecutor) -> Callable[[Image, Instances], Future[int]]:
        def write(image: Image, cells: Instances) -> Future[int]:
            source, state = self.states.pop(image.source)
            if note := size_note(image, cells, self.model.cell_sizes, self.options.cell_scale()):
                self.tally.notices.add(source.name, note)
            if self.look is not None and (note := self.look.note(image)):
                self.tally.notices.add(source.name, note)
            if self.maps is not None:
                self.maps.write(source, image)
            return writers.submit(self.results.write, source, state, image, cells)

        return write

    def _network_done(self, outcome: Future[int] | CytotomeError, advance: Callable[[], None]) -> None:
        source = self.in_network.popleft()
        if isinstance(outcome, CytotomeError):
            self._fail(source, outcome, advance)
            return
        self.in_writing.append((source, outcome))
        while len(self.in_writing) > WAITING or (self.in_writing and self.in_writing[0][1].done()):
            self._writing_done(advance)

    def _writing_done(self, advance: Callable[[], None]) -> None:
        source, future = self.in_writing.popleft()
        try:
            self.tally.cells += future.result()
        except CytotomeError as error:
            self._fail(source, error, advance)
            return
        self.tally.segmented += 1
        advance()

    def _fail(self, source: Source, error: CytotomeError, advance: Callable[[], None]) -> None:
        self.states.pop(source.place, None)
        self.tally.failures[source.name] = str(error)
        advance()


def _outcome(tally: Tally, seconds: float) -> dict[str, object]:
    return {
        "images": {
            "found": tally.found,
            "segmented": tally.segmented,
            "skipped": tally.skipped,
            "failed": len(tally.failures),
        },
        "cells_found": tally.cells,
        "seconds": round(seconds, 3),
        "images_per_second": round(tally.segmented / seconds, 3),
        "failures": dict(sorted(tally.failures.items())),
        "notes": tally.notices.lines(),
    }


def _tell(tally: Tally, seconds: float, output: Path, quiet: bool) -> None:
    skipped = f", {tally.skipped} done before" if tally.skipped else ""
    say(
        f"{tally.segmented} of {tally.found} images segmented{skipped}; {tally.cells} cells; {seconds:.1f} s; "
        f"results in {output}",
        quiet=quiet,
    )
    for note in tally.notices.lines():
        say(f"note: {note}", quiet=quiet)
    warn_of_failures(tally.failures, tally.found, "segmented")
