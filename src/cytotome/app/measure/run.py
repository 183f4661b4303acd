"""``cytotome measure``: the tables of ``segment`` for masks that come from elsewhere, such as corrected label maps."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from cytotome.app.console import Notices, progress, say, warn, warn_of_failures
from cytotome.app.discover import IMAGES_FILE, Source, discover, split_clashes
from cytotome.app.image_set import ImageSet
from cytotome.app.opening import read_and_warn
from cytotome.app.options import check_microns
from cytotome.app.segment.results import read_run
from cytotome.datasets.files import check_shape
from cytotome.datasets.known_cells import CELLS_FILE
from cytotome.datasets.predictions import LabelFolder
from cytotome.errors import ConfigError, CytotomeError, DataError, ImageError
from cytotome.inference.stream import map_in_order
from cytotome.io.files import atomic_path
from cytotome.io.images import read_image
from cytotome.measure.counts import count_cells
from cytotome.measure.table import CELL_COLUMNS, IMAGE_COLUMNS, cell_rows, head, image_row
from cytotome.ops.labels import to_label_map
from cytotome.types import AnyArray, Image, Instances

WORKERS = 2


COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """Options of ``cytotome measure``, as typed.

    Attributes:
        output: folder of the tables.
        microns: per pixel, instead of what the files say.
        page: of multi-page files, ``all`` for each page as a separate image, None for what the masks were made of.
        channel: the colour whose grey levels are measured, None for the luminance.
        overwrite: replace tables.
        quiet: say nothing but errors and warnings.
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
    """Lines of the tables, the number of cells, and what a user should know, of one image."""

    cells: str
    image: str
    count: int
    notes: tuple[str, ...]


@dataclass
class _Tally:
    """What came of it: the numbers of cells, notices, and failures by the name of the image."""

    counts: list[int] = field(default_factory=list)
    notices: Notices = field(default_factory=Notices)
    failures: dict[str, str] = field(default_factory=dict)


def run_measure(masks: Path, images: str, options: MeasureOptions) -> int:
    """Measures the masks of each image; gives the number of images that could not be measured.

    Raises:
        ConfigError: where the tables are there already, or the page does not go with the masks.
        DataError: where masks or images cannot be read, or have nothing in common.
    """
    tables = [options.output / name for name in (CELLS_FILE, IMAGES_FILE)]
    for path in tables:
        if path.exists() and not options.overwrite:
            raise ConfigError(f"{path}: is there; give --overwrite to replace it, or another folder")
    sources, failures = split_clashes(discover([images], options.output))
    stacks = {source: [page for page in source.pages() if page.page is not None] for source in sources}
    known = _read_masks(masks, stacks)
    if isinstance(known, LabelFolder):  # which may lie beside the images
        files = {path.resolve() for path in known.paths.values()}
        stacks = {source: pages for source, pages in stacks.items() if source.path.resolve() not in files}
    chosen, missing = _match(stacks, known, options.page)
    if not chosen:
        raise DataError(f"{masks}: has no masks of any image in {images}; files must have the images' names")
    page, microns = _of_run(masks)
    tally = _Tally(failures=failures)
    if options.page is None and page is None:
        for source in chosen:
            if stacks.get(source):
                tally.notices.add(source.name, "several pages, of which page 0 was measured (see --page)")
    page = options.page if isinstance(options.page, int) else page or 0
    work = _Work(known, page, options.microns or microns, options.channel)
    total = len(chosen) + len(missing) + len(failures)
    _write(tables, chosen, work, options.quiet, tally)
    _tell(tally, total, missing, options)
    return len(failures)


def _of_run(masks: Path) -> tuple[int | None, float | None]:
    """The page, and the microns per pixel, that were given to the run of segment whose results the masks are.

    None where there was no such run, or where each page was a separate image: its masks are named after it.
    """
    run = read_run(masks if masks.is_dir() else masks.parent) or {}
    settings = run.get("settings")
    page, microns = (settings.get("page"), settings.get("microns")) if isinstance(settings, dict) else (None, None)
    return page if isinstance(page, int) else None, microns if isinstance(microns, int | float) else None


def _read_masks(masks: Path, stacks: Mapping[Source, Sequence[Source]]) -> Mapping[str, Instances]:
    """Masks by the stem of an image or of a page."""
    names = {source.stem: source for source in stacks}
    for pages in stacks.values():
        for page in pages:
            names.setdefault(page.stem, page)
    return read_and_warn(masks, ImageSet(list(names.values()), list(names)))


def _match(
    stacks: Mapping[Source, Sequence[Source]], known: Container[str], page: int | Literal["all"] | None
) -> tuple[list[Source], list[Source]]:
    """The images, and pages as images of their own, that have masks; and those that have none."""
    chosen: list[Source] = []
    missing: list[Source] = []
    for source, pages in stacks.items():
        whole = [source] if page != "all" and source.stem in known else []
        found = [one for one in pages if one.stem in known]
        if found and isinstance(page, int):
            raise ConfigError(
                f"--page {page}: {source.name} has masks of single pages, such as {found[0].stem}; leave --page out"
            )
        chosen += whole + found
        if found:
            missing += [one for one in pages if one not in found]
        elif not whole:
            missing.append(source)
    return chosen, missing


@dataclass(frozen=True, slots=True)
class _Work:
    """What is measured: these masks, on this page of files that are one image, in this colour."""

    known: Mapping[str, Instances]
    page: int
    microns: float | None
    channel: str | None

    def measure(self, source: Source) -> _Measured | CytotomeError:
        """One image, or why it cannot be measured."""
        try:
            cells, held = self._masks(source)
            page = self.page if source.page is None else source.page
            image = replace(read_image(source.path, page=page, blank=True), source=source.place)
            check_shape(source.path, image.shape, cells.shape)
            own, microns = image.microns_per_pixel, self.microns or held or image.microns_per_pixel
            notes = image.notes if microns is None else ()
            if self.microns is None and held and own and abs(held / own - 1) > 0.01:
                notes = (f"microns per pixel are {held:g} in the masks, which is taken, and {own:g} in the image",)
            image = replace(image, pixels=self._levels(image), microns_per_pixel=microns)
        except CytotomeError as error:
            return error
        counts = count_cells(cells, to_label_map(cells))
        rows = cell_rows(source.name, image, cells), image_row(source.name, image, counts)
        return _Measured(*rows, len(cells), notes)

    def _masks(self, source: Source) -> tuple[Instances, float | None]:
        if isinstance(self.known, LabelFolder):
            return self.known.read(source.stem)
        return self.known[source.stem], None

    def _levels(self, image: Image) -> AnyArray:
        if self.channel is None:
            return image.pixels
        if image.pixels.ndim != 3:
            raise ImageError(f"{image.source}: is grey and has no channel {self.channel}; leave --channel out")
        return np.ascontiguousarray(image.pixels[:, :, COLOURS.index(self.channel)])


def _write(tables: list[Path], sources: list[Source], work: _Work, quiet: bool, tally: _Tally) -> None:
    """Writes both tables, an image at a time; tells the tally of each."""
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
    if missing:
        warn(f"{len(missing)} of {total} images have no masks, first {missing[0].name}")
    warn_of_failures(tally.failures, total, "measured")
