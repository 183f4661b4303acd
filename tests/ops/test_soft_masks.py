"""Soft masks against hand-worked cases, torch's own resampling and torchvision's own pasting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torchvision.models.detection.roi_heads import paste_masks_in_image

from cytotome.errors import DataError
from cytotome.ops.soft_masks import from_crops, from_grids, joined, mask_grids, moved, paste, pixel_crop
from cytotome.ops.transpose import transpose
from cytotome.types import Instances, SoftMasks


def random_soft(count: int, seed: int, shape: tuple[int, int] = (80, 100), size: int = 14) -> SoftMasks:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-5, 60, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(1, 40, (count, 2))])
    return from_grids(rng.random((count, size, size)), np.clip(boxes, 0, [*shape, *shape]))


def as_masks(soft: SoftMasks, shape: tuple[int, int], threshold: float = 0.5) -> np.ndarray:
    runs, offsets, _ = paste(soft, shape, threshold)
    instances = Instances.from_runs(shape, runs, offsets)
    masks = np.zeros((len(soft), *shape), bool)
    for index in range(len(soft)):
        for row, start, stop in instances.runs[offsets[index] : offsets[index + 1]]:
            masks[index, row, start:stop] = True
    return masks


def test_crops_come_back_pixel_by_pixel() -> None:
    rng = np.random.default_rng(0)
    crops = [rng.random(size).astype(np.float32) for size in ((3, 5), (7, 2), (1, 1))]
    origins = np.array([[2, 3], [0, 90], [79, 99]])
    soft = from_crops(crops, origins)
    for index, (crop, (y, x)) in enumerate(zip(crops, origins, strict=True)):
        assert_array_equal(soft.grid(index), crop)
        back, (top, left) = pixel_crop(soft, index, (80, 100))
        inside = back[y - top : y - top + crop.shape[0], x - left : x - left + crop.shape[1]]
        assert_allclose(inside, crop, atol=1e-6)
        assert_allclose(back.sum(), crop.sum(), rtol=1e-5)  # nothing around it


def test_pasted_masks_are_the_crops_above_the_threshold() -> None:
    soft = random_soft(20, 1)
    masks = as_masks(soft, (80, 100), 0.6)
    _, _, means = paste(soft, (80, 100), 0.6)
    for index in range(20):
        crop, (y, x) = pixel_crop(soft, index, (80, 100))
        expected = np.zeros((80, 100), bool)
        expected[y : y + crop.shape[0], x : x + crop.shape[1]] = crop > np.float32(0.6)
        assert_array_equal(masks[index], expected)
        assert means[index] == pytest.approx(crop[crop > np.float32(0.6)].mean() if expected.any() else 0, rel=1e-5)


def test_pasting_is_the_linear_interpolation_of_torch() -> None:
    rng = np.random.default_rng(2)
    grid = rng.random((9, 11)).astype(np.float32)
    soft = SoftMasks(grid.reshape(-1), np.array([[9, 11]], np.int32), np.array([[4, 7, 31, 29]], np.float32))
    crop, (y, x) = pixel_crop(soft, 0, (64, 64))
    padded = torch.from_numpy(np.pad(grid, 1))[None, None]
    ys = ((torch.arange(64) + 0.5 - 4) * 9 / 27 + 1) / 11 * 2 - 1
    xs = ((torch.arange(64) + 0.5 - 7) * 11 / 22 + 1) / 13 * 2 - 1
    places = torch.stack(torch.meshgrid(ys, xs, indexing="ij"), dim=-1).flip(-1)[None]
    expected = torch.nn.functional.grid_sample(padded, places, align_corners=False)[0, 0].numpy()
    assert_allclose(crop, expected[y : y + crop.shape[0], x : x + crop.shape[1]], atol=1e-4)


def test_pasting_equals_that_of_torchvision_on_its_whole_numbered_boxes() -> None:
    """It truncates the corners of the padded box; given the box that results, both agree."""
    soft = random_soft(50, 3, size=28)
    boxes = torch.from_numpy(soft.boxes[:, [1, 0, 3, 2]].copy())
    grids = torch.from_numpy(soft.values.reshape(50, 1, 28, 28).copy())
    theirs = paste_masks_in_image(grids, boxes, (80, 100))[:, 0].numpy() > 0.5
    centre, half = (soft.boxes[:, :2] + soft.boxes[:, 2:]) / 2, (soft.boxes[:, 2:] - soft.boxes[:, :2]) / 2 * 30 / 28
    low, high = np.trunc(centre - half), np.trunc(centre + half) + 1
    cell = (high - low) / 30
    ours = as_masks(
        SoftMasks(soft.values, soft.sizes, np.hstack([low + cell, high - cell]).astype(np.float32)), (80, 100)
    )
    assert (ours != theirs).sum() <= 1e-5 * ours.size
    assert ours.any(axis=(1, 2)).sum() > 30


def test_masks_come_back_from_grids() -> None:
    labels = np.zeros((90, 120), np.int32)
    y, x = np.mgrid[:90, :120]
    for index, (cy, cx, ry, rx) in enumerate([(20, 25, 15, 9), (60, 40, 12, 20), (50, 95, 30, 14)]):
        labels[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1] = index + 1
    truth = Instances.from_label_map(labels)
    for size, least in ((28, 0.95), (64, 0.98)):
        runs, offsets, _ = paste(from_grids(mask_grids(truth, truth.boxes, size), truth.boxes), truth.shape)
        back = Instances.from_runs(truth.shape, runs, offsets).to_label_map()
        for index in (1, 2, 3):
            both, either = ((back == index) & (labels == index)).sum(), ((back == index) | (labels == index)).sum()
            assert both / either > least


def test_grids_of_large_masks_hold_their_share_of_pixels() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[8:40, 16:48] = 1
    labels[8:40, 16:32:2] = 0  # every other column of the left half
    grid = mask_grids(Instances.from_label_map(labels), np.array([[8, 16, 40, 48]]), 4)[0]
    assert_allclose(grid[:, 0], 0.5, atol=0.05)
    assert_allclose(grid[1:3, 3], 1, atol=0.01)


def test_moved_masks_are_pasted_where_they_went() -> None:
    soft = random_soft(10, 4, shape=(30, 40))
    here = as_masks(soft, (80, 100))
    there = as_masks(moved(soft, by=(20, 10)), (80, 100))
    assert_array_equal(there[:, 20:, 10:], here[:, :-20, :-10])
    wide = moved(from_crops([np.ones((20, 30))], [[11, 12]]), scale=(2, 2))
    assert as_masks(wide, (160, 200))[0].sum() == pytest.approx(40 * 60, rel=0.1)


def test_instances_keep_their_soft_masks_when_chosen_and_lose_them_when_masks_change() -> None:
    soft = joined([random_soft(4, 5), random_soft(3, 6, size=5)])
    runs, offsets, _ = paste(soft, (80, 100))
    plain = Instances.from_runs((80, 100), runs, offsets)
    instances = Instances(
        plain.shape, plain.runs, plain.offsets, plain.scores, plain.classes, plain.ids, plain.class_names, soft
    )
    chosen = instances.select([5, 1])
    assert chosen.soft is not None
    assert_array_equal(chosen.soft.grid(0), soft.grid(5))
    assert_array_equal(chosen.soft.grid(1), soft.grid(1))
    assert_array_equal(chosen.soft.boxes, soft.boxes[[5, 1]])
    assert transpose(instances).soft is None


def test_no_mask_at_all() -> None:
    soft = from_crops([], np.zeros((0, 2)))
    runs, offsets, means = paste(soft, (10, 10))
    assert (runs.shape, offsets.tolist(), means.shape) == ((0, 3), [0], (0,))
    assert len(joined([soft, soft])) == 0


def test_soft_masks_that_do_not_agree_are_refused() -> None:
    with pytest.raises(DataError, match=r"values must be \(12,\)"):
        SoftMasks(np.zeros(11, np.float32), np.array([[3, 4]], np.int32), np.zeros((1, 4), np.float32))
    with pytest.raises(DataError, match=r"boxes \(N, 4\)"):
        SoftMasks(np.zeros(12, np.float32), np.array([[3, 4]], np.int32), np.zeros((2, 4), np.float32))
    plain = Instances.from_label_map(np.eye(4, dtype=np.int32))
    with pytest.raises(DataError, match="soft must contain 1 masks"):
        Instances(plain.shape, plain.runs, plain.offsets, plain.scores, plain.classes, plain.ids, (), random_soft(2, 0))
