"""Classes of instances and images, by hand."""

from __future__ import annotations

import numpy as np

from cytotome.ops.cell_types import class_of_each, class_of_image


def test_the_greatest_mean_wins_for_each_label_and_the_weighted_sum_for_the_image() -> None:
    labels = np.array([[1, 1, 0, 2]], np.int32)
    types = np.array([[[0.9, 0.0, 1.0, 0.2]], [[0.1, 1.0, 0.0, 0.8]]], np.float32)
    assert class_of_each(labels, 2, types).tolist() == [1, 1]
    assert class_of_image(types, labels > 0) == 1
    assert class_of_image(types, np.array([[3.0, 0.0, 1.0, 0.0]])) == 0
