"""Shared code of the benchmarks of ``cytotome segment``: images, a model, and runs in separate processes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np

from cytotome.datasets import open_dataset
from cytotome.models.registry import find_model

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CYTOTOME_DATA", REPOSITORY.parent / "shared" / "data"))


def write_images(folder: Path, count: int, shape: tuple[int, int] = (520, 704), distinct: int = 20) -> Path:
    """Writes ``count`` PNG files, ``distinct`` of which differ: real phase contrast if available, else synthetic.

    The others are hard links.
    """
    folder.mkdir(parents=True)
    dataset = open_dataset(DATA / "sartorius") if (DATA / "sartorius" / "train.csv").is_file() else None
    source = dataset if dataset is not None else open_dataset(f"synthetic:{distinct}")
    first: list[Path] = []
    for index in range(count):
        path = folder / f"{index:04}.png"
        if index < min(distinct, len(source)):
            cv2.imwrite(str(path), np.ascontiguousarray(source[index].image.pixels[: shape[0], : shape[1]]))
            first.append(path)
        else:
            os.link(first[index % len(first)], path)
    return folder


def model_of(name: str) -> str:
    """The path of a model's file by its name or path."""
    return str(find_model(name))


def command(images: Path, output: Path, model: str, *options: str) -> list[str]:
    """The command line of one run."""
    return [sys.executable, "-m", "cytotome", "segment", str(images), "-o", str(output), "-m", model, *options]


def fresh(folder: Path) -> Path:
    """Removes the folder and returns its path."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
