from __future__ import annotations

import json
import re

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytotome.errors import DataError
from cytotome.io.coco import read_coco
from cytotome.io.polygons import from_polygons, to_polygons
from cytotome.ops.runs import mask_crop
from cytotome.types import Instances

stacks = st.tuples(st.integers(0, 4), st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays.arrays(bool, shape)
)
corners = st.lists(st.floats(-6, 20, width=32), min_size=6, max_size=16).map(lambda xy: xy[: len(xy) // 2 * 2])


def rasterised(polygon, height, width):
    """COCO's rleFrPoly, line by line after maskApi.c, as a mask."""
    xs = [int(5 * x + 0.5) for x in polygon[::2]]
    ys = [int(5 * y + 0.5) for y in polygon[1::2]]
    u, v = [], []
    for x0, y0, x1, y1 in zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True):
        dx, dy = abs(x1 - x0), abs(y0 - y1)
        flip = (dx >= dy and x0 > x1) or (dx < dy and y0 > y1)
        if flip:
            x0, x1, y0, y1 = x1, x0, y1, y0
        slope = (y1 - y0) / dx if dx >= dy and dx else ((x1 - x0) / dy if dy else 0.0)
        for d in range(max(dx, dy) + 1):
            t = max(dx, dy) - d if flip else d
            u.append(t + x0 if dx >= dy else int(x0 + slope * t + 0.5))
            v.append(int(y0 + slope * t + 0.5) if dx >= dy else t + y0)
    crossings = []
    for before, after, y_before, y_after in zip(u, u[1:], v, v[1:], strict=False):
        if before == after:
            continue
        x = ((after if after < before else after - 1) + 0.5) / 5 - 0.5
        if np.floor(x) != x or x < 0 or x > width - 1:
            continue
        y = np.ceil(min(max((min(y_before, y_after) + 0.5) / 5 - 0.5, 0), height))
        crossings.append(int(x) * height + int(y))
    flat = np.zeros(height * width + 1, int)
    np.add.at(flat, crossings, 1)
    return (np.cumsum(flat)[:-1] % 2).reshape(width, height).T.astype(bool)


def same(first, second):
    np.testing.assert_array_equal(first.runs, second.runs)
    np.testing.assert_array_equal(first.offsets, second.offsets)


@given(stacks)
def test_outlines_give_the_same_pixels_back_holes_and_parts_too(stack):
    instances = Instances.from_masks(stack, shape=stack.shape[1:])
    polygons = to_polygons(instances)
    same(from_polygons(polygons, instances.shape), instances)
    again = [np.any([rasterised(part, *instances.shape) for part in parts] or [mask], 0)
             for parts, mask in zip(polygons, stack, strict=True)]  # fmt: skip
    np.testing.assert_array_equal(np.array(again).reshape(stack.shape), stack)


@given(corners)
def test_polygons_are_filled_by_cocos_rule(polygon):
    instances = from_polygons([[polygon]], (13, 11))
    crop, (y, x) = mask_crop(instances, 0)
    mask = np.zeros((13, 11), bool)
    mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    np.testing.assert_array_equal(mask, rasterised([float(value) for value in polygon], 13, 11))


def test_a_hand_worked_square_and_its_outline():
    square = from_polygons([[[1, 1, 3, 1, 3, 2, 1, 2]]], (4, 5))
    assert square.runs.tolist() == [[1, 1, 3]]
    assert to_polygons(square) == [[[1, 1, 3, 1, 3, 2, 1, 2, 1, 1]]]


def test_parts_are_united():
    parts = [[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 4, 1, 4, 2, 1, 2]]
    assert from_polygons([parts], (3, 5)).runs.tolist() == [[0, 0, 2], [1, 0, 4]]


def test_a_part_without_three_corners_has_no_pixel():
    assert from_polygons([[[1, 1, 4, 4]], [], [[0, 0, 5, 0, 5, 3, 0, 3], [1, 1]]], (3, 5)).areas.tolist() == [0, 0, 15]


@pytest.mark.parametrize(
    "part", [[0, 0, 4, 0, 4], [0, 0, np.nan, 0, 4, 4], [0, 0, 1e300, 0, 4, 4], ["a"] * 6, [None] * 6]
)
def test_damaged_corners_are_named(part):
    with pytest.raises(DataError, match=re.escape("polygon of instance 1: expected x, y pairs in pixels")):
        from_polygons([[], [part]], (5, 5))


def test_real_polygons_keep_their_areas_and_come_back(real_data):
    path = real_data / "livecell" / "livecell_coco_val.json"
    file = read_coco(path)
    areas = {entry["id"]: entry["area"] for entry in json.loads(path.read_text())["annotations"]}
    for image in file.images:
        instances = file.instances(image.id)
        stated = np.array([areas[entry["id"]] for entry in file.annotations[image.id]])
        assert len(instances) == len(stated)
        # A polygon's own area differs from its count of pixels by a part of its outline.
        assert np.abs(instances.areas - stated).max() < 0.15 * stated[np.argmax(np.abs(instances.areas - stated))] + 30
        same(from_polygons(to_polygons(instances), image.shape), instances)
