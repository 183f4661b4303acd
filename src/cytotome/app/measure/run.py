"""``cytotome measure``: the tables of ``segment`` for masks from other sources, such as corrected label maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cytotome.app.console import Notices, progress, say, warn_of_failures
from cytotome.app.discover import IMAGES_FILE, Source, stem_of
from cytotome.app.masks_of_images import read_masks, warn_of_missing
from cytotome.app.options import check_microns
from cytotome.app.segment.marks import read_marks
from cytotome.app.segment.results import read_run
from cytotome.datasets.files import check_shape
from cytotome.datasets.known_cells import CELLS_FILE
from cytotome.datasets.predictions import LabelFolder
from cytotome.errors import ConfigError, CytotomeError, DataError, ImageError
from cytotome.inference.stream import map_in_order
from cytotome.io.files import atomic_path
from cytotome.io.images import read_image
from cytotome.measurement.counts import count_cells
from cytotome.measurement.table import CELL_COLUMNS, IMAGE_COLUMNS, cell_rows, head, image_row
from cytotome.types import AnyArray, Image, Instances

WORKERS = 2


COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """Options of ``cytotome measure``, as typed.

    Attributes:
        output: folder of the tables.
        microns: microns per pixel, overriding those of the files.
        page: page of multi-page files, ``all`` for each page as a separate image, None for the one the masks were made
            from.
        channel: colour channel that is measured, None for the luminance.
        overwrite: replace tables.
        quiet: print only errors and warnings.
    """

    output: Path
    microns: float | None = None
    page: int | Literal["all"] | None = None
    channel: str | None = None
    overwrite: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        check_microns(self.microns)
        if self.channel is not None and self.channel not in COLOURS:
            raise ConfigError(
                f"--channel {self.channel}: expected one of {', '.join(COLOURS)}; other channels are pages"
            )


@dataclass(frozen=True, slots=True)
class _Measured:
    """Table rows, number of cells and notices of one image."""

    cells: str
    image: str
    count: int
    notes: tuple[str, ...]


@dataclass
class _Tally:
    """The result: numbers of cells, notices, and failures by the name of the image."""

    counts: list[int] = field(default_factory=list)
    notices: Notices = field(default_factory=Notices)
    failures: dict[str, str] = field(default_factory=dict)


def run_measure(masks: Path, images: str, options: MeasureOptions) -> int:
    """Measures the masks of each image; returns the number of images that could not be measured.

    Raises:
        ConfigError: if the tables already exist, or the page does not match the masks.
        DataError: if masks or images cannot be read, or have no names in common.
    """
    tables = [options.output / name for name in (CELLS_FILE, IMAGES_FILE)]
    for path in tables:
        if path.exists() and not options.overwrite:
            raise ConfigError(f"{path}: already exists; use --overwrite to replace it, or another folder")
    found = read_masks(masks, images, options.output)
    chosen, missing = found.match(options.page)
    if not chosen:
        raise DataError(f"{masks}: no masks for any image in {images}; mask files must be named like the images")
    given = _given_to_segment(masks, found.known)
    tally = _Tally(failures=found.failures)
    if options.page is None:
        for source in chosen:
            if found.stacks.get(source) and given(source).page is None:
                tally.notices.add(source.name, "several pages, only page 0 was measured (see --page)")
    work = _Work(found.known, given, options)
    total = len(chosen) + len(missing) + len(found.failures)
    _write(tables, chosen, work, options.quiet, tally)
    _tell(tally, total, missing, options)
    return len(tally.failures)


@dataclass(frozen=True, slots=True)
class _Given:
    """The options page and microns per pixel of segment for an image.

    Attributes:
        page: None if segment was given none, or if each page was a separate image, after which its masks are named.
        microns: None if segment was given none.
    """

    page: int | None
    microns: float | None

    @classmethod
    def of(cls, settings: Any) -> _Given:
        """Reads the settings of a run or a mark, which may be missing or damaged."""
        found = settings if isinstance(settings, Mapping) else {}
        page, microns = found.get("page"), found.get("microns")
        return cls(page if isinstance(page, int) else None, microns if isinstance(microns, int | float) else None)


def _given_to_segment(masks: Path, known: Mapping[str, Instances]) -> Callable[[Source], _Given]:
    """The options of segment for each image whose results are the masks: from its mark, else from the last run."""
    folder = masks if masks.is_dir() else masks.parent
    last = _Given.of((read_run(folder) or {}).get("settings"))
    by_key: dict[str, _Given] = {}
    for mark in read_marks(folder):
        by_key.update(dict.fromkeys((stem_of(mark.name), *mark.files), _Given.of(mark.settings)))

    def given(source: Source) -> _Given:
        path = known.paths[source.stem].relative_to(folder) if isinstance(known, LabelFolder) else None
        return by_key.get(source.stem if path is None else path.as_posix(), last)

    return given


@dataclass(frozen=True, slots=True)
class _Work:
    """The measurement of masks, on the page and channel of the options, or by default as in segment."""

    known: Mapping[str, Instances]
    given: Callable[[Source], _Given]
    options: MeasureOptions

    def measure(self, source: Source) -> _Measured | CytotomeError:
        """Measures one image, or returns why it cannot be measured."""
        try:
            cells, held = self._masks(source)
            given = self.given(source)
            image = replace(read_image(source.path, page=self._page(source, given), blank=True), source=source.place)
            check_shape(source.path, image.shape, cells.shape)
            typed, own = self.options.microns or given.microns, image.microns_per_pixel
            microns = typed or held or own
            notes = image.notes if microns is None else ()
            if typed is None and held and own and abs(held / own - 1) > 0.01:
                notes = (f"microns per pixel are {held:g} in the masks, which are used, and {own:g} in the image",)
            image = replace(image, pixels=self._levels(image), microns_per_pixel=microns)
        except CytotomeError as error:
            return error
        counts = count_cells(cells, cells.to_label_map())
        rows = cell_rows(source.name, image, cells), image_row(source.name, image, counts)
        return _Measured(*rows, len(cells), notes)

    def _masks(self, source: Source) -> tuple[Instances, float | None]:
        if isinstance(self.known, LabelFolder):
            return self.known.read(source.stem)
        return self.known[source.stem], None

    def _page(self, source: Source, given: _Given) -> int:
        if source.page is not None:
            return source.page
        return self.options.page if isinstance(self.options.page, int) else given.page or 0

    def _levels(self, image: Image) -> AnyArray:
        channel = self.options.channel
        if channel is None:
            return image.pixels
        if image.pixels.ndim != 3:
            raise ImageError(f"{image.source}: the image is grey and has no channel {channel}; omit --channel")
        return np.ascontiguousarray(image.pixels[:, :, COLOURS.index(channel)])


def _write(tables: list[Path], sources: list[Source], work: _Work, quiet: bool, tally: _Tally) -> None:
    """Writes both tables, one image at a time, and adds each to the tally."""
    tables[0].parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_path(tables[0]) as cells_path,
        atomic_path(tables[1]) as images_path,
        open(cells_path, "w", encoding="utf-8", newline="") as cells_table,
        open(images_path, "w", encoding="utf-8", newline="") as images_table,
        progress(len(sources), quiet=quiet) as advance,
    ):
        cells_table.write(head(CELL_COLUMNS))
        images_table.write(head(IMAGE_COLUMNS))
        for source, outcome in zip(sources, map_in_order(work.measure, sources, workers=WORKERS), strict=True):
            if isinstance(outcome, CytotomeError):
                tally.failures[source.name] = str(outcome)
            else:
                cells_table.write(outcome.cells)
                images_table.write(outcome.image)
                tally.counts.append(outcome.count)
                for note in outcome.notes:
                    tally.notices.add(source.name, note)
            advance()


def _tell(tally: _Tally, total: int, missing: Sequence[Source], options: MeasureOptions) -> None:
    cells = sum(tally.counts)
    say(
        f"{len(tally.counts)} of {total} images measured; {cells} cells; tables in {options.output}",
        quiet=options.quiet,
    )
    for line in tally.notices.lines():
        say(f"note: {line}", quiet=options.quiet)
    warn_of_missing(missing, total)
    warn_of_failures(tally.failures, total, "measured")
