"""The tables ``cells.csv`` (one row per cell) and ``images.csv`` (one row per image), as text and as data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cytotome.measurement.counts import Counts
from cytotome.measurement.morphology import measure_cells
from cytotome.types import AnyArray, Image, Instances

if TYPE_CHECKING:
    import pandas as pd


class _Column(NamedTuple):
    """A column of the table: its column of measure_cells, the power of microns per pixel, and the format of values."""

    source: str
    power: int
    layout: str


_MEASURED = {
    "centroid_y": _Column("centroid_y", 0, "%.2f"),
    "centroid_x": _Column("centroid_x", 0, "%.2f"),
    "top": _Column("top", 0, "%d"),
    "left": _Column("left", 0, "%d"),
    "bottom": _Column("bottom", 0, "%d"),
    "right": _Column("right", 0, "%d"),
    "area_pixels": _Column("area", 0, "%d"),
    "perimeter_pixels": _Column("perimeter", 0, "%.2f"),
    "major_axis_pixels": _Column("major_axis", 0, "%.2f"),
    "minor_axis_pixels": _Column("minor_axis", 0, "%.2f"),
    "largest_diameter_pixels": _Column("largest_diameter", 0, "%.2f"),
    "area_um2": _Column("area", 2, "%.4f"),
    "perimeter_um": _Column("perimeter", 1, "%.4f"),
    "major_axis_um": _Column("major_axis", 1, "%.4f"),
    "minor_axis_um": _Column("minor_axis", 1, "%.4f"),
    "largest_diameter_um": _Column("largest_diameter", 1, "%.4f"),
    "eccentricity": _Column("eccentricity", 0, "%.4f"),
    "orientation": _Column("orientation", 0, "%.4f"),
    "solidity": _Column("solidity", 0, "%.4f"),
    "circularity": _Column("circularity", 0, "%.4f"),
    "intensity_mean": _Column("intensity_mean", 0, "%.6g"),
    "intensity_deviation": _Column("intensity_deviation", 0, "%.6g"),
    "intensity_lowest": _Column("intensity_lowest", 0, "%.6g"),
    "intensity_highest": _Column("intensity_highest", 0, "%.6g"),
}
CELL_COLUMNS = ("image", "cell", "class", "score", *_MEASURED)
IMAGE_COLUMNS = (
    "image",
    "height",
    "width",
    "microns_per_pixel",
    "cells",
    "confluence",
    "mean_area_pixels",
    "mean_area_um2",
)


def measure(
    cells: Instances, image: Image | AnyArray | None = None, *, microns_per_pixel: float | None = None
) -> pd.DataFrame:
    """Measures shape, size and grey levels of each cell, one row per cell, with the columns of ``cells.csv``.

    >>> import numpy as np, cytotome as ct
    >>> cells = ct.from_label_map(np.repeat([[1, 2]], 4, axis=0).repeat([4, 2], axis=1))
    >>> ct.measure(cells, microns_per_pixel=0.5)[["cell", "area_pixels", "area_um2", "solidity"]]
       cell  area_pixels  area_um2  solidity
    0     1           16       4.0       1.0
    1     2            8       2.0       1.0

    Args:
        cells: N cells, which may overlap; each is measured completely.
        image: adds grey levels, and microns per pixel if it has them.
        microns_per_pixel: pixel size in microns, which overrides that of the image.

    Returns:
        N rows, without the columns of the image. Lengths and areas are in pixels and, if the pixel size is known, in
        microns, else NaN; positions are in pixels from the upper left corner; grey levels are NaN without an image. See
        :func:`measure_cells` for the columns.

    Raises:
        DataError: if the size of the image differs.
    """
    import pandas as pd  # takes a third of a second to import

    if image is not None and not isinstance(image, Image):
        image = Image(image)
    if microns_per_pixel is None and image is not None:
        microns_per_pixel = image.microns_per_pixel
    columns: dict[str, Any] = {"cell": cells.ids, "class": _class_names(cells), "score": cells.scores}
    for name, values in _measured(cells, image, microns_per_pixel).items():
        columns[name] = np.full(len(cells), np.nan) if values is None else values
    return pd.DataFrame(columns)


def head(columns: Sequence[str]) -> str:
    """Returns the header of a table, with line end."""
    return ",".join(columns) + "\n"


def cell_rows(name: str, image: Image, instances: Instances) -> str:
    """Returns the image's lines of ``cells.csv``, with line ends; columns in microns are empty if unknown.

    Args:
        name: the image's name in the table.
        image: provides grey levels and microns per pixel.
        instances: the cells, which may overlap; each is measured completely.
    """
    count = len(instances)
    columns: list[Sequence[object]] = [
        [name] * count,
        instances.ids.tolist(),
        _class_names(instances),
        [f"{score:.4f}" for score in instances.scores.tolist()],
    ]
    for column, values in _measured(instances, image, image.microns_per_pixel).items():
        layout = _MEASURED[column].layout
        columns.append([""] * count if values is None else [layout % value for value in values.tolist()])
    return _lines(zip(*columns, strict=True))


def image_row(name: str, image: Image, counts: Counts) -> str:
    """Returns the image's line of ``images.csv``, with line end."""
    microns, area = image.microns_per_pixel, counts.mean_area
    values = (
        name,
        *image.shape,
        "" if microns is None else f"{microns:.6g}",
        counts.cells,
        f"{counts.confluence:.6f}",
        f"{area:.2f}" if counts.cells else "",
        f"{area * microns**2:.4f}" if counts.cells and microns is not None else "",
    )
    return _lines([values])


def _measured(instances: Instances, image: Image | None, microns_per_pixel: float | None) -> dict[str, AnyArray | None]:
    """The values ``(N,)`` of each column of :data:`_MEASURED`, None if unknown."""
    found = measure_cells(instances, image)
    found |= dict(zip(("top", "left", "bottom", "right"), instances.boxes.T, strict=True))
    columns: dict[str, AnyArray | None] = {}
    for name, (source, power, _) in _MEASURED.items():
        values = found.get(source)
        if power:
            values = None if microns_per_pixel is None or values is None else values * microns_per_pixel**power
        columns[name] = values
    return columns


def _lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _class_names(instances: Instances) -> list[str]:
    names = instances.class_names
    unknown = "unknown" if names else ""
    return [names[number] if 0 <= number < len(names) else unknown for number in instances.classes.tolist()]
