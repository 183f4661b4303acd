"""The watershed, against scikit-image from the same markers and by hand; labels taken along vectors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed as skimage_watershed

from cytotome.ops.pointers import follow_to_labels
from cytotome.ops.watershed import STEPS, watershed


def _hills(seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(90, 110)), 4)
    return (np.floor((noise - noise.min()) * 300) / STEPS).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_basins_are_those_of_scikit_image(seed: int) -> None:
    """Markers by morphological reconstruction, then flooding; pixels on the way between two basins may differ."""
    relief = _hills(seed)
    dynamics = 10 / STEPS
    mask = relief > np.median(relief)
    labels, count = watershed(relief, mask, dynamics)
    heights = np.where(mask, np.round(relief * STEPS), 0).astype(np.int32)
    lowered = reconstruction(heights - 9.5, heights, footprint=np.ones((3, 3)))
    markers, number = ndimage.label(local_maxima(lowered, connectivity=2) & mask, np.ones((3, 3)))
    expected = skimage_watershed(-heights, markers, mask=mask, connectivity=2)
    assert 5 < count == number
    assert (labels[mask] > 0).all()
    assert (labels[~mask] == 0).all()
    own = np.array([np.bincount(labels[expected == k]).argmax() for k in range(1, number + 1)])
    assert len(np.unique(own)) == number
    assert (own[expected[mask] - 1] == labels[mask]).mean() > 0.98


def test_basins_part_by_their_dynamics() -> None:
    relief = np.zeros((9, 50), np.float32)
    relief[2:7] = np.interp(np.arange(50), [0, 10, 20, 30, 35, 40, 49], [1, 6, 3, 5, 4.5, 5.5, 1])
    for dynamics, expected in ((0.25, 3), (0.8, 2), (2.0, 2), (2.6, 1)):
        labels, count = watershed(relief, relief > 0, dynamics)
        assert count == expected == labels.max()
    labels, _ = watershed(relief, relief > 0, 0.8)
    assert len(np.unique(labels[2:7, :19])) == 1
    assert len(np.unique(labels[2:7, 22:])) == 1


def test_on_a_plateau_basins_meet_half_way() -> None:
    relief = np.ones((11, 41), np.float32)
    relief[5, 3] = relief[5, 37] = 4
    labels, count = watershed(relief, relief > 0, 1.0)
    assert count == 2
    assert len(np.unique(labels[:, :20])) == len(np.unique(labels[:, 21:])) == 1


def test_nothing_gives_no_basin() -> None:
    labels, count = watershed(np.ones((4, 5), np.float32), np.zeros((4, 5), bool), 1.0)
    assert count == 0
    assert not labels.any()


def test_pixels_take_the_label_that_they_lead_to() -> None:
    labels = np.zeros((3, 8), np.int32)
    labels[1, 1], labels[1, 7] = 5, 6
    mask = np.ones((3, 8), bool)
    mask[0, 3] = False
    direction = np.zeros((2, 3, 8), np.float32)
    direction[1, 1, 2:5], direction[1, 1, 5:7] = -1, 1
    direction[0, 2], direction[1, 2] = -0.7, -0.7  # up and left
    direction[1, 0, 4:] = -1  # into what is no mask
    taken = follow_to_labels(labels, mask, direction, 3)
    assert taken[1].tolist() == [0, 5, 5, 5, 5, 6, 6, 6]
    assert taken[2].tolist() == [0, 0, 5, 5, 5, 0, 6, 6]  # the sixth would take 4 steps
    assert (taken[0] == 0).all()
