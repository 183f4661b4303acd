"""An export: a CSV file of the centre and the radius of each cell, as the layout ``circles`` reads them."""

from __future__ import annotations

import math
from pathlib import Path

import cytotome as ct
from cytotome.io.exports import Export


def write_centres(path: Path, image: ct.Image, cells: ct.Instances) -> None:
    """Writes one image."""
    name = Path(image.source).name
    table = ct.measure(cells)
    rows = [
        f"{name},{y:.2f},{x:.2f},{math.sqrt(area / math.pi):.2f}"
        for y, x, area in zip(table["centroid_y"], table["centroid_x"], table["area_pixels"], strict=True)
    ]
    path.write_text("\n".join(["image,y,x,radius", *rows]) + "\n", encoding="utf-8")


EXPORT = Export(ending="_circles.csv", write=write_centres)
