"""Counts of an image, worked by hand."""

from __future__ import annotations

import math

import numpy as np

from cytotome.measurement.counts import count_cells
from cytotome.types import Instances


def test_counts_of_two_overlapping_cells() -> None:
    masks = np.zeros((2, 4, 5), bool)
    masks[0, :, :3] = True
    masks[1, :, 2:4] = True
    instances = Instances.from_masks(masks, classes=[1, 1], class_names=("cort", "astro"))
    counts = count_cells(instances, instances.to_label_map())
    assert (counts.cells, counts.confluence, counts.mean_area) == (2, 16 / 20, 10)
    assert counts.by_class == {"cort": 0, "astro": 2}


def test_an_image_without_cells_has_no_mean_area() -> None:
    counts = count_cells(Instances.empty((4, 4), ("cell",)), np.zeros((4, 4), np.int32))
    assert (counts.cells, counts.confluence, counts.by_class) == (0, 0, {"cell": 0})
    assert math.isnan(counts.mean_area)
