"""``cytotome tune`` from images to a file that segments."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cytotome.app.cli import app
from cytotome.datasets import open_dataset
from cytotome.ensemble.ensemble import Ensemble
from cytotome.ensemble.load import load_model
from cytotome.inference.model import Model
from cytotome.io.labels import write_label_map
from cytotome.models.registry import bundled_models
from cytotome.tuning.ensembles import tuning_parts
from cytotome.types import Image, Sample, SampleInfo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five small images with their cells."""
    if "neurons" not in bundled_models():
        pytest.skip("no model is bundled")
    path = tmp_path_factory.mktemp("data")
    for name in ("images", "labels"):
        (path / name).mkdir()
    for index, sample in enumerate(open_dataset("synthetic:5")):
        labels = sample.instances.to_label_map()
        rows, columns = np.nonzero(labels)
        top, left = (max(0, int(np.median(axis)) - 64) for axis in (rows, columns))
        part = slice(top, top + 128), slice(left, left + 128)
        cv2.imwrite(str(path / "images" / f"{index}.png"), sample.image.pixels[part])
        write_label_map(path / "labels" / f"{index}.tif", np.ascontiguousarray(labels[part]), None)
    return path


def run(*arguments: object) -> tuple[int, str]:
    outcome = CliRunner().invoke(app, ["tune", *map(str, arguments)])
    return outcome.exit_code, f"{outcome.output} {outcome.exception}"


def test_one_model_stays_a_model_and_two_become_an_ensemble(folder: Path, tmp_path: Path) -> None:
    common = ("-d", folder, "--trials", 2, "--device", "cpu", "--cache", tmp_path / "cache")
    code, said = run("neurons", *common, "-o", tmp_path / "tuned.safetensors")
    assert code == 0, said
    assert "settings tried" in said
    tuned = load_model(tmp_path / "tuned.safetensors", device="cpu")
    assert isinstance(tuned, Model)
    assert tuned.parameters != load_model("neurons", device="cpu").parameters
    assert any("nested folds" in name for name in tuned.card.scores)
    files = sorted((tmp_path / "cache").glob("*.npz"))
    assert len(files) == 5
    times = [path.stat().st_mtime_ns for path in files]
    code, said = run("neurons", "neurons", *common, "--search", "greedy", "-o", tmp_path / "both.yaml")
    assert code == 0, said
    assert [path.stat().st_mtime_ns for path in files] == times  # no network ran again
    both = load_model(tmp_path / "both.yaml", device="cpu")
    assert isinstance(both, Ensemble)
    assert all(member.digest == model.digest for member, model in zip(both.file.members, both.models, strict=True))
    assert both.segment(folder / "images" / "0.png").shape == (128, 128)


def test_a_model_is_tuned_on_what_it_was_trained_on(folder: Path, tmp_path: Path) -> None:
    common = ("-d", folder, "--trials", 2, "--device", "cpu", "--cache", tmp_path / "cache", "--training")
    code, said = run("neurons:0", *common, "-o", tmp_path / "tuned.safetensors")
    assert code == 0, said
    tuned = load_model(tmp_path / "tuned.safetensors", device="cpu")
    assert isinstance(tuned, Model)
    assert any("held-out images" in name for name in tuned.card.scores)
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 5  # the fold's images are scored, the others tuned on
    code, said = run("neurons", *common, "-o", tmp_path / "again.safetensors")
    assert code != 0
    assert "MODEL:FOLD" in said


def test_outputs_and_options_that_do_not_fit_are_named(folder: Path, tmp_path: Path) -> None:
    data = ("-d", folder)
    assert "the name after -o must end in .yaml" in run("a", "b", *data, "-o", tmp_path / "x.safetensors")[1]
    assert "the name after -o must end in .safetensors" in run("a", *data, "-o", tmp_path / "x.yaml")[1]
    assert "the name after -o must have no extension" in run("a:0,b:1", *data, "-o", tmp_path / "x.safetensors")[1]
    output = ("-o", tmp_path / "x.safetensors")
    assert "search: must be one of optuna, greedy" in run("a", *data, *output, "--search", "grid")[1]
    assert "cell-type: must be one of majority, classifier" in run("a", *data, *output, "--cell-type", "guess")[1]
    assert "trials: must be 1 or more" in run("a", *data, *output, "--trials", 0)[1]


def test_without_optuna_no_network_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    said = run("neurons", "-d", folder, "-o", tmp_path / "x.safetensors", "--device", "cpu")[1]
    assert 'the search by optuna needs Optuna, which is not installed; run pip install "cytotome[train]"' in said
    assert not list(tmp_path.iterdir())


def test_a_group_is_never_on_both_sides() -> None:
    groups = ["a", "a", "b", "b", "", "", "c"]
    image = Image(np.zeros((2, 2), np.uint8))
    samples = [Sample(SampleInfo(str(number), group=group), image) for number, group in enumerate(groups)]
    assert tuning_parts(samples, [3] * 7) == [0, 0, 1, 1, 2, 3, 4]
    assert tuning_parts(samples, [3, 3, 0, 0, 3, 0, 0]) == [0, 0, 1, 1, 0, 1, 1]
