"""Segmentation labels of YOLO: one text file per image, one line per cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cytotome.io.polygons import cell_rings, even_odd_path
from cytotome.types import Image, Instances


def write_yolo(path: Path, image: Image, cells: Instances) -> None:
    """Writes the class and outline of each cell, relative to the image's width and height.

    The format supports one polygon per cell: parts and holes are joined by cuts of zero width. It has no scores. The
    class of cells of unknown type is the number after those of the class names.
    """
    height, width = cells.shape
    with open(path, "w", encoding="utf-8") as handle:
        for index, parts in cell_rings(cells):
            outline = even_odd_path([ring for part in parts for ring in part])[:-1]
            label = int(cells.classes[index])
            values = (outline / np.array([width, height])).ravel()
            number = label if label >= 0 else len(cells.class_names)
            handle.write(" ".join([str(number), *(f"{value:.6f}" for value in values)]) + "\n")
