"""Shared code of the peers' scripts: images written by ``export.py``, cell diameters, timing. Needs NumPy only."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Sample:
    """One exported image; the fields are those of ``export.py``."""

    id: str
    image: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    cell_type: str
    fold: int
    mask_quality: str


def read_samples(folder: Path) -> list[Sample]:
    """All samples of a folder, by name."""
    samples = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            samples.append(
                Sample(
                    id=path.stem,
                    image=file["image"],
                    labels=file["labels"],
                    areas=file["areas"],
                    cell_type=str(file["cell_type"]),
                    fold=int(file["fold"]),
                    mask_quality=str(file["mask_quality"]),
                )
            )
    if not samples:
        raise SystemExit(f"no samples in {folder}: write them with benchmarks/peers/export.py")
    return samples


def mean_diameter(samples: Iterable[Sample]) -> float:
    """Mean over all cells of the diameter of the disc of the same area, in pixels."""
    areas = np.concatenate([sample.areas for sample in samples])
    return float(np.mean(2 * np.sqrt(areas / np.pi)))


def type_diameters(samples: Iterable[Sample]) -> dict[str, float]:
    """:func:`mean_diameter` of each cell type."""
    samples = list(samples)
    names = sorted({sample.cell_type for sample in samples})
    return {name: mean_diameter(s for s in samples if s.cell_type == name) for name in names}


def seconds_of(work: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Minimum, median and all wall-clock times of ``repeats`` calls after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return {"minimum": min(times), "median": statistics.median(times), "all": times}


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    """Prints a result and, where a path is given, writes it there."""
    text = json.dumps(result, indent=2)
    print(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
