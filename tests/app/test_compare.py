"""A small bake-off from end to end, taken up again, and a recommendation that says how sure it is."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cytotome.app.compare import score as compare_entry
from cytotome.app.compare.results import Comparison, ImageResult, MethodResult
from cytotome.app.compare.run import CompareOptions, State, default_recipes, parse_budget, run_compare
from cytotome.app.compare.score import Entry, score_in_child
from cytotome.datasets import open_dataset
from cytotome.ensemble.file import read_ensemble
from cytotome.errors import ConfigError, DataError
from cytotome.inference.model import Model
from cytotome.models.registry import BUNDLED
from cytotome.tuning.held_out import (
    CachedOutputs,
    held_out_images,
    may_have_seen,
    parse_method,
    read_outputs,
    write_outputs,
)
from cytotome.types import Dataset

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "family": "flow",
    "config": {"widths": [8, 16, 16], "blocks": [0, 1, 1], "input_scale": 1.0},
    "sampling": {"crop": [64, 64], "batch": 2, "workers": 0},
    "schedule": {"steps": 3, "validate_every": 0},
}


@pytest.mark.slow
def test_a_bake_off_trains_scores_fuses_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**RECIPE, "name": "other", "seed": 5}))
    recipes = (str(recipe), str(other))
    options = CompareOptions(tmp_path / "out", recipes, folds=(0,), budget_seconds=120, device="cpu", quiet=True)
    data = "synthetic:10"
    results = run_compare(data, options)
    rows = list(csv.reader((tmp_path / "out" / "compare.csv").read_text().splitlines()))
    assert rows[0][:3] == ["method", "family", "mAP"]
    assert [row[0] for row in rows[1:3]] != ["", ""]
    assert len(results.methods) == 2
    for method in results.methods:
        assert method.ceiling > 0.8
        assert method.peak_megabytes > 50
        assert method.seconds_per_image > 0
        assert method.score == pytest.approx(np.mean([image.score for image in method.images.values()]))
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(written) == ["data", "images", "entries", "ensemble", "failures", "recommendation"]
    assert [MethodResult.from_dict(one) for one in written["entries"]] == list(results.methods)
    page = (tmp_path / "out" / "compare.html").read_text()
    assert page.count("data:image/png;base64,") >= 2
    assert results.recommendation.split(";")[0] in page
    assert len(read_ensemble(tmp_path / "out" / "ensemble.yaml").members) == 2

    def never(*_: object, **__: object) -> None:
        raise AssertionError("this was done already")

    monkeypatch.setattr("cytotome.training.train.train", never)
    monkeypatch.setattr("cytotome.app.compare.run.score_in_child", never)
    again = run_compare(data, options)
    assert again.methods == results.methods
    assert again.recommendation == results.recommendation


def test_without_time_there_is_nothing_to_compare(tmp_path: Path) -> None:
    options = CompareOptions(tmp_path, ("flow",), budget_seconds=0.1, quiet=True)
    with pytest.raises(ConfigError, match="no model was trained in the budget and none was given"):
        run_compare("synthetic:10", options)


def test_a_method_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fails(name: str, data: object, **_: object) -> None:
        assert isinstance(data, Dataset)
        tried.append(name)
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr("cytotome.training.train.train", fails)
    options = CompareOptions(tmp_path, ("flow", "unetr"), quiet=True)
    why = r"flow, fold 0: RuntimeError: CUDA out of memory\. Tried to allocate; unetr, fold 0: RuntimeError: CUDA"
    with pytest.raises(ConfigError, match=f"compare: no model could be trained: {why}"):
        run_compare("synthetic:10", options)
    assert tried == ["flow", "unetr"]


def test_without_lightning_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(ConfigError, match="training needs Lightning, which is not installed; run pip install"):
        run_compare("synthetic:10", CompareOptions(tmp_path / "out", ("flow",), quiet=True))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def scored(tmp_path: Path) -> Entry:
    return Entry(parse_method("a"), "given", "synthetic:2", None, {0: 0}, tmp_path, False, "cpu")


def test_any_fault_of_scoring_is_told(scored: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sender(list[object]):
        send = list.append
        close = list.copy

    def fails(_: Entry) -> None:
        raise MemoryError("too\nlarge")

    monkeypatch.setattr(compare_entry, "score_entry", fails)
    sent = Sender()
    compare_entry._child(scored, sent)
    assert sent == ["MemoryError: too large"]


def test_a_process_that_dies_tells_its_exit_code(scored: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_entry, "_child", divmod)  # which fails before it answers
    with pytest.raises(DataError, match=r"^the process ended without an answer \(exit code 1\)"):
        score_in_child(scored)


def test_without_an_ensemble_the_page_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def score(of: Entry) -> MethodResult:
        return method_result(of.method.name, [0.5] * 10, 1.0, key=of.key())

    def fails(*_: object, **__: object) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr("cytotome.app.compare.run.score_in_child", score)
    monkeypatch.setattr("cytotome.app.compare.run.member_instances", fails)
    monkeypatch.setattr(CachedOutputs, "outputs", lambda *_: [])
    models = ("neurons", "neurons-rcnn")
    results = run_compare("synthetic:10", CompareOptions(tmp_path, models=models, quiet=True))
    assert results.failures == {"the ensemble": "MemoryError: too large"}
    page = (tmp_path / "compare.html").read_text()
    assert "the ensemble failed: MemoryError: too large" in page
    assert results.recommendation in page


def test_the_budget_is_shared_and_remembered(tmp_path: Path) -> None:
    assert [parse_budget(text) for text in ("90s", "30m", "2h", "1.5")] == [90, 1800, 7200, 90]
    for text in ("", "fast", "-1h", "0"):
        with pytest.raises(ConfigError, match="expected a time such as 90s, 30m or 2h"):
            parse_budget(text)
    state = State(tmp_path, 600)
    assert state.minutes_left(4) == pytest.approx(2)
    state.add(240)
    assert State(tmp_path, 600).minutes_left(2) == pytest.approx(2)
    state.add(1000)
    assert state.minutes_left(1) == 0


def method_result(name: str, scores: list[float], seconds: float, key: str = "") -> MethodResult:
    images = {str(number): ImageResult(score, "", 1) for number, score in enumerate(scores)}
    sizes = {"ceiling": 1.0, "seconds_per_image": seconds, "peak_megabytes": 1.0, "model_megabytes": 1.0}
    return MethodResult(key, name, "given", "flow", float(np.mean(scores)), {}, licence="", images=images, **sizes)


def test_the_recommendation_says_what_is_noise() -> None:
    good, close, fast = [0.5, 0.6, 0.4, 0.5], [0.6, 0.5, 0.4, 0.49], [0.1, 0.2, 0.1, 0.1]
    best = method_result("a", good, 3)
    said = Comparison("data", 4, (method_result("b", close, 1), best)).recommendation
    assert said.startswith("use a (mAP 0.500 on 4 images)")
    assert "within noise, b is the faster" in said
    assert "within noise" not in Comparison("data", 4, (best, method_result("c", fast, 1))).recommendation


def test_images_are_those_that_every_method_did_not_see() -> None:
    dataset = open_dataset("synthetic:10")
    everything = held_out_images([parse_method("neurons")], dataset)
    assert len(everything) == 10
    one = held_out_images([parse_method("a:1"), parse_method("neurons")], dataset)
    assert set(one.values()) == {1}
    both = held_out_images([parse_method("a:0,b:1"), parse_method("c:1,d:2")], dataset)
    assert both == one
    assert parse_method("x/a.safetensors:0").name == "a"
    with pytest.raises(ConfigError, match="no labelled image is held out of all models"):
        held_out_images([parse_method("a:0"), parse_method("b:1")], dataset)
    with pytest.raises(ConfigError, match="with each fold once"):
        parse_method("a:0,b:0")


def test_a_model_whose_card_names_the_data_may_have_seen_it() -> None:
    dataset = open_dataset("synthetic:2")
    assert may_have_seen([parse_method("neurons")], dataset) == []
    dataset.name = "sartorius"
    methods = [parse_method(text) for text in ("neurons", "nuclei", "neurons:0", "neurons:1", "missing")]
    first, second = may_have_seen(methods, dataset)
    assert first == (
        "warning: neurons was trained on sartorius (all but fold 0); if that means these images, its scores are too "
        "good: give neurons:0 to score it on images that it has not seen"
    )
    assert second == first.replace("(all but fold 0)", "(all but fold 0); fold 1 is not held out")
    (ensemble,) = may_have_seen([parse_method("neurons-ensemble"), parse_method("neurons-ensemble:0")], dataset)
    assert ensemble == first.replace("neurons", "neurons-ensemble")
    dataset.name = "livecell"  # all of it was trained on
    (said,) = may_have_seen([parse_method("neurons:0")], dataset)
    assert said.endswith("livecell; fold 0 is not held out; if that means these images, its scores are too good")


def test_outputs_come_back_from_their_file(tmp_path: Path) -> None:
    maps = {"a": np.random.default_rng(0).random((2, 5, 6), np.float32), "soft/values": np.arange(3)}
    write_outputs(tmp_path / "maps.npz", maps)
    back = read_outputs(tmp_path / "maps.npz")
    assert back.keys() == maps.keys()
    for name, values in maps.items():
        np.testing.assert_array_equal(back[name], values)


def test_a_network_runs_once_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset("synthetic:2")
    predictions = CachedOutputs(parse_method("neurons"), tmp_path, device="cpu")
    calls = []
    monkeypatch.setattr(
        Model, "outputs", lambda self, image, tta: calls.append(tta) or {"a": np.zeros((1, 2, 2), np.float32)}
    )
    samples = [dataset[0], dataset[1]]
    for _ in range(2):
        assert len(predictions.outputs(samples, [0, 0])) == 2
    assert len(calls) == 2


def test_json_of_a_bake_off_is_plain(tmp_path: Path) -> None:
    State(tmp_path, 10).fail("flow, fold 0", "why")
    assert json.loads((tmp_path / "state.json").read_text())["failures"] == {"flow, fold 0": "why"}


def test_the_default_recipes_are_those_that_the_data_suit() -> None:
    chosen = default_recipes(open_dataset("synthetic:2"))
    assert "rcnn-r50-small" in chosen
    assert "unetr" in chosen
    assert "unetr-gan" not in chosen  # it needs images without masks


def test_a_failure_is_forgotten_once_the_method_succeeds(tmp_path: Path) -> None:
    state = State(tmp_path, 60.0)
    state.fail("flow", "why")
    state.succeed("flow")
    assert State(tmp_path, 60.0).content["failures"] == {}


def test_a_name_that_stands_for_another_model_now_is_another_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"old": "neurons.safetensors", "new": "nuclei.safetensors"}
    entry = Entry(parse_method("favourite"), "given", "synthetic:2", None, {0: 0}, tmp_path, False, "cpu")
    keys = []
    for file in models.values():
        monkeypatch.setattr(compare_entry, "find_model", lambda _, file=file: BUNDLED / file)
        keys.append(entry.key())
    monkeypatch.undo()
    assert len(set(keys)) == 2


def test_results_of_another_form_are_not_reused() -> None:
    content = method_result("a", [0.5, 0.25], 1).to_dict()
    assert content["images"]["1"] == {"score": 0.25, "type": "", "cells": 1}
    assert MethodResult.from_dict(content) == method_result("a", [0.5, 0.25], 1)
    for damaged in ({}, {**content, "images": 3}, {**content, "new": 1}, {**content, "images": {"0": {}}}):
        assert MethodResult.from_dict(damaged) is None


def test_images_without_known_cells_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset("synthetic:2")
    monkeypatch.setattr(dataset, "instances", lambda _: None)
    model = CachedOutputs(parse_method("neurons"), tmp_path, device="cpu").model_of(0)
    with pytest.raises(DataError, match=f"compare: image {dataset.infos[1].id} has no masks; give labelled"):
        compare_entry.ceiling(model, dataset, [1])
