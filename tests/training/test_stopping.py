"""Runs that end before their schedule: by signals, or since the score no longer improves."""

from __future__ import annotations

import csv
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from cytotome.errors import ConfigError, TrainingError
from cytotome.models.file import read_model
from cytotome.training.recipe import load_recipe
from cytotome.training.stopping import EarlyStopping, StopSignals
from cytotome.training.train import train


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_ends_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_patience_counts_scores_that_are_not_better() -> None:
    stopping = EarlyStopping(2)
    for score, over in ((0.1, False), (0.3, False), (0.3, False), (0.4, False), (0.2, False), (0.39, True)):
        assert not stopping.is_over
        stopping.add(score, {"a": torch.tensor(score)})
        assert stopping.is_over == over
    assert stopping.weights == {"a": torch.tensor(0.4)}
    resumed = EarlyStopping.of(3, {"stopping": stopping.state()})
    assert (resumed.best, resumed.since, resumed.is_over) == (0.4, 2, False)
    never = EarlyStopping(0)
    never.add(0.1, {"a": torch.tensor(1)})
    assert not never.is_over
    assert not never.weights


def test_a_run_ends_early_with_its_best_weights_and_resumes_with_more_patience(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cytotome.training.fit.mean_score", lambda model, places: 0.25)
    recipe["schedule"] |= {"steps": 200, "validate_every": 10, "patience": 2}
    path = train(recipe, disks(9), output=tmp_path, fold=0, console=quiet, device="cpu")
    with (tmp_path / "metrics.csv").open(newline="") as handle:
        assert [int(row["step"]) for row in csv.DictReader(handle) if row["validation/mean_ap"]] == [10, 20, 30]
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    buffer = "segmenter.1.num_batches_tracked"
    assert int(read_model(path).weights[buffer]) == 10
    assert int(content["average"][buffer]) == 30
    quiet.file.flush()
    assert "ended early, after 2 validations without a better score; the model" in (tmp_path / "said.txt").read_text()
    train(recipe, disks(9), output=tmp_path, fold=0, console=quiet, device="cpu")
    quiet.file.flush()
    assert "nothing was trained" in (tmp_path / "said.txt").read_text()
    recipe["schedule"]["patience"] = 3
    train(recipe, disks(9), output=tmp_path, fold=0, console=quiet, device="cpu")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["step"] == 40


def test_early_stopping_needs_scores(recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"schedule: patience needs validation scores; set validate_every too"):
        load_recipe(recipe, ["schedule.patience=2"])
    overrides = ["schedule={patience: 2, validate_every: 5}"]
    with pytest.raises(TrainingError, match=r"schedule.patience: no image is held out .* give a fold \(--fold 0\)"):
        train(recipe, disks(), output=tmp_path, overrides=overrides, console=quiet, device="cpu")
