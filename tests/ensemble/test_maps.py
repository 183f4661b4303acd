"""Fusion of maps."""

from __future__ import annotations

import numpy as np
import pytest

from cytotome.ensemble.maps import check_can_average, fuse_maps
from cytotome.errors import ConfigError, DataError
from cytotome.types import OutputSpec


def test_the_mean_is_weighted_and_of_one_is_itself() -> None:
    rng = np.random.default_rng(0)
    maps = [{"a": rng.random((2, 4, 5), np.float32), "b": rng.random((1, 4, 5), np.float32)} for _ in range(3)]
    before = maps[0]["a"].copy()
    fused = fuse_maps(maps, [1, 2, 1])
    np.testing.assert_allclose(fused["a"], (maps[0]["a"] + 2 * maps[1]["a"] + maps[2]["a"]) / 4, rtol=1e-6)
    np.testing.assert_array_equal(maps[0]["a"], before)
    np.testing.assert_allclose(fuse_maps([maps[0]] * 4)["b"], maps[0]["b"], rtol=1e-6)
    assert fuse_maps(maps[:1])["a"] is maps[0]["a"]


def test_what_cannot_be_averaged_is_named() -> None:
    scalar, embedding = OutputSpec("s", 1), OutputSpec("e", 8, "embedding")
    assert check_can_average([(scalar,), (scalar,)]) == (scalar,)
    with pytest.raises(ConfigError, match="e is an embedding"):
        check_can_average([(scalar, embedding)] * 2)
    with pytest.raises(ConfigError, match="the models have different maps"):
        check_can_average([(scalar,), (scalar, OutputSpec("t", 1))])
    with pytest.raises(ConfigError, match="predict instances without maps"):
        check_can_average([(), ()])
    with pytest.raises(DataError, match="names or shapes differ"):
        fuse_maps([{"s": np.zeros((1, 2, 2), np.float32)}, {"s": np.zeros((1, 2, 3), np.float32)}])
