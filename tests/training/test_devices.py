"""Two processes that share each batch learn what one process learns of the whole batch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from cytotome.errors import ConfigError, TrainingError
from cytotome.models.file import read_model
from cytotome.training.processes import own_error
from cytotome.training.train import train

UNETR = {"window": [96, 96], "hidden_size": 16, "mlp_size": 32, "heads": 2, "feature_size": 4, "dice_weight": 0.0}
"""No batch normalisation, and a loss that is a mean over pixels: halves of a batch teach what the whole does."""


def content(**schedule: Any) -> dict[str, Any]:
    return {
        "name": "shared",
        "family": "unetr",
        "config": UNETR,
        "sampling": {"crop": [32, 32], "batch": 2, "workers": 0, "cell_bias": 0.0},
        "augmentation": {"rotate": 0.0, "scale": [1.0, 1.0]},  # no crop reaches beyond its image
        "schedule": {
            "steps": 20,
            "optimiser": "sgd",  # Adam would magnify what rounding leaves of gradients that are nearly zero
            "learning_rate": 0.05,
            "precision": "float32",
            "ema": 0.5,
            **schedule,
        },
    }


@pytest.fixture
def folder(disks: Any, tmp_path: Path) -> Path:
    """Images and label maps as files, which a new process can open too."""
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for position, sample in enumerate(disks(4, 0)):
        cv2.imwrite(str(tmp_path / "images" / f"{position}.png"), sample.image.pixels)
        cv2.imwrite(str(tmp_path / "labels" / f"{position}.png"), sample.instances.to_label_map().astype(np.uint16))
    return tmp_path


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as handle:
        return [float(row["unetr/all/total"]) for row in csv.DictReader(handle)]


def test_two_processes_have_the_loss_curve_of_one(folder: Path) -> None:
    one = train(content(), folder, output=folder / "one", device="cpu")
    two = train(content(), folder, output=folder / "two", device="cpu", devices=2)
    assert losses(folder / "two") == pytest.approx(losses(folder / "one"), rel=1e-4)
    expected, found = read_model(one), read_model(two)
    for name, value in expected.weights.items():
        torch.testing.assert_close(found.weights[name], value, rtol=0, atol=2e-3)
    assert found.card.trained_on == expected.card.trained_on


def test_accumulated_batches_have_the_loss_curve_of_one_large_batch(folder: Path) -> None:
    train(content(), folder, output=folder / "large", device="cpu")
    recipe = content(accumulate=2)
    recipe["sampling"]["batch"] = 1
    train(recipe, folder, output=folder / "small", device="cpu")
    assert losses(folder / "small") == pytest.approx(losses(folder / "large"), rel=1e-4)


def test_an_error_of_one_process_is_one_line() -> None:
    text = "\n\n-- Process 0 terminated with the following error:\nTraceback (most recent call last):\n  ...\n"
    error = own_error(ProcessRaisedException(f"{text}cytotome.errors.TrainingError: the loss: became inf\n", 0, 1))
    assert isinstance(error, TrainingError)
    assert str(error) == "the loss: became inf"
    assert own_error(ProcessRaisedException(f"{text}RuntimeError: Connection closed by peer\n", 0, 1)) is None
    killed = own_error(ProcessExitedException("process 1 terminated with signal SIGKILL", 1, 1, -9, "SIGKILL"))
    assert "ended from outside" in str(killed)


def test_data_that_no_other_process_can_have_are_told(disks: Any, tmp_path: Path) -> None:
    data = disks(4, 0)
    data.own = lambda: None  # cannot be pickled
    with pytest.raises(ConfigError, match=r"^devices: the data cannot be sent .*; give datasets by their paths$"):
        train(content(), data, output=tmp_path, device="cpu", devices=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 0}, "devices: expected 1 or more, got 0"),
        ({"devices": 3}, r"devices: 3 cannot share the 2 crops of a batch of the stage \w+; set sampling.batch=3"),
        ({"logger": "papyrus"}, "logger: must be one of wandb, mlflow, got 'papyrus'"),
    ],
)
def test_options_that_cannot_be_are_told(options: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        train(content(), folder, output=folder / "run", device="cpu", **options)
