"""Classes of instances and images, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cytotome.ops.cell_types import class_of_each, class_of_image, population
from cytotome.types import Instances


def test_the_greatest_mean_wins_for_each_label_and_the_weighted_sum_for_the_image() -> None:
    labels = np.array([[1, 1, 0, 2]], np.int32)
    types = np.array([[[0.9, 0.0, 1.0, 0.2]], [[0.1, 1.0, 0.0, 0.8]]], np.float32)
    assert class_of_each(labels, 2, types).tolist() == [1, 1]
    assert class_of_image(types, labels > 0) == 1
    assert class_of_image(types, np.array([[3.0, 0.0, 1.0, 0.0]])) == 0


def test_the_majority_counts_scores_and_leaves_out_the_unknown() -> None:
    cells = replace(
        Instances.from_label_map(np.arange(1, 5, dtype=np.int32)[None].repeat(2, axis=0)),
        scores=np.array([0.9, 0.3, 0.3, 0.9], np.float32),
        classes=np.array([-1, 1, 1, 0], np.int32),
        class_names=("a", "b"),
    )
    assert cells.majority_class() == 0
    assert cells.select([0]).majority_class() == -1


def test_a_population_in_numbers() -> None:
    labels = np.zeros((20, 50), np.int32)
    labels[:2, :8], labels[10:14, 10:14] = 1, 2
    cells = replace(Instances.from_label_map(labels), scores=np.array([0.5, 1.0], np.float32))
    expected = [np.log1p(200), np.log(16), 0, np.log(4) / 2, 0.032, 0.75]
    np.testing.assert_allclose(population(cells), expected)
    assert not population(cells.select([])).any()
