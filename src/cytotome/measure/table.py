"""Rows of the tables ``cells.csv`` (a row a cell) and ``images.csv`` (a row an image)."""

from __future__ import annotations

from collections.abc import Sequence

from cytotome.measure.counts import Counts
from cytotome.measure.morphology import measure_cells
from cytotome.types import AnyArray, Image, Instances

# Column of the table: column of measure_cells, power of microns per pixel it is multiplied by, format of a value.
_MEASURED = {
    "centroid_y": ("centroid_y", 0, "%.2f"),
    "centroid_x": ("centroid_x", 0, "%.2f"),
    "top": ("top", 0, "%d"),
    "left": ("left", 0, "%d"),
    "bottom": ("bottom", 0, "%d"),
    "right": ("right", 0, "%d"),
    "area_pixels": ("area", 0, "%d"),
    "perimeter_pixels": ("perimeter", 0, "%.2f"),
    "major_axis_pixels": ("major_axis", 0, "%.2f"),
    "minor_axis_pixels": ("minor_axis", 0, "%.2f"),
    "largest_diameter_pixels": ("largest_diameter", 0, "%.2f"),
    "area_um2": ("area", 2, "%.4f"),
    "perimeter_um": ("perimeter", 1, "%.4f"),
    "major_axis_um": ("major_axis", 1, "%.4f"),
    "minor_axis_um": ("minor_axis", 1, "%.4f"),
    "largest_diameter_um": ("largest_diameter", 1, "%.4f"),
    "eccentricity": ("eccentricity", 0, "%.4f"),
    "orientation": ("orientation", 0, "%.4f"),
    "solidity": ("solidity", 0, "%.4f"),
    "circularity": ("circularity", 0, "%.4f"),
    "intensity_mean": ("intensity_mean", 0, "%.6g"),
    "intensity_deviation": ("intensity_deviation", 0, "%.6g"),
    "intensity_lowest": ("intensity_lowest", 0, "%.6g"),
    "intensity_highest": ("intensity_highest", 0, "%.6g"),
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


def head(columns: Sequence[str]) -> str:
    """The first line of a table, with its line end."""
    return ",".join(columns) + "\n"


def cell_rows(name: str, image: Image, instances: Instances) -> str:
    """The image's lines of ``cells.csv``, each with its line end; columns in microns are empty where unknown.

    Args:
        name: the image's name in the table.
        image: gives grey levels and microns per pixel.
        instances: the cells; masks may overlap, each is measured whole.
    """
    columns = measure_cells(instances, image)
    columns |= dict(zip(("top", "left", "bottom", "right"), instances.boxes.T, strict=True))
    formats = ["%d", "%s", "%.4f"]
    values: list[list[object]] = [instances.ids.tolist(), _class_names(instances), instances.scores.tolist()]
    for source, power, layout in _MEASURED.values():
        if power and image.microns_per_pixel is None:
            formats.append("")
        else:
            formats.append(layout)
            values.append(_scaled(columns[source], image.microns_per_pixel, power).tolist())
    line = f"{quoted(name)},".replace("%", "%%") + ",".join(formats) + "\n"
    return "".join([line % row for row in zip(*values, strict=True)])


def image_row(name: str, image: Image, counts: Counts) -> str:
    """The image's line of ``images.csv``, with its line end."""
    microns, area = image.microns_per_pixel, counts.mean_area
    values = (
        quoted(name),
        *map(str, image.shape),
        "" if microns is None else f"{microns:.6g}",
        str(counts.cells),
        f"{counts.confluence:.6f}",
        f"{area:.2f}" if counts.cells else "",
        f"{area * microns**2:.4f}" if counts.cells and microns is not None else "",
    )
    return ",".join(values) + "\n"


def quoted(text: str) -> str:
    """A CSV field, in quotes where it needs them (RFC 4180)."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text


def _class_names(instances: Instances) -> list[object]:
    names = [quoted(name) for name in instances.class_names]
    unknown = "unknown" if names else ""
    return [names[number] if 0 <= number < len(names) else unknown for number in instances.classes.tolist()]


def _scaled(values: AnyArray, microns_per_pixel: float | None, power: int) -> AnyArray:
    return values * microns_per_pixel**power if power and microns_per_pixel is not None else values
