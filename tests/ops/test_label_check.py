"""Label maps of cells pass; masks of black and white, classes and pictures are named."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cytotome.ops.label_check import count_parts, label_fault
from cytotome.types import Instances

RNG = np.random.default_rng(3)


def discs(count: int, shape: tuple[int, int] = (90, 120)) -> np.ndarray:
    """``count`` discs that do not touch, numbered from 1."""
    y, x = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    for i in range(count):
        labels[(y - 12 - 22 * (i // 5)) ** 2 + (x - 12 - 22 * (i % 5)) ** 2 <= 64] = i + 1
    return labels


@pytest.mark.parametrize("density", [0.2, 0.5, 0.7])
def test_parts_are_those_of_a_peer(density: float) -> None:
    masks = RNG.random((6, 40, 50)) < density
    expected = []
    for mask in masks:
        parts, number = ndimage.label(mask, np.ones((3, 3)))
        areas = ndimage.sum_labels(mask, parts, np.arange(1, number + 1))
        expected.append((number, int((areas >= 0.25 * areas.max()).sum())))
    instances = Instances.from_masks(masks)
    np.testing.assert_array_equal(count_parts(instances, 0.0), [number for number, _ in expected])
    np.testing.assert_array_equal(count_parts(instances), [number for _, number in expected])


def test_maps_of_cells_have_no_fault() -> None:
    cut = discs(3)
    cut[:, 12] = 9  # one thin cell crosses another
    scraps = np.where(RNG.random((90, 120)) < 0.02, RNG.integers(1, 31, (90, 120)), 0)  # 7 pixels each
    crumbs = discs(1)
    crumbs[80, ::7] = 1
    whole = np.ones((9, 9), np.int32)
    halves = whole.copy()
    halves[:, 4:] = 2  # cells everywhere
    for labels in (discs(12), discs(1), 255 * discs(1), cut, scraps, crumbs, whole, halves, 0 * whole):
        assert label_fault(Instances.from_label_map(labels)) == ""
    assert label_fault(Instances.empty((4, 5))) == ""


@pytest.mark.parametrize(("white", "cells"), [(255, 2), (65535, 3), (1, 4), (7, 12)])
def test_black_and_white_is_told(white: int, cells: int) -> None:
    mask = np.where(discs(cells) > 0, white, 0)
    assert f"its only label {white} lies in {cells} places" in label_fault(Instances.from_label_map(mask))


def test_classes_and_pictures_are_told() -> None:
    classes = np.where(discs(12) > 0, 1 + discs(12) % 2, 0)
    grey = RNG.integers(0, 200, (90, 120))
    deep = ndimage.gaussian_filter(RNG.normal(size=(90, 120)), 2).argsort(axis=None).argsort() // 8  # 1350 levels
    dark = np.where(RNG.random((90, 120)) < 0.5, 0, RNG.integers(0, 40, (90, 120)))
    for labels in (classes, grey, deep.reshape(90, 120), dark):
        assert "an image or a map of classes" in label_fault(Instances.from_label_map(labels))


def test_a_background_that_is_not_zero_is_told() -> None:
    cells = discs(8)
    unsigned = np.where(cells > 0, cells - 1, 65535)  # -1 as uint16; the first cell is 0
    shifted = cells + 1
    for labels, number in ((unsigned, 65535), (shifted, 1)):
        fault = label_fault(Instances.from_label_map(labels))
        assert fault.startswith(f"its label {number} covers most of the image")
        assert "give the background the number 0" in fault
