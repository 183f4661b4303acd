"""Foreground parted by a border: known answers, and a brute-force border."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cytotome.families.unetr.calibrate import fit_foreground_scores
from cytotome.families.unetr.config import ForegroundParameters
from cytotome.families.unetr.decode import decode_foreground
from cytotome.families.unetr.targets import contact_border, foreground_targets, oracle_foreground
from cytotome.ops.labels import from_label_map, to_label_map
from cytotome.types import Image, Instances, Sample, SampleInfo

NAMES = ("round", "long")


def touching(first: int = 0, second: int = 0) -> Instances:
    """Two cells that share an edge, and one that stands alone."""
    labels = np.zeros((40, 60), np.int32)
    labels[5:25, 5:20] = 1
    labels[5:25, 20:40] = 2
    labels[30:36, 5:50] = 3
    return from_label_map(labels, classes=np.array([first, second, 1], np.int32), class_names=NAMES)


def decode(truth: Instances, *, border: bool = True, **parameters: object) -> Instances:
    maps = oracle_foreground(foreground_targets(truth, 2, 1), border=border)
    return decode_foreground(maps, ForegroundParameters.model_validate(parameters), NAMES)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_the_border_is_where_a_pixel_sees_two_cells(width: int) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (12, 15)).astype(np.int32)
    labels = np.kron(labels, np.ones((3, 3), np.int32)).astype(np.int32)
    padded = np.pad(labels, width)
    expected = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(labels.shape):
        seen = set(padded[y : y + 2 * width + 1, x : x + 2 * width + 1].ravel().tolist()) - {0}
        expected[y, x] = len(seen) > 1
    assert (contact_border(labels, width) == expected).all()


def test_touching_cells_come_apart_by_their_border_alone() -> None:
    truth = touching()
    found = decode(truth)
    assert (to_label_map(found) > 0).sum() == truth.areas.sum()
    assert sorted(found.areas.tolist()) == sorted(truth.areas.tolist())
    assert sorted(found.classes.tolist()) == [0, 0, 1]
    assert sorted(decode(truth, border=False).areas.tolist()) == [45 * 6, 700]


def test_without_a_border_cells_of_different_class_are_apart() -> None:
    assert sorted(decode(touching(0, 1), border=False).areas.tolist()) == [45 * 6, 300, 400]


def test_a_cell_that_is_all_border_stays_a_cell() -> None:
    truth = touching()
    maps = dict(oracle_foreground(foreground_targets(truth, 2, 1), border=True))
    maps["border"] = np.ones_like(maps["border"])
    found = decode_foreground(maps, ForegroundParameters(), NAMES)
    assert sorted(found.areas.tolist()) == [45 * 6, 700]


def test_small_parts_of_a_cell_join_the_large_one() -> None:
    truth = touching()
    maps = dict(oracle_foreground(foreground_targets(truth, 2, 1), border=True))
    maps["border"] = maps["border"].copy()
    maps["border"][0, 30:36, 8:10] = 1  # cuts 18 pixels off the long cell
    assert len(decode_foreground(maps, ForegroundParameters(min_seed=18), NAMES)) == 4
    found = decode_foreground(maps, ForegroundParameters(min_seed=19), NAMES)
    assert sorted(found.areas.tolist()) == sorted(truth.areas.tolist())


def test_components_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    maps = {"foreground": rng.random((1, 50, 50)).astype(np.float32)}
    found = decode_foreground(maps, ForegroundParameters(threshold=0.7, min_area=1), ("cell",))
    expected, count = ndimage.label(maps["foreground"][0] > 0.7, np.ones((3, 3)))
    assert len(found) == count
    np.testing.assert_array_equal(np.sort(found.areas), np.sort(np.bincount(expected.ravel())[1:]))


def test_parameters_follow_the_cell_type_of_the_image() -> None:
    by_class = {"round": {"min_area": 350}}
    assert sorted(decode(touching(), by_class=by_class).areas.tolist()) == [400]
    assert len(decode(touching(1, 1), by_class=by_class)) == 3


def test_pixels_of_unknown_class_are_marked() -> None:
    targets = foreground_targets(touching(-1, 0), 2, 1)
    labels = to_label_map(touching())
    assert (targets["typed"][0] == (labels != 1)).all()
    assert (targets["foreground"].sum(axis=0) == ((labels > 0) & (labels != 1))).all()
    assert targets["border"].sum() == 2 * 20 + 2 * 2  # two columns, and the background at their ends


def test_fitted_scores_are_the_share_of_hits() -> None:
    rng = np.random.default_rng(1)
    labels = np.zeros((160, 160), np.int32)
    sure = np.zeros((160, 160), np.float32)
    for number in range(16):
        y, x = 40 * (number // 4) + 8, 40 * (number % 4) + 8
        labels[y : y + 20, x : x + 20] = number + 1
        sure[y : y + 20, x : x + 20] = 0.98 if number % 2 == 0 else 0.6
    every = from_label_map(labels, classes=np.zeros(16, np.int32), class_names=("cell",))
    maps = {"foreground": sure[None], "border": np.zeros((1, 160, 160), np.float32)}
    pairs = []
    for _ in range(12):
        true = [number for number in range(16) if number % 2 == 0 or rng.random() < 0.5]
        pairs.append((maps, Sample(SampleInfo("a"), Image(np.zeros((160, 160), np.uint8)), every.select(true))))
    fitted = fit_foreground_scores(pairs, ForegroundParameters(), ("cell",))
    found = decode_foreground(maps, fitted, ("cell",))
    odd = found.boxes[:, 1] // 40 % 2
    assert found.scores[odd == 0].mean() > 0.85
    assert found.scores[odd == 1].mean() == pytest.approx(0.5, abs=0.12)
