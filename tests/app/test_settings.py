"""Options and overrides that are refused; the rest is tested with whole runs."""

from __future__ import annotations

import pytest

from cytotome.app.settings import SegmentOptions, parse_overrides
from cytotome.errors import ConfigError


def test_overrides_are_read_as_yaml() -> None:
    assert parse_overrides(["min_area=40", "cell_threshold = 0.5", "by_class={cort: {min_score: 0.2}}"]) == {
        "min_area": 40,
        "cell_threshold": 0.5,
        "by_class": {"cort": {"min_score": 0.2}},
    }


def test_all_malformed_overrides_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"--set 'min_area', '=4', 'a=', 'b=\[': expected NAME=VALUE"):
        parse_overrides(["min_area", "=4", "a=", "b=[", "c=1"])


@pytest.mark.parametrize("microns", [0.0, -1.0, float("nan"), float("inf")])
def test_microns_must_be_a_length(microns: float) -> None:
    with pytest.raises(ConfigError, match="microns: expected a positive number"):
        SegmentOptions(microns=microns)
