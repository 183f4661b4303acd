"""Distances to boundaries and directions away from them, against SciPy one instance at a time and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cytotome.ops.distance import away_from_boundary, boundary_distance, distance_levels


def _blobs(seed: int, shape: tuple[int, int] = (70, 90)) -> np.ndarray:
    """Touching instances: the nearest of random points, inside a random mask."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (25, 2)) * shape
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    nearest = ((grid[:, :, None] - points) ** 2).sum(axis=-1).argmin(axis=-1) + 1
    mask = ndimage.gaussian_filter(rng.normal(size=shape), 5) > 0
    return np.where(mask, nearest, 0).astype(np.int32)


@pytest.mark.parametrize("seed", [0, 1])
def test_distance_is_that_of_each_instance_alone(seed: int) -> None:
    labels = _blobs(seed)
    distance = boundary_distance(labels)
    assert (distance[labels == 0] == 0).all()
    inner = np.zeros(labels.shape, bool)
    inner[1:-1, 1:-1] = True  # beyond the border of the image an instance goes on
    for label in np.unique(labels[labels > 0]):
        mask = labels == label
        expected = ndimage.distance_transform_edt(np.pad(mask, 1, constant_values=True))[1:-1, 1:-1]
        near = mask & inner & (expected < 5)
        np.testing.assert_allclose(distance[near], expected[near], atol=1e-4)


def test_directions_are_the_gradient_of_the_distance() -> None:
    """Against SciPy's Sobel filter, where a window lies in one instance."""
    labels = _blobs(2)
    distance = boundary_distance(labels)
    field = away_from_boundary(labels, distance)
    lengths = np.hypot(*field)
    assert ((np.abs(lengths - 1) < 1e-5) | (lengths == 0)).all()
    assert (lengths[labels == 0] == 0).all()
    alone = ndimage.minimum_filter(labels, 3) == ndimage.maximum_filter(labels, 3)
    alone[[0, -1]] = alone[:, [0, -1]] = False
    sobel = np.stack([ndimage.sobel(distance, axis) for axis in (0, 1)])
    chosen = alone & (lengths > 0)
    assert chosen.sum() > 200
    expected = sobel[:, chosen] / np.hypot(*sobel[:, chosen])
    np.testing.assert_allclose(field[:, chosen], expected, atol=1e-4)


def test_where_two_instances_touch_the_directions_part() -> None:
    labels = np.zeros((20, 40), np.int32)
    labels[4:16, 4:20], labels[4:16, 20:36] = 1, 2
    field = away_from_boundary(labels, boundary_distance(labels))
    np.testing.assert_allclose(field[:, 8:12, 19], [[0] * 4, [-1] * 4], atol=0.05)
    np.testing.assert_allclose(field[:, 8:12, 20], [[0] * 4, [1] * 4], atol=0.05)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_directions_turn_with_the_image(turns: int) -> None:
    labels = _blobs(3, (60, 60))
    field = away_from_boundary(labels, boundary_distance(labels))
    turned = np.ascontiguousarray(np.rot90(labels, turns))
    found = away_from_boundary(turned, boundary_distance(turned))
    vectors = field
    for _ in range(turns):  # a quarter turn takes x to -y
        y, x = np.rot90(vectors, axes=(1, 2))
        vectors = np.stack([-x, y])
    np.testing.assert_allclose(found, vectors, atol=1e-5)


def test_levels_begin_at_their_edges() -> None:
    distance = np.array([[0, 0.5, 1, 1.9, 2, 2.5, 4.9, 5, 100]], np.float32)
    edges = np.array([2, 5], np.float32)
    assert distance_levels(distance, edges).tolist() == [[0, 1, 1, 1, 2, 2, 2, 3, 3]]
