"""Cells of manually corrected label maps."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np

from cytotome.app.segment.marks import read_rows
from cytotome.app.segment.results import Results, Task
from cytotome.datasets.files import check_shape
from cytotome.io.labels import read_label_map
from cytotome.measurement.table import CELL_COLUMNS
from cytotome.types import Image, Instances


def corrected_cells(results: Results, task: Task, image: Image, class_names: Sequence[str]) -> Instances:
    """Returns the cells of the image's current label map; those that the model found keep their scores and classes.

    Raises:
        DataError: if the file is not a label map of the image.
    """
    labels = read_label_map(results.labels(task.source))
    check_shape(results.labels(task.source), image.shape, (labels.shape[0], labels.shape[1]))
    cells, known = Instances.from_label_map(labels), _known(results.folder, task.source.name)
    order = {name: index for index, name in enumerate(class_names)}
    found = [known.get(number, (1.0, "")) for number in cells.ids.tolist()]
    return replace(
        cells,
        scores=np.array([score for score, _ in found], np.float32),
        classes=np.array([order.get(name, -1) for _, name in found], np.int32),
        class_names=tuple(class_names),
    )


def _known(folder: Path, name: str) -> dict[int, tuple[float, str]]:
    """Score and class of each cell in the image's mark."""
    rows = csv.DictReader(StringIO(read_rows(folder, name), newline=""), fieldnames=CELL_COLUMNS)
    return {int(row["cell"]): (float(row["score"]), row["class"]) for row in rows}
