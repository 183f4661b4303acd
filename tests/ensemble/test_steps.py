"""The steps, each against masks whose right answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cytotome.ensemble.steps import STEPS, apply_steps, fill_holes, largest_part, parse_steps, smooth, straight_edges
from cytotome.errors import ConfigError
from cytotome.ops.labels import resolve_overlaps
from cytotome.types import AnyArray, BoolArray, Instances


def blobs(seed: int, count: int = 12) -> AnyArray:
    """Random masks with holes and several parts, at all borders of the image too."""
    rng = np.random.default_rng(seed)
    noise = np.stack([ndimage.gaussian_filter(rng.normal(size=(60, 70)), 2.5) for _ in range(count)])
    return noise > np.quantile(noise, 0.7)


def disc(shape: tuple[int, int], centre: tuple[float, float], axes: tuple[float, float]) -> BoolArray:
    rows, columns = np.indices(shape)
    inside: BoolArray = ((rows - centre[0]) / axes[0]) ** 2 + ((columns - centre[1]) / axes[1]) ** 2 <= 1
    return inside


def iou(first: AnyArray, second: AnyArray) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_holes_are_filled_as_by_scipy() -> None:
    masks = blobs(0)
    expected = np.stack([ndimage.binary_fill_holes(mask) for mask in masks])
    assert (expected != masks).any()
    np.testing.assert_array_equal(fill_holes(Instances.from_masks(masks)).masks(), expected)


def test_the_largest_part_is_that_of_scipy() -> None:
    masks = blobs(1)
    for mask, found in zip(masks, largest_part(Instances.from_masks(masks)).masks(), strict=True):
        parts, count = ndimage.label(mask, np.ones((3, 3)))
        sizes = ndimage.sum_labels(mask, parts, np.arange(1, count + 1))
        assert count > 1
        assert found.sum() == sizes.max()
        assert len(np.unique(parts[found])) == 1


def test_smoothing_takes_roughness_away_and_keeps_thin_masks() -> None:
    rng = np.random.default_rng(2)
    clean = disc((60, 60), (30, 30), (20, 22))
    rough = clean ^ (rng.random(clean.shape) < 0.15) & (
        ndimage.binary_dilation(clean, iterations=2) & ~ndimage.binary_erosion(clean, iterations=2)
    )
    line = np.zeros_like(clean)
    line[5, 5:50] = True
    found = smooth(Instances.from_masks(np.stack([rough, line])), sigma=2.0).masks()
    assert iou(found[0], clean) > iou(rough, clean)
    assert _edge(found[0]) < 0.9 * _edge(rough)
    np.testing.assert_array_equal(found[1], line)


def _edge(mask: AnyArray) -> int:
    return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())


@pytest.mark.parametrize("turns", range(4))
def test_a_blurred_straight_cut_is_straight_again(turns: int) -> None:
    rng = np.random.default_rng(3)
    cut = disc((90, 90), (45, 45), (35, 33))
    cut[:30] = False
    blurred = cut.copy()
    for column in np.flatnonzero(cut[30]):
        offset = int(rng.integers(-1, 2))
        blurred[30 + min(offset, 0) : 30, column] = True
        blurred[30 : 30 + max(offset, 0), column] = False
    cut, blurred = np.rot90(cut, turns), np.rot90(blurred, turns)
    found = straight_edges(Instances.from_masks(blurred[None].copy())).masks()[0]
    assert (blurred != cut).sum() > 30
    assert (found != cut).sum() <= 4  # the corners, where the round edge begins within the tolerance


def test_round_and_long_cells_have_no_straight_edge() -> None:
    shapes = [(20, 20), (30, 33), (10, 42), (6, 40), (42, 9), (3, 12)]
    masks = np.stack([disc((100, 100), (50, 50), axes) for axes in shapes])
    np.testing.assert_array_equal(straight_edges(Instances.from_masks(masks)).masks(), masks)


def test_overlaps_are_resolved_by_the_policies() -> None:
    masks = blobs(4)
    cells = Instances.from_masks(masks, scores=np.linspace(0.2, 0.9, len(masks)))
    for policy in ("score", "area", "drop"):
        found = apply_steps(cells, [{"overlaps": {"policy": policy}}])
        np.testing.assert_array_equal(found.masks(), resolve_overlaps(cells, policy).masks())
        assert found.masks().sum(axis=0).max() == 1


def test_steps_follow_one_another_and_keep_what_belongs_to_the_instances() -> None:
    cells = Instances.from_masks(
        blobs(5), scores=np.linspace(0.1, 0.9, 12), classes=np.arange(12), ids=np.arange(20, 32)
    )
    found = apply_steps(cells, ["fill_holes", "largest_part", {"smooth": {"sigma": 1.0}}])
    by_hand = smooth(largest_part(fill_holes(cells)), 1.0)
    np.testing.assert_array_equal(found.runs, by_hand.runs)
    np.testing.assert_array_equal(found.ids, cells.ids)
    np.testing.assert_array_equal(found.scores, cells.scores)
    assert (np.diff(found.offsets) > 0).all()


def test_nothing_stays_nothing() -> None:
    for name in STEPS:
        assert len(apply_steps(Instances.empty((5, 6)), [name])) == 0


def test_wrong_steps_are_named_all_at_once() -> None:
    with pytest.raises(ConfigError, match=r"no step 'polish'.*step smooth takes sigma, not radius"):
        parse_steps(["polish", {"smooth": {"radius": 2}}])
    values = [{"smooth": {"sigma": "abc"}}, {"smooth": {"sigma": -1}}, {"overlaps": {"policy": True}}]
    with pytest.raises(ConfigError) as caught:
        parse_steps(
            [*values, {"overlaps": {"policy": "best"}}, {"straight_edges": {"length": float("nan"), "part": 2}}]
        )
    for fault in (
        "step smooth: sigma must be a number, got 'abc'",
        "step smooth: sigma must be above 0 and at most 20 pixels, got -1",
        "step overlaps: policy must be a name, got True",
        "step overlaps: policy must be one of area, score, drop, got 'best'",
        "step straight_edges: length must be 3 or more",
    ):
        assert fault in str(caught.value)
    cells = replace(Instances.from_masks(blobs(6)))
    with pytest.raises(ConfigError, match="policy must be one of area, score, drop, got 'best'"):
        apply_steps(cells, [{"overlaps": {"policy": "best"}}])
    with pytest.raises(ConfigError, match="sigma must be above 0"):
        smooth(cells, 0)
    with pytest.raises(ConfigError, match="length must be 3 or more"):
        straight_edges(cells, length=1)
