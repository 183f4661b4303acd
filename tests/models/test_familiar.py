"""Types that a model is sure of, and those that it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cytotome.models.familiar import KnownTypes, known_types
from cytotome.models.statistics import FeatureStatistics
from cytotome.ops.labels import from_label_map
from cytotome.ops.runs import empty_instances
from cytotome.types import Instances

NAMES = ("round", "long")


def cells(rng: np.random.Generator, sides: tuple[int, int], kind: int = 0, count: int = 12) -> Instances:
    """Rectangles of about these sides on a grid of 16 x 16 places of 30 pixels."""
    labels = np.zeros((480, 480), np.int32)
    for number, place in enumerate(rng.choice(256, count, replace=False), 1):
        y, x = np.array(divmod(int(place), 16)) * 30
        height, width = np.maximum(rng.normal(sides, 1).round().astype(int), 2)
        labels[y : y + height, x : x + width] = number
    scores = rng.uniform(0.7, 0.9, count).astype(np.float32)
    classes = np.full(count, kind, np.int32)
    return replace(from_label_map(labels), scores=scores, classes=classes, class_names=NAMES)


@pytest.fixture(scope="module")
def known() -> KnownTypes:
    rng = np.random.default_rng(3)
    found = [("round", cells(rng, (10, 10), 0, count)) for count in (8, 10, 12, 14, 20, 30) * 3]
    types = known_types([*found, ("long", cells(rng, (5, 20), 1)), ("round", empty_instances((480, 480), NAMES))])
    assert types is not None
    return types


def test_cells_like_those_of_their_type_keep_it(known: KnownTypes) -> None:
    seen = cells(np.random.default_rng(7), (10, 10), 0, 16)
    assert known.checked(seen) is seen


@pytest.mark.parametrize(("sides", "count"), [((24, 24), 12), ((4, 26), 12), ((10, 10), 250)])
def test_larger_longer_or_denser_cells_are_unknown(known: KnownTypes, sides: tuple[int, int], count: int) -> None:
    seen = cells(np.random.default_rng(7), sides, 0, count)
    doubted = known.checked(seen)
    assert (doubted.classes == -1).all()
    np.testing.assert_array_equal(doubted.scores, seen.scores)


def test_a_type_without_statistics_and_an_empty_image_are_left_alone(known: KnownTypes) -> None:
    assert set(known.types) == {"round"}  # one image says nothing of how images of a type differ
    seen = cells(np.random.default_rng(7), (4, 26), 1)
    assert known.checked(seen) is seen
    nothing = empty_instances((480, 480), NAMES)
    assert known.checked(nothing) is nothing


def test_the_distance_is_that_of_mahalanobis() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 3)) @ np.diag([1.0, 2.0, 0.5])
    statistics = FeatureStatistics.of(rows)
    assert statistics.distance(np.array([2.0, 0, 0])) == pytest.approx(2 / np.sqrt(3), rel=0.05)
    assert statistics.distance(np.array([0, 0, 2.0])) == pytest.approx(4 / np.sqrt(3), rel=0.05)
    assert (
        KnownTypes.model_validate(KnownTypes(types={"a": statistics}).model_dump(mode="json")).types["a"] == statistics
    )
