"""Options and overrides that are refused; the rest is tested with whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cytotome.app.segment.settings import SegmentOptions, differences, effective_settings, parse_overrides
from cytotome.errors import ConfigError
from cytotome.inference.model import load_single_model


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


def test_options_and_misspelt_parameters_are_named_at_once(model_file: Path) -> None:
    model = load_single_model(model_file, device="cpu")
    options = SegmentOptions(settings=("diameter=60", "min_aera=30", "speed=1", "min_area=20"))
    with pytest.raises(ConfigError) as refused:
        effective_settings(model, options)
    assert str(refused.value).startswith(
        "--set: diameter is an option, not a parameter of the decoder: use --diameter 60; "
        "min_aera is not a parameter of this model's decoder, did you mean min_area?; "
        "speed is not a parameter of this model's decoder; --set takes min_score, min_area, "
    )


BEFORE = {
    "model": "neurons",
    "model_hash": "0" * 64,
    "family": "flow",
    "parameters": {"min_area": 10, "score_weights": [0.5, 1.0], "by_class": {"cort": {"min_score": 0.3}}},
    "page": 0,
    "tta": False,
}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({"model": "copy/of/neurons.safetensors"}, []),
        ({"parameters": {**BEFORE["parameters"], "min_area": 20}}, ["min_area was 10, now 20"]),  # type: ignore[dict-item]
        (
            {"parameters": {"min_area": 10, "score_weights": [0.5, 2.0], "by_class": {"cort": {"min_score": 0.2}}}},
            ["score_weights was 0.5 1.0, now 0.5 2.0", "by_class.cort.min_score was 0.3, now 0.2"],
        ),
        ({"parameters": {**BEFORE["parameters"], "by_class": {}}}, ["by_class.cort.min_score was 0.3, now not given"]),  # type: ignore[dict-item]
        (
            {"model": "nuclei", "model_hash": "1" * 64, "parameters": {"min_area": 40}, "tta": True},
            ["model was neurons, now nuclei", "tta was off, now on"],
        ),
        ({"model_hash": "1" * 64, "parameters": {}}, ["model neurons was another version"]),
        ({"page": "all", "diameter": None}, ["page was 0, now all"]),
    ],
)
def test_changed_settings_are_told_in_words(now: dict[str, object], expected: list[str]) -> None:
    assert differences(BEFORE, {**BEFORE, **now}) == expected
