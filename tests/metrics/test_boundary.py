from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from cytotome.errors import ConfigError, DataError
from cytotome.metrics.boundary import boundary_f, boundary_map
from cytotome.types import Instances


def reference_map(masks, shape):
    """What one erosion by a cross takes from each mask; beyond the image's edge counts as inside."""
    outline = np.zeros(shape, bool)
    for mask in masks:
        outline |= mask & ~binary_erosion(mask, border_value=1)
    return outline


def reference_f(predicted, true, tolerance):
    if not predicted.any() or not true.any():
        return float(predicted.any() == true.any())
    precision = np.mean(distance_transform_edt(~true)[predicted] <= tolerance)
    recall = np.mean(distance_transform_edt(~predicted)[true] <= tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, 3.0])
def test_random_masks_agree_with_erosion_and_distance(seed, tolerance, random_pair, dense):
    predictions, truth = random_pair(seed)
    predicted, true = (reference_map(dense(side), side.shape) for side in (predictions, truth))
    np.testing.assert_array_equal(boundary_map(truth), true)
    assert boundary_f(predictions, truth, tolerance) == pytest.approx(
        reference_f(predicted, true, tolerance), abs=1e-12
    )


def test_real_masks_agree_with_erosion_and_distance(real_pairs, dense):
    for predictions, truth in list(real_pairs.values())[::3]:
        predicted, true = (reference_map(dense(side), side.shape) for side in (predictions, truth))
        np.testing.assert_array_equal(boundary_map(predictions), predicted)
        assert boundary_f(predictions, truth, 2.0) == pytest.approx(reference_f(predicted, true, 2.0), abs=1e-12)


def test_the_edge_of_the_image_is_no_outline():
    masks = np.zeros((1, 4, 6), bool)
    masks[0, :, :3] = True
    assert np.argwhere(boundary_map(Instances.from_masks(masks))).tolist() == [[0, 2], [1, 2], [2, 2], [3, 2]]


def test_a_shift_is_forgiven_up_to_the_tolerance():
    masks = np.zeros((2, 30, 30), bool)
    masks[0, 10:20, 10:20], masks[1, 10:20, 12:22] = True, True
    both = Instances.from_masks(masks)
    assert boundary_f(both.select([0]), both.select([1]), 2.0) == 1.0
    assert boundary_f(both.select([0]), both.select([1]), 1.9) < 0.8


def test_no_outline_at_all():
    nothing, masks = Instances.empty((6, 6)), np.zeros((1, 6, 6), bool)
    masks[0, 2:4, 2:4] = True
    assert boundary_f(nothing, nothing) == 1.0
    assert boundary_f(nothing, Instances.from_masks(masks)) == 0.0
    assert boundary_f(Instances.from_masks(masks), nothing) == 0.0


def test_wrong_size_and_wrong_tolerance_are_refused():
    with pytest.raises(DataError, match="different images"):
        boundary_f(Instances.empty((4, 6)), Instances.empty((4, 7)))
    with pytest.raises(ConfigError, match=r"0 pixels or more, got -1"):
        boundary_f(Instances.empty((4, 6)), Instances.empty((4, 6)), -1)
