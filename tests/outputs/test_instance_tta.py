"""A network that finds the same in every view is not changed by looking at all views."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from cytotome.ops.runs import mask_crop
from cytotome.ops.soft_masks import from_crops, pixel_crop
from cytotome.outputs.instance_tta import fuse_views, with_instance_tta
from cytotome.outputs.tta import Tta
from cytotome.types import AnyArray, Instances


def find_parts(images: Tensor, *, soft: bool) -> list[Instances]:
    """The bright parts of each image, scored by their mean, with the grey levels as soft masks."""
    found = []
    for image in images[:, 0].numpy():
        count, labels = cv2.connectedComponents((image > 0.5).astype(np.uint8), connectivity=4)
        scores = [float(image[labels == label].mean()) for label in range(1, count)]
        parts = Instances.from_label_map(labels, scores=scores)
        if soft:
            crops, origins = [], []
            for index in range(len(parts)):
                mask, (y, x) = mask_crop(parts, index)
                crops.append(np.where(mask, image[y : y + mask.shape[0], x : x + mask.shape[1]], 0))
                origins.append((y, x))
            parts = replace(parts, soft=from_crops(crops, np.array(origins).reshape(-1, 2)))
        found.append(parts)
    return found


def picture(seed: int) -> AnyArray:
    rng = np.random.default_rng(seed)
    image = np.zeros((48, 64), np.float32)
    for y, x in ((8, 9), (20, 40), (36, 14), (38, 50)):
        image[y : y + int(rng.integers(4, 9)), x : x + int(rng.integers(4, 12))] = rng.uniform(0.6, 1)
    return image


@pytest.mark.parametrize("soft", [False, True])
def test_an_equivariant_network_is_unchanged_by_symmetries(soft: bool) -> None:
    images = torch.from_numpy(np.stack([picture(0), picture(1)]))[:, None]
    plain = find_parts(images, soft=soft)
    voted = with_instance_tta(lambda batch: find_parts(batch, soft=soft), Tta(), stride=16)(images)
    for before, after in zip(plain, voted, strict=True):
        assert len(before) == len(after) == 4
        np.testing.assert_array_equal(after.to_label_map() > 0, before.to_label_map() > 0)
        np.testing.assert_allclose(sorted(after.scores), sorted(before.scores), rtol=1e-5)
        assert (after.soft is not None) == soft
    if soft:
        assert voted[0].soft is not None
        crop, (y, x) = pixel_crop(voted[0].soft, 0, voted[0].shape)
        np.testing.assert_allclose(crop, picture(0)[y : y + crop.shape[0], x : x + crop.shape[1]], atol=1e-5)


def test_scales_and_gains_find_the_same_parts() -> None:
    images = torch.from_numpy(picture(2))[None, None]
    tta = Tta(symmetries=False, scales=(2.0,), gains=(1.1,))
    voted = with_instance_tta(lambda batch: find_parts(batch, soft=False), tta, stride=16)(images)[0]
    plain = find_parts(images, soft=False)[0]
    assert len(voted) == len(plain)
    shared = ((voted.to_label_map() > 0) & (plain.to_label_map() > 0)).sum()
    assert shared / plain.areas.sum() > 0.9


def test_what_one_view_alone_finds_is_scored_down_and_soft_masks_are_averaged() -> None:
    image = torch.from_numpy(picture(3))[None, None]
    first = find_parts(image, soft=True)[0]
    other = find_parts(image * 0.8, soft=True)[0].select([0])
    nothing = replace(Instances.empty(first.shape), soft=from_crops([], np.zeros((0, 2))))
    fused = fuse_views([first, other, nothing])
    assert len(fused) == len(first)
    both = int(np.argmax(fused.scores))
    np.testing.assert_allclose(fused.scores[both], 1.8 * first.scores[0] / 3, rtol=1e-5)
    np.testing.assert_allclose(sorted(fused.scores)[:3], sorted(first.scores[1:] / 3)[:3], rtol=1e-5)
    assert fused.soft is not None
    expected = (1 + 0.8 * 0.8) / 1.8 * first.scores[0]
    np.testing.assert_allclose(fused.soft.grid(both).max(), expected, rtol=1e-4)
