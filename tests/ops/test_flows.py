"""Flow fields lead every pixel of a cell to one place, whatever its shape, and are decoded back to the cell."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytotome.ops.fill import fill_holes
from cytotome.ops.flows import flow_field, flow_statistics
from cytotome.ops.sinks import follow_flows, label_sinks


def _decode(labels: np.ndarray, radius: int = 3) -> tuple[np.ndarray, int]:
    return label_sinks(follow_flows(flow_field(labels), labels > 0), radius, 1)


def _same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return len(pairs[0]) == len(np.unique(first)) == len(np.unique(second))


def _disc(shape: tuple[int, int], y: int, x: int, radius: int) -> np.ndarray:
    ys, xs = np.ogrid[: shape[0], : shape[1]]
    return (ys - y) ** 2 + (xs - x) ** 2 <= radius**2


def test_disc_points_to_its_centre() -> None:
    labels = _disc((41, 41), 20, 20, 15).astype(np.int32)
    field = flow_field(labels)
    ys, xs = np.nonzero((labels > 0) & ~_disc((41, 41), 20, 20, 1))
    towards = np.stack([20 - ys, 20 - xs]) / np.hypot(20 - ys, 20 - xs)
    cosine = (field[:, ys, xs] * towards).sum(axis=0)
    assert cosine.min() > 0.95


def test_vectors_have_length_one_inside_and_zero_outside() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((80, 90), np.int32)
    for number in range(1, 12):
        labels[_disc(labels.shape, *rng.integers(5, 80, 2), int(rng.integers(3, 12)))] = number
    length = np.hypot(*flow_field(labels))
    assert (length[labels == 0] == 0).all()
    moving = length[labels > 0] > 0
    assert moving.mean() > 0.98
    assert length[labels > 0][moving] == pytest.approx(1, abs=1e-5)


def test_field_turns_with_the_image() -> None:
    labels = np.zeros((50, 50), np.int32)
    cv2.ellipse(labels, (22, 27), (18, 7), 20, 0, 360, 1, -1)
    field = flow_field(labels)
    mirrored = flow_field(np.ascontiguousarray(labels[:, ::-1]))[:, :, ::-1] * np.array([1, -1])[:, None, None]
    apart = np.hypot(*(field - mirrored))[labels > 0]
    assert np.percentile(apart, 95) < 0.2


@pytest.mark.parametrize("thickness", [2, 3, 5])
def test_branched_cell_stays_whole(thickness: int) -> None:
    labels = np.zeros((160, 160), np.int32)
    for end in [(5, 5), (150, 20), (80, 155), (150, 150)]:
        middle = (int(80 + (end[0] - 80) / 2 + 15), int(80 + (end[1] - 80) / 2))
        cv2.polylines(labels, [np.array([[80, 80], middle, end])], False, 1, thickness)
    cv2.circle(labels, (80, 80), 12, 1, -1)
    found, count = _decode(labels)
    largest = np.bincount(found[labels > 0]).max()
    assert largest / (labels > 0).sum() > 0.98
    assert count <= 2


def test_touching_cells_are_told_apart() -> None:
    labels = np.zeros((40, 60), np.int32)
    labels[_disc(labels.shape, 20, 17, 12)] = 1
    labels[_disc(labels.shape, 20, 41, 12) & (labels == 0)] = 2
    found, count = _decode(labels)
    assert count == 2
    assert _same_partition(found, labels)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_round_trip_of_separate_ellipses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros((120, 120), np.int32)
    number = 0
    for y in range(20, 120, 40):
        for x in range(20, 120, 40):
            number += 1
            axes = tuple(int(a) for a in rng.integers(4, 18, 2))
            cv2.ellipse(labels, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, number, -1)
    found, count = _decode(labels)
    assert count == number
    assert _same_partition(found, labels)


def test_follow_flows_agrees_with_plain_steps() -> None:
    """Ends are where slow, plain Euler steps without any short cut end."""
    labels = np.zeros((60, 60), np.int32)
    cv2.ellipse(labels, (28, 30), (22, 9), 35, 0, 360, 1, -1)
    field = flow_field(labels)
    mask = labels > 0
    ends = follow_flows(field, mask)
    for y, x in np.argwhere(mask)[::37]:
        place = np.array([y, x], float)
        for _ in range(400):
            row, column = np.rint(place).astype(int)
            place = np.clip(place + 0.2 * field[:, row, column], 0, 59)
        reached = np.array(divmod(int(ends[y, x]), 60))
        assert np.abs(reached - place).max() <= 3


def test_pixels_outside_have_no_end() -> None:
    mask = np.zeros((10, 12), bool)
    mask[3:6, 4:9] = True
    ends = follow_flows(np.zeros((2, 10, 12), np.float32), mask)
    assert (ends[~mask] == -1).all()
    assert (ends[mask] == np.flatnonzero(mask)).all()


def test_small_sinks_are_background() -> None:
    labels = np.zeros((30, 30), np.int32)
    labels[2:4, 2:4] = 1
    labels[10:25, 10:25] = 2
    found, count = label_sinks(follow_flows(flow_field(labels), labels > 0), 3, 10)
    assert count == 1
    assert (found[2:4, 2:4] == 0).all()
    assert (found[10:25, 10:25] == 1).all()


def test_errors_tell_a_wrong_instance() -> None:
    truth = np.zeros((40, 60), np.int32)
    truth[_disc(truth.shape, 20, 17, 12)] = 1
    truth[_disc(truth.shape, 20, 43, 12)] = 2
    field = flow_field(truth)
    assert flow_statistics(truth, 2, field)[0].max() < 1e-3
    joined = (truth > 0).astype(np.int32)
    joined[20, 17:43] = 1
    assert flow_statistics(joined, 1, field)[0][1] > 0.5


def test_empty_image() -> None:
    labels = np.zeros((7, 5), np.int32)
    assert not flow_field(labels).any()
    assert label_sinks(follow_flows(flow_field(labels), labels > 0), 3, 1)[1] == 0


def test_holes_are_filled_by_the_enclosing_label_alone() -> None:
    labels = np.zeros((30, 40), np.int32)
    labels[5:20, 5:20] = 1
    labels[8:12, 8:12] = 0  # a hole of 1
    labels[14:17, 14:17] = 2  # another label inside
    labels[15, 12:14] = 0  # a hole between 1 and 2
    labels[5:20, 30:38] = 3
    labels[10:12, 36:38] = 0  # a bay, not a hole
    expected = labels.copy()
    expected[8:12, 8:12] = 1
    fill_holes(labels, 3)
    assert (labels == expected).all()


def test_flow_lengths_are_means_of_each_label() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, (20, 25)).astype(np.int32)
    flow = rng.normal(size=(2, 20, 25)).astype(np.float32)
    expected = [0.0] + [float(np.hypot(*flow[:, labels == label]).mean()) for label in (1, 2, 3)]
    assert flow_statistics(labels, 3, flow)[1] == pytest.approx(expected, rel=1e-5)
