"""A tiny family, found as every other is, and a small dataset for it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from cytotome.types import Dataset, Image, Instances, Sample, SampleInfo

TINY = Path(__file__).parent / "tiny"


@pytest.fixture(autouse=True)
def duel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs the plugin of ``tests/training/tiny``; one thread, since the networks are tiny."""
    monkeypatch.syspath_prepend(str(TINY))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    sys.modules.pop("duel", None)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as in a terminal, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Disks(Dataset):
    """Bright disks on noise, 48 x 56 pixels; the last ``unlabelled`` have no masks, ``empty`` none a cell."""

    def __init__(
        self, count: int = 6, unlabelled: int = 2, empty: bool = False, name: str = "disks", quality: str = "full"
    ) -> None:
        self.name = name
        self.class_names = ("disk",)
        self.empty = empty
        self.infos = tuple(
            SampleInfo(
                f"{name}{index}",
                "disk",
                f"{name}{index}",
                index % 3 if index < count - unlabelled else None,
                quality if index < count - unlabelled else "none",
            )
            for index in range(count)
        )

    def read(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        rows, columns = np.ogrid[:48, :56]
        centres = [(y + rng.integers(-3, 4), x + rng.integers(-3, 4)) for y in (12, 36) for x in (12, 28, 44)]
        masks = [(rows - y) ** 2 + (columns - x) ** 2 <= rng.integers(20, 40) for y, x in centres]
        pixels = rng.integers(20, 60, (48, 56)) + 120 * np.any(masks, axis=0)
        instances = Instances.from_masks(masks, class_names=self.class_names)
        if self.empty:
            instances = Instances.empty((48, 56), self.class_names)
        unlabelled = self.infos[index].mask_quality == "none"
        return Sample(self.infos[index], Image(pixels.astype(np.uint8)), None if unlabelled else instances)


@pytest.fixture
def disks() -> type[Disks]:
    return Disks


@pytest.fixture
def recipe() -> dict[str, Any]:
    """A run of 40 small steps."""
    return {
        "name": "tiny",
        "family": "duel",
        "sampling": {"crop": [32, 32], "batch": 4, "workers": 0},
        "schedule": {"steps": 40, "learning_rate": 0.02, "ema": 0.9, "precision": "float32", "checkpoint_minutes": 0},
    }


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Console]:
    """A console that writes to ``said.txt`` of the test's folder."""
    with (tmp_path / "said.txt").open("w") as file:
        yield Console(file=file, width=200)
