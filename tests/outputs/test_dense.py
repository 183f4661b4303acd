"""Dense maps: their mean, their difference, and what has neither."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cytotome.ensemble.maps import check_can_average
from cytotome.errors import ConfigError, DataError
from cytotome.outputs import Dense, Detections
from cytotome.types import OutputSpec

SCALAR, EMBEDDING = OutputSpec("s", 1), OutputSpec("e", 8, "embedding")


def test_the_mean_is_weighted_and_of_one_is_itself() -> None:
    rng = np.random.default_rng(0)
    kind = Dense((OutputSpec("a", 2), OutputSpec("b", 1)))
    maps = [{"a": rng.random((2, 4, 5), np.float32), "b": rng.random((1, 4, 5), np.float32)} for _ in range(3)]
    before = maps[0]["a"].copy()
    fused = kind.mean(maps, [1, 2, 1])
    np.testing.assert_allclose(fused["a"], (maps[0]["a"] + 2 * maps[1]["a"] + maps[2]["a"]) / 4, rtol=1e-6)
    np.testing.assert_array_equal(maps[0]["a"], before)
    np.testing.assert_allclose(kind.mean([maps[0]] * 4, [1] * 4)["b"], maps[0]["b"], rtol=1e-6)
    assert kind.mean(maps[:1], [1])["a"] is maps[0]["a"]


def test_what_cannot_be_averaged_is_named() -> None:
    check_can_average([Dense((SCALAR,)), Dense((SCALAR,))])
    with pytest.raises(ConfigError, match="e is an embedding"):
        check_can_average([Dense((SCALAR, EMBEDDING))] * 2)
    with pytest.raises(ConfigError, match="the models have different maps"):
        check_can_average([Dense((SCALAR,)), Dense((SCALAR, OutputSpec("t", 1)))])
    with pytest.raises(ConfigError, match="predict instances without maps"):
        check_can_average([Detections(), Detections()])
    with pytest.raises(DataError, match="names or shapes differ"):
        Dense((SCALAR,)).mean([{"s": np.zeros((1, 2, 2), np.float32)}, {"s": np.zeros((1, 2, 3), np.float32)}], [1, 1])


def test_maps_are_compared_without_embeddings() -> None:
    kind = Dense((SCALAR, OutputSpec("far", 2, "vector"), EMBEDDING))
    found = {"s": torch.full((1, 1, 2, 2), 0.5), "far": torch.full((1, 2, 2, 2), 30.0), "e": torch.ones(1, 8, 2, 2)}
    expected = {"s": torch.zeros(1, 1, 2, 2), "far": torch.full((1, 2, 2, 2), 20.0), "e": torch.zeros(1, 8, 2, 2)}
    assert kind.difference(found, expected).item() == pytest.approx((0.25 + 100) / 2)
    assert kind.why_no_difference() == ""
    assert "only embeddings" in Dense((EMBEDDING,)).why_no_difference()
