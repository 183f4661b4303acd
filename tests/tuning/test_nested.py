"""The tuner on predictions whose best settings are known, and on pure noise, where it must say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from cytotome.ensemble.cell_type import TypeClassifier
from cytotome.ensemble.file import EnsembleFile, Member
from cytotome.errors import ConfigError
from cytotome.metrics.bootstrap import bootstrap_mean
from cytotome.metrics.challenge import image_score
from cytotome.tuning.nested import TunableEnsemble, tune_nested, tune_on
from cytotome.tuning.search import (
    OptunaSearch,
    Table,
    Values,
    fit_limits,
    greedy,
    is_better,
    keep_pairs,
    limited_score,
)
from cytotome.types import Image, Instances, Sample, SampleInfo

WIDTH = 400


def strip(widths: Sequence[int], starts: Sequence[int], scores: Sequence[float]) -> Instances:
    masks = [np.ones((1, width), bool) for width in widths]
    origins = np.stack([np.zeros(len(starts)), np.asarray(starts)], axis=1).reshape(-1, 2)
    return Instances.from_masks(
        masks,
        shape=(1, WIDTH),
        origins=origins,
        scores=np.asarray(scores),
        class_names=("a", "b"),
        classes=np.zeros(len(masks)),
    )


def sample(seed: int, kind: str = "a") -> Sample:
    rng = np.random.default_rng(seed)
    truth = strip([20] * 10, [40 * k for k in range(10)], rng.random(10))
    info = SampleInfo(str(seed), kind, fold=seed % 4)
    return Sample(info, Image(np.zeros((1, WIDTH), np.uint8)), truth)


@dataclass(eq=False)
class Detector:
    """Finds every cell with a score above ``cut`` of its type, and false ones below; masks grow with ``width``."""

    samples: Sequence[Sample]
    cuts: Mapping[str, float]
    noise: bool = False
    knobs: Any = field(default_factory=lambda: {"width": (14, 17, 20, 23, 26), "min_score": tuple(np.arange(10) / 10)})
    start: Values = field(default_factory=lambda: {"width": 14, "min_score": 0.0})

    def candidates(self, image: int, values: Mapping[str, float]) -> Instances:
        cut = self.cuts[self.samples[image].info.cell_type]
        rng = np.random.default_rng(image + 1)
        starts = np.arange(20) * 20
        right = starts % 40 == 0
        scores = np.where(right, rng.uniform(cut, 1, 20), rng.uniform(0, cut, 20))
        if self.noise:
            scores, right = rng.random(20), rng.permutation(right)
        width = 19 if self.noise else int(values["width"])
        return strip([width] * 20, np.minimum(starts, WIDTH - width), scores)

    def fitted(self, images: Sequence[int]) -> Detector:
        return self

    def result(self, everywhere: Values, by_type: Mapping[str, Values]) -> tuple[Values, Mapping[str, Values]]:
        return everywhere, by_type

    def segment(self, image: int, result: Any) -> Instances:
        everywhere, by_type = (self.start, {}) if result is None else result
        values = by_type.get(self.samples[image].info.cell_type, everywhere)
        found = self.candidates(image, values)
        return found.select(found.scores >= np.float32(values["min_score"]))


def detector(kinds: Sequence[str] = ("a",) * 8, noise: bool = False, **cuts: float) -> Detector:
    samples = [
        replace(sample(seed), info=SampleInfo(str(seed), kind, fold=seed % 4)) for seed, kind in enumerate(kinds)
    ]
    return Detector(samples, cuts or {"a": 0.5}, noise)


def test_limits_on_kept_pairs_give_the_score_of_the_instances_that_pass() -> None:
    method = detector()
    for width, least, area in ((14, 0.3, 1), (20, 0.6, 1), (23, 0.9, 30), (23, 0.0, 1)):
        found = method.candidates(0, {"width": width})
        truth = method.samples[0].instances
        assert truth is not None
        kept = found.select((found.scores >= np.float32(least)) & (found.areas >= area))
        assert limited_score(keep_pairs(found, truth), least, area) == pytest.approx(image_score(kept, truth))


@pytest.mark.parametrize("search", [greedy, OptunaSearch(trials=12)])
def test_both_searches_find_the_settings_that_are_right(search: Any) -> None:
    method = detector()
    table = Table(method, [one.instances for one in method.samples if one.instances is not None])
    chosen = search(table, range(8), method.start)
    assert chosen["width"] == 20
    assert chosen["min_score"] == pytest.approx(0.5)
    assert table.mean(range(8), chosen) == pytest.approx(1.0)
    assert table.tried > 10


def test_instances_are_made_once_however_many_limits_are_tried() -> None:
    method = detector()
    made = []
    original = method.candidates
    method.candidates = lambda image, values: made.append(image) or original(image, values)  # type: ignore[method-assign, func-returns-value]
    table = Table(method, [one.instances for one in method.samples if one.instances is not None])
    fit_limits(table, range(8), method.start)
    assert len(made) == 8
    assert table.tried >= 10


@pytest.mark.parametrize("search", ["optuna", "greedy"])
def test_cell_types_get_settings_of_their_own_and_the_gain_is_on_other_folds(search: Any) -> None:
    method = detector(["a", "b"] * 8, a=0.2, b=0.7)
    tuned = tune_nested(method, [one.info.fold or 0 for one in method.samples], search=search, trials=10)
    _, by_type = tuned.result
    assert by_type["a"]["min_score"] == pytest.approx(0.2)
    assert by_type["b"]["min_score"] == pytest.approx(0.7)
    assert tuned.nested.mean() > 0.95
    assert not tuned.gain().within_noise
    assert tuned.gain("a").count == 8
    assert "warning" not in tuned.text()


def test_settings_by_type_are_left_out_where_the_decoder_takes_one_type_for_the_other() -> None:
    class Confused(Detector):
        def segment(self, image: int, result: Any) -> Instances:
            everywhere, by_type = result
            swapped = {"a": by_type["b"], "b": by_type["a"]} if by_type else {}
            return super().segment(image, (everywhere, swapped))

    sure = detector(["a", "b"] * 8, a=0.2, b=0.7)
    everywhere, by_type = tune_on(Confused(sure.samples, sure.cuts), range(16), "greedy")[0]
    assert by_type == {}
    assert everywhere == tune_on(sure, range(16), "greedy")[0][0]


def test_a_gain_within_noise_is_said() -> None:
    method = detector(noise=True)
    tuned = tune_nested(method, [k % 4 for k in range(8)], search="greedy")
    on_all = np.mean([image_score(method.segment(i, tuned.result), method.samples[i].instances) for i in range(8)])  # type: ignore[arg-type]
    assert on_all >= tuned.nested.mean()  # the images that were tuned on flatter
    assert tuned.gain().within_noise
    assert "warning: the gain is within noise" in tuned.text()


@pytest.mark.parametrize(
    ("gains", "better"), [((0.1, 0.1, 0.13), True), ((0.4, -0.1, -0.1), False), ((0.0, 0.0), False)]
)
def test_a_gain_must_exceed_its_standard_error(gains: tuple[float, ...], better: bool) -> None:
    class Fixed(Table):
        def scores(self, images: Sequence[int], values: Values) -> Any:
            return np.array(gains) * values["x"]

    table = Fixed(problem=Detector([], {}), truths=())
    assert is_better(table, range(len(gains)), {"x": 1.0}, {"x": 0.0}) is better
    assert not is_better(table, range(len(gains)), {"x": 1.0}, {"x": 1.0})


def test_an_ensemble_is_calibrated_and_tuned() -> None:
    method = detector(a=0.5)
    views = [[method.candidates(i, {"width": 20}), method.candidates(i, {"width": 17})] for i in range(8)]
    file = EnsembleFile(members=(Member(model="one"), Member(model="two")))
    ensemble = TunableEnsemble(file, views, method.samples)
    result, tried = tune_on(ensemble, range(8), "greedy")
    assert tried > 20
    assert all(member.curve is not None for member in result.members)
    scores = [image_score(ensemble.segment(i, result), method.samples[i].instances) for i in range(8)]  # type: ignore[arg-type]
    before = [image_score(ensemble.segment(i, None), method.samples[i].instances) for i in range(8)]  # type: ignore[arg-type]
    assert np.mean(scores) > np.mean(before) + 0.2


def test_a_classifier_of_cell_types_is_fitted_on_request() -> None:
    method = detector(a=0.5)
    kinds = [f"kind {i % 2}" for i in range(8)]
    samples = [
        replace(one, info=replace(one.info, cell_type=kind)) for one, kind in zip(method.samples, kinds, strict=True)
    ]
    views = [[method.candidates(i, {"width": 20}) if i % 2 else method.candidates(i, {"width": 5})] for i in range(8)]
    ensemble = TunableEnsemble(EnsembleFile(members=(Member(model="one"),)), views, samples, classify=True)
    result, _ = tune_on(ensemble, range(8), "greedy")
    assert isinstance(result.cell_type, TypeClassifier)
    assert result.cell_type.class_names == ("kind 0", "kind 1")


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        interval = bootstrap_mean(rng.normal(0.3, 1, 40), seed=seed)
        inside += interval.low <= 0.3 <= interval.high
    assert 0.88 <= inside / 200 <= 0.99
    with pytest.raises(ConfigError, match="needs one value or more"):
        bootstrap_mean([])


def test_wrong_input_is_named() -> None:
    method = detector()
    with pytest.raises(ConfigError, match="search must be one of optuna, greedy, got 'grid'"):
        tune_nested(method, [0, 1] * 4, search="grid")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs images of two folds or more"):
        tune_nested(method, [0] * 8)
    method.samples = [replace(method.samples[0], instances=None), *method.samples[1:]]
    with pytest.raises(ConfigError, match="image 0 has no masks"):
        tune_on(method, range(8))
