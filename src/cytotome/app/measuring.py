"""``cytotome measure``: the tables of ``segment`` for masks that come from elsewhere, such as corrected label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cytotome.app.console import progress, say, warn, warn_of_failures
from cytotome.app.discover import Source, discover, split_clashes
from cytotome.app.evaluating import LabelFolder, read_predictions
from cytotome.app.image_set import ImageSet
from cytotome.app.results import CELLS_FILE, IMAGES_FILE
from cytotome.app.settings import check_microns
from cytotome.datasets.files import check_shape
from cytotome.errors import ConfigError, CytotomeError, DataError
from cytotome.inference.stream import map_in_order
from cytotome.io.files import atomic_path
from cytotome.io.images import read_image
from cytotome.measure.counts import count_cells
from cytotome.measure.table import CELL_COLUMNS, IMAGE_COLUMNS, cell_rows, head, image_row
from cytotome.ops.labels import to_label_map
from cytotome.types import Instances

WORKERS = 2


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """Options of ``cytotome measure``, as typed."""

    output: Path
    microns: float | None = None
    overwrite: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        check_microns(self.microns)


@dataclass(frozen=True, slots=True)
class _Measured:
    """Lines of the tables, and the number of cells, of one image."""

    cells: str
    image: str
    count: int


def run_measure(masks: Path, images: str, options: MeasureOptions) -> int:
    """Measures the masks of each image; gives the number of images that could not be measured.

    Raises:
        ConfigError: where the tables are there already.
        DataError: where masks or images cannot be read, or have nothing in common.
    """
    tables = [options.output / name for name in (CELLS_FILE, IMAGES_FILE)]
    for path in tables:
        if path.exists() and not options.overwrite:
            raise ConfigError(f"{path}: is there; give --overwrite to replace it, or another folder")
    sources, failures = split_clashes(discover([images], options.output))
    known = read_predictions(masks, ImageSet(sources, [source.stem for source in sources]))
    if isinstance(known, LabelFolder):  # which may lie beside the images
        files = {path.resolve() for path in known.paths.values()}
        sources = [source for source in sources if source.path.resolve() not in files]
    total = len(sources) + len(failures)
    chosen = [source for source in sources if source.stem in known]
    if not chosen:
        raise DataError(f"{masks}: has no masks of any image in {images}; files must have the images' names")
    counts = _write(tables, chosen, known, options, failures)
    text = f"{len(counts)} of {total} images measured; {sum(counts)} cells; tables in {options.output}"
    say(text, quiet=options.quiet)
    if len(chosen) < len(sources):
        first = next(source.name for source in sources if source.stem not in known)
        warn(f"{len(sources) - len(chosen)} of {total} images have no masks, first {first}")
    warn_of_failures(failures, total, "measured")
    return len(failures)


def _write(
    tables: list[Path],
    sources: list[Source],
    known: Mapping[str, Instances],
    options: MeasureOptions,
    failures: dict[str, str],
) -> list[int]:
    """Writes both tables, an image at a time; gives the number of cells of each. What fails goes to ``failures``."""

    def measure(source: Source) -> _Measured | CytotomeError:
        try:
            return _measure(source, known[source.stem], options.microns)
        except CytotomeError as error:
            return error

    counts = []
    options.output.mkdir(parents=True, exist_ok=True)
    with (
        atomic_path(tables[0]) as cells_path,
        atomic_path(tables[1]) as images_path,
        open(cells_path, "w", encoding="utf-8", newline="") as cells_table,
        open(images_path, "w", encoding="utf-8", newline="") as images_table,
        progress(len(sources), quiet=options.quiet) as advance,
    ):
        cells_table.write(head(CELL_COLUMNS))
        images_table.write(head(IMAGE_COLUMNS))
        for source, outcome in zip(sources, map_in_order(measure, sources, workers=WORKERS), strict=True):
            if isinstance(outcome, CytotomeError):
                failures[source.name] = str(outcome)
            else:
                cells_table.write(outcome.cells)
                images_table.write(outcome.image)
                counts.append(outcome.count)
            advance()
    return counts


def _measure(source: Source, cells: Instances, microns: float | None) -> _Measured:
    image = read_image(source.path)
    check_shape(source.path, image.shape, cells.shape)
    if microns is not None:
        image = replace(image, microns_per_pixel=microns)
    counts = count_cells(cells, to_label_map(cells))
    return _Measured(cell_rows(source.name, image, cells), image_row(source.name, image, counts), len(cells))
