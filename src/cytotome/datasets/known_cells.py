"""Scores and classes of cells, read from ``cells.csv``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from cytotome.errors import DataError
from cytotome.io.tables import numbers, read_table
from cytotome.types import UNKNOWN, Instances

CELLS_FILE = "cells.csv"


@dataclass(frozen=True, slots=True)
class KnownCells:
    """The cells of each image in a table.

    Attributes:
        class_names: classes of all cells, sorted.
        cells: by stem of the image's name and number of the cell: its score and class name (empty if unknown).
    """

    class_names: tuple[str, ...] = ()
    cells: dict[str, dict[int, tuple[float, str]]] | None = None

    def __contains__(self, stem: str) -> bool:
        return self.cells is not None and stem in self.cells

    def apply(self, stem: str, instances: Instances) -> Instances:
        """Returns the instances with the scores and classes of an image's cells; those not in the table get a score of
        1.
        """
        if self.cells is None or stem not in self.cells:
            return instances
        known = [self.cells[stem].get(number, (1.0, "")) for number in instances.ids.tolist()]
        order = {name: index for index, name in enumerate(self.class_names)}
        return replace(
            instances,
            scores=np.array([score for score, _ in known], np.float32),
            classes=np.array([order.get(name, -1) for _, name in known], np.int32),
            class_names=self.class_names,
        )


def read_known_cells(path: Path) -> KnownCells | None:
    """Reads ``cells.csv``, even if saved by a spreadsheet program; None if it is another kind of table.

    Duplicate rows count once.

    Raises:
        DataError: if a value is not a number, or two rows of one cell differ.
    """
    table = read_table(path)
    if not {"image", "cell", "score"} <= set(table):
        return None
    scores, ids = numbers(table, "score", path), numbers(table, "cell", path)
    names = ["" if name == UNKNOWN else name for name in table.get("class", [""] * len(ids))]
    cells: dict[str, dict[int, tuple[float, str]]] = {}
    for row, (image, number, score, name) in enumerate(
        zip(table["image"], ids.tolist(), scores.tolist(), names, strict=True), start=1
    ):
        if not (number >= 1 and number == int(number)):
            raise DataError(f"{path}: row {row}: cell must be a whole number from 1, got {number:g}; correct it")
        value = (1.0 if np.isnan(score) else score, name)
        if not 0 <= value[0] <= 1:
            raise DataError(f"{path}: row {row}: score must lie in 0 to 1, got {score:g}; correct it")
        own = cells.setdefault(str(PurePosixPath(image).with_suffix("")) if image else "", {})
        if own.setdefault(int(number), value) != value:
            raise DataError(
                f"{path}: row {row}: cell {int(number)} of {image} occurs twice with different values; remove one"
            )
    return KnownCells(tuple(sorted({name for name in names if name})), cells)
