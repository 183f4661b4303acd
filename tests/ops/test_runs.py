from __future__ import annotations

import re

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytotome.errors import DataError
from cytotome.ops.runs import intersections, joined_flat_runs, mask_crop, mask_runs, merge_runs, split_flat_runs
from cytotome.types import Instances

sides = st.integers(1, 9)
masks = st.tuples(st.integers(0, 5), sides, sides).flatmap(lambda shape: arrays.arrays(bool, shape))


def to_masks(instances):
    """Full-size masks, painted run by run: slow and plain."""
    canvas = np.zeros((len(instances), *instances.shape), bool)
    for index in range(len(instances)):
        for row, start, stop in instances.runs[instances.offsets[index] : instances.offsets[index + 1]]:
            canvas[index, row, start:stop] = True
    return canvas


@given(masks)
def test_masks_come_back(stack):
    instances = Instances.from_masks(stack, shape=stack.shape[1:])
    np.testing.assert_array_equal(to_masks(instances), stack)
    np.testing.assert_array_equal(instances.areas, stack.sum((1, 2)))


@given(masks)
def test_boxes_are_the_extremes_of_the_pixels(stack):
    instances = Instances.from_masks(stack, shape=stack.shape[1:])
    for mask, box in zip(stack, instances.boxes, strict=True):
        y, x = np.nonzero(mask)
        expected = [y.min(), x.min(), y.max() + 1, x.max() + 1] if len(y) else [0, 0, 0, 0]
        assert box.tolist() == expected


@given(masks)
def test_crops_put_back_at_their_origins_give_the_same_instances(stack):
    instances = Instances.from_masks(stack, shape=stack.shape[1:])
    crops = [mask_crop(instances, index) for index in range(len(instances))]
    again = Instances.from_masks(
        [crop for crop, _ in crops], shape=instances.shape, origins=[origin for _, origin in crops]
    )
    np.testing.assert_array_equal(again.runs, instances.runs)
    np.testing.assert_array_equal(again.offsets, instances.offsets)


@given(masks, st.integers(-9, 9), st.integers(-9, 9))
def test_pixels_outside_the_image_are_cut_off(stack, y, x):
    _, height, width = stack.shape
    shifted = Instances.from_masks(stack, shape=(height, width), origins=np.tile([y, x], (len(stack), 1)))
    wide = np.zeros((len(stack), 3 * height + 18, 3 * width + 18), bool)
    wide[:, height + 9 + y : 2 * height + 9 + y, width + 9 + x : 2 * width + 9 + x] = stack
    expected = wide[:, height + 9 : 2 * height + 9, width + 9 : 2 * width + 9]
    np.testing.assert_array_equal(to_masks(shifted), expected)


@given(masks)
def test_flat_runs_are_maximal_and_come_back(stack):
    count, height, width = stack.shape
    instances = Instances.from_masks(stack, shape=(height, width))
    starts, lengths, owners = joined_flat_runs(instances)
    flat = np.zeros((count, height * width + 1), np.int8)
    for start, length, owner in zip(starts, lengths, owners, strict=True):
        flat[owner, start : start + length] += 1
    np.testing.assert_array_equal(flat[:, :-1], stack.reshape(count, height * width))
    assert len(starts) == (np.diff(flat, axis=1, prepend=0) == 1).sum()
    runs, run_owners = split_flat_runs(starts, lengths, owners, (height, width))
    np.testing.assert_array_equal(runs, instances.runs)
    np.testing.assert_array_equal(run_owners, np.repeat(np.arange(count), np.diff(instances.offsets)))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 8), st.integers(1, 4)), max_size=12))
def test_merged_runs_are_the_union_and_never_touch(pieces):
    owners = np.array([piece[0] for piece in pieces], np.int64)
    runs = np.array([[row, start, start + length] for _, row, start, length in pieces], np.int32).reshape(-1, 3)
    merged, offsets = merge_runs(runs, owners, 3)
    expected = np.zeros((3, 4, 12), bool)
    for owner, (row, start, stop) in zip(owners, runs, strict=True):
        expected[owner, row, start:stop] = True
    instances = Instances.from_runs((4, 12), merged, offsets)
    np.testing.assert_array_equal(to_masks(instances), expected)
    assert len(merged) == len(Instances.from_masks(expected).runs)


@given(masks, st.data())
def test_intersections_equal_those_of_full_masks(stack, data):
    other = data.draw(arrays.arrays(bool, (data.draw(st.integers(0, 5)), *stack.shape[1:])))
    first, second = (
        Instances.from_masks(stack, shape=stack.shape[1:]),
        Instances.from_masks(other, shape=stack.shape[1:]),
    )
    i, j, pixels = intersections(first, second)
    table = np.zeros((len(stack), len(other)), np.int64)
    table[i, j] = pixels
    np.testing.assert_array_equal(table, np.einsum("ihw,jhw->ij", stack.astype(int), other.astype(int)))
    assert (np.diff(i) >= 0).all()
    assert (pixels > 0).all()
    assert len(set(zip(i.tolist(), j.tolist(), strict=True))) == len(i)


def test_intersections_grow_past_their_first_capacity():
    ones = Instances.from_masks(np.ones((60, 2, 2), bool))
    i, j, pixels = intersections(ones, ones)
    assert len(i) == 3600
    assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == [(a, b) for a in range(60) for b in range(60)]
    assert set(pixels.tolist()) == {4}


def test_intersections_refuse_images_of_different_size():
    with pytest.raises(DataError, match=re.escape("instances of different images: (2, 3) and (3, 2)")):
        intersections(Instances.empty((2, 3)), Instances.empty((3, 2)))


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 0), (10, 3)])
def test_flat_runs_must_fit_the_image(start, length):
    with pytest.raises(DataError, match="a run exceeds the image of 3x4 or is empty"):
        split_flat_runs([start], [length], [0], (3, 4))


def test_no_mask_needs_a_shape():
    with pytest.raises(DataError, match=re.escape("give shape=(H, W) if there is no mask")):
        Instances.from_masks([])
    assert len(Instances.from_masks([], shape=(4, 5))) == 0


def test_defaults_of_attributes():
    runs, offsets = np.array([[0, 0, 2], [1, 0, 1]]), np.array([0, 1, 2])
    plain = Instances.from_runs((2, 2), runs, offsets)
    assert (plain.scores.tolist(), plain.classes.tolist(), plain.ids.tolist()) == ([1, 1], [-1, -1], [1, 2])
    assert Instances.from_runs((2, 2), runs, offsets, class_names=["cell"]).classes.tolist() == [0, 0]
    assert Instances.from_runs((2, 2), runs, offsets, class_names=["a", "b"]).classes.tolist() == [-1, -1]


@given(masks, st.data())
def test_selection_keeps_masks_and_attributes_in_the_order_given(stack, data):
    chosen = data.draw(st.lists(st.integers(0, len(stack) - 1), unique=True)) if len(stack) else []
    scores = np.linspace(0, 1, len(stack))
    instances = Instances.from_masks(stack, shape=stack.shape[1:], scores=scores, ids=np.arange(len(stack)) * 7 + 1)
    part = instances.select(chosen)
    np.testing.assert_array_equal(to_masks(part), stack[chosen])
    np.testing.assert_array_equal(part.scores, scores[chosen].astype(np.float32))
    np.testing.assert_array_equal(part.ids, np.asarray(chosen, int) * 7 + 1)


def test_runs_of_a_hand_worked_mask():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]], bool)
    assert mask_runs(mask).tolist() == [[0, 0, 2], [0, 3, 4], [2, 1, 4]]
