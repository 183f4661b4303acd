"""Cell counts and confluence of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cytotome.types import AnyArray, Instances


@dataclass(frozen=True, slots=True)
class Counts:
    """Cell counts of one image.

    Attributes:
        cells: number of cells.
        confluence: fraction of the image's pixels that belong to a cell.
        mean_area: mean area of a cell in pixels; NaN without cells.
        by_class: number of cells of each class, by name.
    """

    cells: int
    confluence: float
    mean_area: float
    by_class: dict[str, int]


def count_cells(instances: Instances, labels: AnyArray) -> Counts:
    """Cell counts of one image.

    Args:
        instances: the cells.
        labels: ``(H, W)`` label map of the same image, non-zero inside cells.
    """
    known = instances.classes[instances.classes >= 0]
    numbers = np.bincount(known, minlength=len(instances.class_names))
    return Counts(
        cells=len(instances),
        confluence=float(np.count_nonzero(labels) / labels.size),
        mean_area=float(instances.areas.mean()) if len(instances) else float("nan"),
        by_class=dict(zip(instances.class_names, numbers.tolist(), strict=False)),
    )
