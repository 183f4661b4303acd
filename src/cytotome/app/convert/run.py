"""``cytotome convert``: masks of one format in another, and what of them the other cannot store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cytotome.app.console import Notices, progress, say, warn_of_failures
from cytotome.app.discover import LABELS_ENDING, Source
from cytotome.app.masks_of_images import read_masks, warn_of_missing
from cytotome.app.opening import open_and_warn
from cytotome.datasets.files import check_shape
from cytotome.errors import ConfigError, CytotomeError, DataError
from cytotome.io.coco import coco_part, write_coco_parts
from cytotome.io.exports import Export, bundled_exports, load_export, write_export
from cytotome.io.files import atomic_path
from cytotome.io.labels import write_label_map
from cytotome.io.submission import write_submission
from cytotome.ops.labels import resolve_overlaps
from cytotome.plugins import EXPORTS, plugin_names
from cytotome.types import Image, Instances

COCO_ENDINGS = (".json", ".json.gz")
ONE_FILE = {"coco": COCO_ENDINGS, "coco-polygons": COCO_ENDINGS, "submission": (".csv",)}
"""Formats with one file for all images, and the endings of its name."""
FLAT = ("labels", "submission")
"""Formats in which a pixel belongs to one cell."""
WITHOUT_SCORES = ("labels", "submission", "yolo")
WITHOUT_CLASSES = ("labels", "submission")


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """Options of ``cytotome convert``, as entered.

    Attributes:
        output: folder, or file for ``coco`` and ``submission``.
        to: name of the format.
        layout: layout of the dataset, None to detect it from its files.
        overwrite: replace existing files.
        quiet: print errors and warnings only.
    """

    output: Path
    to: str
    layout: str | None = None
    overwrite: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        known = ("labels", *ONE_FILE, *bundled_exports(), *plugin_names(EXPORTS))
        if self.to not in known:
            raise ConfigError(f"to: must be one of {', '.join(known)}, got {self.to!r}")
        endings = ONE_FILE.get(self.to, ())
        if endings and not self.output.name.endswith(endings):
            raise ConfigError(f"output: the file of {self.to} must end in {' or '.join(endings)}, got {self.output}")
        if not self.overwrite and (self.output.is_file() or (self.output.is_dir() and any(self.output.iterdir()))):
            raise ConfigError(f"{self.output}: already exists; use --overwrite to replace files, or another output")


@dataclass
class _Tally:
    """What was written: number of cells, notices, and failures by the name of the image."""

    cells: int = 0
    notices: Notices = field(default_factory=Notices)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Item:
    """One image with masks.

    Attributes:
        name: name of the image's file, or its id in a dataset.
        stem: the name without suffix, for results.
        read: reads the image and its masks.
    """

    name: str
    stem: str
    read: Callable[[], tuple[Image, Instances]]


def run_convert(masks: Path, images: str | None, options: ConvertOptions) -> int:
    """Converts the masks of each image; returns the number of images that could not be converted.

    Args:
        masks: labelled dataset, or masks of ``images``.
        images: folder of the images, None for a dataset.
        options: format and output.

    Raises:
        ConfigError: if images are not found.
        DataError: if masks or images cannot be read, or have nothing in common.
    """
    tally = _Tally()
    items = _of_dataset(masks, options.layout) if images is None else _of_images(masks, images, options, tally)
    total = len(items) + len(tally.failures)
    if not items:
        raise DataError(f"{masks}: contains no masks of these images; give a labelled dataset, or masks and images")
    with progress(len(items), quiet=options.quiet) as advance:
        found = _read(items, options, tally, advance)
        if options.to in ("coco", "coco-polygons"):
            polygons = options.to == "coco-polygons"
            parts = (coco_part(item.name, cells, polygons=polygons) for item, _, cells in found)
            write_coco_parts(options.output, parts)
        elif options.to == "submission":
            write_submission(options.output, {item.stem: cells for item, _, cells in found}, policy=None)
        else:
            export = None if options.to == "labels" else load_export(options.to)
            for item, image, cells in found:
                try:
                    _write(item, image, cells, export, options)
                except CytotomeError as error:
                    tally.failures[item.name] = str(error)
    say(
        f"{total - len(tally.failures)} of {total} images converted; {tally.cells} cells; {options.output}",
        quiet=options.quiet,
    )
    for line in tally.notices.lines():
        say(f"note: {line}", quiet=options.quiet)
    warn_of_failures(tally.failures, total, "converted")
    return len(tally.failures)


def _of_dataset(path: Path, layout: str | None) -> list[_Item]:
    """The labelled images of a dataset."""
    dataset = open_and_warn(path, layout=layout)

    def read(index: int) -> tuple[Image, Instances]:
        sample = dataset[index]
        if sample.instances is None:
            raise DataError(f"{dataset.infos[index].id}: listed as labelled but without masks; check the dataset")
        return sample.image, sample.instances

    return [
        _Item(info.id, info.id, partial(read, index)) for index, info in enumerate(dataset.infos) if info.is_labelled
    ]


def _of_images(masks: Path, images: str, options: ConvertOptions, tally: _Tally) -> list[_Item]:
    """The images, and the pages of multi-page files, that have masks; reports those without any."""
    found = read_masks(masks, images, options.output)
    tally.failures = found.failures
    chosen, missing = found.match()

    def read(source: Source) -> tuple[Image, Instances]:
        image, cells = source.read(), found.known[source.stem]
        check_shape(source.path, image.shape, cells.shape)
        return image, cells

    warn_of_missing(missing, len(chosen) + len(missing) + len(found.failures))
    return [_Item(source.name, source.stem, partial(read, source)) for source in chosen]


def _read(
    items: Sequence[_Item], options: ConvertOptions, tally: _Tally, advance: Callable[[], None]
) -> Iterator[tuple[_Item, Image, Instances]]:
    """Each image with its masks, without overlaps if the format requires it; counts them, and what is lost."""
    for item in items:
        try:
            image, cells = item.read()
        except CytotomeError as error:
            tally.failures[item.name] = str(error)
        else:
            tally.cells += len(cells)
            stored = resolve_overlaps(cells) if options.to in FLAT else cells
            for note in _losses(cells, stored, options.to):
                tally.notices.add(item.name, note)
            yield item, image, stored
        advance()


def _losses(cells: Instances, stored: Instances, to: str) -> Iterator[str]:
    """What a format cannot store of the cells of an image, of which it stores the masks of ``stored``."""
    if int(stored.areas.sum()) < int(cells.areas.sum()):
        yield "cells overlap; the smaller one keeps shared pixels"
    if len(stored) < len(cells):
        yield "cells that are covered by others are lost"
    if to in WITHOUT_SCORES and (cells.scores < 1).any():
        yield "scores are not stored"
    if to in WITHOUT_CLASSES and (cells.classes >= 0).any() and len(cells.class_names) > 1:
        yield "classes are not stored"


def _write(item: _Item, image: Image, cells: Instances, export: Export | None, options: ConvertOptions) -> None:
    """Writes the file of one image."""
    path = options.output / (item.stem + (LABELS_ENDING if export is None else export.ending))
    if export is None:
        write_label_map(path, cells, image.microns_per_pixel)
        return
    with atomic_path(path) as temporary:
        write_export(options.to, export, temporary, image, cells)
