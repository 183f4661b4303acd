"""A small model of random weights, and images for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cytotome.data.normalise import Normalisation
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.families import get_family
from cytotome.models.card import Card
from cytotome.models.file import ModelFile, save_model

SHAPE = (96, 128)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real family with a small network of random weights, which finds some fifty cells in any image of noise."""
    family = get_family("flow")
    config = family.config(widths=(8, 16, 16), blocks=(0, 1, 1), input_scale=1.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        weights = family.build(config).state_dict()
    parameters = family.parameters(max_flow_error=100.0, min_area=10)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    card = Card(name="random", summary="Random weights", licence="CC0-1.0")
    save_model(path, ModelFile("flow", config, parameters, Normalisation(), weights, card))
    return path


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    """Eight synthetic images, ``(96, 128)`` uint8."""
    return [sample.image.pixels for sample in SyntheticDataset(8, seed=5, shape=SHAPE)]


@pytest.fixture
def plate(tmp_path: Path, pictures: list[np.ndarray]) -> Path:
    """A folder with images in subfolders."""
    names = ("B02/well.png", "A01/one.png", "A01/two.png", "top.png")
    for name, pixels in zip(names, pictures, strict=False):
        path = tmp_path / "plate" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)
    return tmp_path / "plate"


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Gives the bytes of all files of a folder of results but ``run.json``, which holds times."""
    return _contents
