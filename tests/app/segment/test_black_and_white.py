"""A mask of black and white is told by the same sentence in every command that reads label maps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cytotome.app.cli import app

SENTENCE = (
    "0.png: all cells share one mask (black and white): its only label 255 lies in 3 places; give each cell a number"
)


@pytest.fixture
def folder(tmp_path: Path, pictures: list[np.ndarray]) -> Path:
    """A dataset of two images; its first label map is a mask of black and white."""
    labels = np.zeros((96, 128), np.uint8)
    for number, (y, x) in enumerate(((10, 10), (40, 60), (70, 100)), start=1):
        labels[y : y + 12, x : x + 15] = number
    for part in ("images", "labels"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for index, found in enumerate((np.where(labels > 0, 255, 0).astype(np.uint8), labels)):
        cv2.imwrite(str(tmp_path / "data" / "images" / f"{index}.png"), pictures[index])
        cv2.imwrite(str(tmp_path / "data" / "labels" / f"{index}.png"), found)
    return tmp_path / "data"


@pytest.mark.parametrize(
    "command",
    [
        ("data", "info", "{data}"),
        ("measure", "{data}/labels", "{data}/images", "-o", "{out}"),
        ("evaluate", "{data}/labels", "{data}"),
        ("train", "flow", "--data", "{data}", "-o", "{out}", "--device", "cpu"),
    ],
    ids=lambda command: command[0],
)
def test_every_command_says_it_and_fails(folder: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    words = [word.format(data=folder, out=tmp_path / "out") for word in command]
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code != 0
    assert SENTENCE in outcome.output + str(outcome.exception)
