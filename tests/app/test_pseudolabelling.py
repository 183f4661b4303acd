"""Options of ``cytotome pseudolabel``."""

from __future__ import annotations

import pytest

from cytotome.app.pseudolabelling import parse_confidence
from cytotome.errors import ConfigError


def test_confidence_is_general_or_of_a_type() -> None:
    assert parse_confidence([]) == (0.6, {})
    assert parse_confidence(["0.7", "astro=0.4", "cell type B=0.5"]) == (0.7, {"astro": 0.4, "cell type B": 0.5})


def test_all_faults_are_named() -> None:
    with pytest.raises(ConfigError, match=r"--confidence 'high', '=0.4': expected VALUE or TYPE=VALUE"):
        parse_confidence(["high", "0.5", "=0.4"])
