"""Statistics of a dataset: images, cells, sizes, overlaps, defects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from cytotome.datasets.defects import Defects, find_defects
from cytotome.errors import CytotomeError
from cytotome.ops.label_check import label_fault
from cytotome.ops.runs import intersections
from cytotome.types import Dataset, Instances, Note

LISTED = 50
"""Maximum number of names that are listed per note."""
DEFECTS = tuple(field.name for field in fields(Defects))


@dataclass(frozen=True, slots=True)
class TypeSummary:
    """The labelled images of one cell type.

    Attributes:
        cell_type: its name, ``mixed`` if images have none.
        images: number of labelled images.
        cells: number of instances.
        cells_per_image: minimum, median and maximum.
        area: 5th, 50th and 95th percentile of the pixels per mask.
        covered: fraction of pixels that are covered by a mask.
        overlapping_cells: fraction of cells that share a pixel with another.
        shared_pixels: fraction of covered pixels that belong to two or more masks.
        defects: number of masks that look wrong, see :class:`~cytotome.datasets.defects.Defects`.
    """

    cell_type: str
    images: int
    cells: int
    cells_per_image: tuple[int, float, int]
    area: tuple[float, float, float]
    covered: float
    overlapping_cells: float
    shared_pixels: float
    defects: dict[str, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of a dataset.

    Attributes:
        name: name of the dataset.
        class_names: class names of its instances.
        images: number of all images.
        mask_quality: number of images by mask quality.
        groups: number of groups that are never split.
        folds: number of labelled images in each fold, empty if the dataset defines none.
        types: one entry per cell type.
        empty: ids of labelled images without a cell.
        binary: ids of images whose only mask has at least :data:`~cytotome.ops.label_check.MANY_PARTS` parts.
        unusable: why an image or its masks cannot be used, by id.
        notes: notes of the dataset.
    """

    name: str
    class_names: tuple[str, ...]
    images: int
    mask_quality: dict[str, int]
    groups: int
    folds: dict[int, int]
    types: tuple[TypeSummary, ...]
    empty: tuple[str, ...]
    binary: tuple[str, ...]
    unusable: dict[str, str]
    notes: tuple[Note, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts for one labelled image."""

    areas: npt.NDArray[np.int64]
    overlapping: int
    covered: int
    shared: int
    pixels: int
    defects: dict[str, int]


def summary(dataset: Dataset, *, advance: Callable[[], None] = lambda: None) -> Summary:
    """Reads every image and annotation of the dataset; unusable ones are listed and left out.

    Args:
        dataset: the dataset.
        advance: called after each image.
    """
    counts: dict[str, list[_Counts]] = {}
    empty, binary, unusable = [], [], {}
    for index, info in enumerate(dataset.infos):
        try:
            instances = dataset[index].instances
        except CytotomeError as error:
            instances, unusable[info.id] = None, str(error)
        if instances is not None:
            counts.setdefault(info.cell_type or "mixed", []).append(_count(instances))
            if len(instances) == 0:
                empty.append(info.id)
            elif _is_binary(instances):
                binary.append(info.id)
        advance()
    folds = Counter(info.fold for info in dataset.infos if info.fold is not None and info.is_labelled)
    return Summary(
        name=dataset.name,
        class_names=dataset.class_names,
        images=len(dataset),
        mask_quality=dict(Counter(str(info.mask_quality) for info in dataset.infos)),
        groups=len({info.split_key for info in dataset.infos}),
        folds=dict(sorted(folds.items())),
        types=tuple(_of_type(name, images) for name, images in sorted(counts.items())),
        empty=tuple(empty),
        binary=tuple(binary),
        unusable=unusable,
        notes=dataset.notes,
    )


def _is_binary(instances: Instances) -> bool:
    """Whether all cells seem to have the same label, as in a black and white mask."""
    return len(instances) == 1 and bool(label_fault(instances))


def _count(instances: Instances) -> _Counts:
    first, second, _ = intersections(instances, instances)
    depth = np.zeros((instances.shape[0], instances.shape[1] + 1), np.int32)
    rows, starts, stops = instances.runs.T
    np.add.at(depth, (rows, starts), 1)
    np.add.at(depth, (rows, stops), -1)
    depth = np.cumsum(depth, axis=1)
    found = find_defects(instances)
    return _Counts(
        areas=instances.areas,
        overlapping=len(np.unique(first[first != second])),
        covered=int(np.count_nonzero(depth)),
        shared=int(np.count_nonzero(depth > 1)),
        pixels=instances.shape[0] * instances.shape[1],
        defects={name: int(np.count_nonzero(getattr(found, name))) for name in DEFECTS},
    )


def _of_type(name: str, images: Sequence[_Counts]) -> TypeSummary:
    numbers = [len(image.areas) for image in images]
    areas = np.concatenate([image.areas for image in images])
    low, middle, high = np.percentile(areas, [5, 50, 95]) if len(areas) else (0.0, 0.0, 0.0)
    covered = sum(image.covered for image in images)
    return TypeSummary(
        cell_type=name,
        images=len(images),
        cells=len(areas),
        cells_per_image=(min(numbers), float(np.median(numbers)), max(numbers)),
        area=(float(low), float(middle), float(high)),
        covered=covered / sum(image.pixels for image in images),
        overlapping_cells=sum(image.overlapping for image in images) / max(len(areas), 1),
        shared_pixels=sum(image.shared for image in images) / max(covered, 1),
        defects={key: sum(image.defects[key] for image in images) for key in DEFECTS},
    )


def _lines(found: Summary) -> list[str]:
    quality = ", ".join(f"{number} {name}" for name, number in found.mask_quality.items())
    lines = [f"{found.name}: {found.images} images in {found.groups} groups; masks: {quality}"]
    if found.folds:
        lines.append("folds: " + ", ".join(f"{fold}: {number}" for fold, number in found.folds.items()))
    if found.empty:
        lines.append(f"labelled without a cell: {_some(found.empty)}")
    if found.binary:
        lines.append(
            f"all cells share one mask (black and white): {_some(found.binary)}; give each cell a number of its own"
        )
    lines += [f"note: {note.text(LISTED)}" for note in found.notes]
    if not found.types:
        return [*lines, "nothing is labelled"]
    head = ("cell type", "images", "cells", "per image", "area 5/50/95 %", "covered", "overlapping", "shared", *DEFECTS)
    rows = [head, *(_row(entry) for entry in found.types)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [*lines, "", *table]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def _row(entry: TypeSummary) -> tuple[str, ...]:
    least, median, most = entry.cells_per_image
    return (
        entry.cell_type,
        str(entry.images),
        str(entry.cells),
        f"{least} - {median:g} - {most}",
        "/".join(f"{value:.0f}" for value in entry.area),
        f"{entry.covered:.1%}",
        f"{entry.overlapping_cells:.1%}",
        f"{entry.shared_pixels:.1%}",
        *(str(entry.defects[name]) for name in DEFECTS),
    )
