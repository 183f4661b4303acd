"""Detections of known quality: the cells of synthetic scenes, moved, lost and invented by a seeded oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cytotome.datasets import open_dataset
from cytotome.ops.runs import merge_runs
from cytotome.ops.stack import stack
from cytotome.types import Dataset, Instances


def disturb(truth: Instances, seed: int, *, shift: int = 2, lost: float = 0.2, invented: float = 0.2) -> Instances:
    """A detector's view of the truth: some cells lost, the others moved a little, some placed where there are none.

    Scores are high for what is true and low for what is invented, with much overlap.
    """
    rng = np.random.default_rng(seed)
    kept = truth.select(rng.random(len(truth)) >= lost)
    wrong = truth.select(rng.random(len(truth)) < invented)
    moved = [_moved(kept, rng, shift), _moved(wrong, rng, 40)]
    found = stack(moved).instances
    scores = np.concatenate([rng.beta(4, 2, len(moved[0])), rng.beta(2, 4, len(moved[1]))])
    return replace(found, scores=scores.astype(np.float32))


def _moved(instances: Instances, rng: np.random.Generator, shift: int) -> Instances:
    height, width = instances.shape
    owners = np.repeat(np.arange(len(instances)), np.diff(instances.offsets))
    by = rng.integers(-shift, shift + 1, (len(instances), 2))[owners]
    runs = instances.runs + by[:, [0, 1, 1]]
    runs[:, 1:] = runs[:, 1:].clip(0, width)
    inside = (runs[:, 0] >= 0) & (runs[:, 0] < height) & (runs[:, 1] < runs[:, 2])
    merged, offsets = merge_runs(runs[inside], owners[inside], len(instances))
    found = replace(instances, runs=merged, offsets=offsets)
    return found.select(found.areas > 0)


def same(first: Instances, second: Instances) -> bool:
    """Whether two hold the same masks with the same scores and classes, in any order."""
    if len(first) != len(second) or first.shape != second.shape:
        return False
    return _rows(first) == _rows(second)


def _rows(instances: Instances) -> list[tuple[object, ...]]:
    rows = []
    for index in range(len(instances)):
        runs = instances.runs[instances.offsets[index] : instances.offsets[index + 1]]
        kind = instances.classes[index]
        name = instances.class_names[kind] if kind >= 0 else ""
        rows.append((round(float(instances.scores[index]), 5), name, runs.tobytes()))
    return sorted(rows)


@pytest.fixture(scope="session")
def scenes() -> Dataset:
    return open_dataset("synthetic:4")


@pytest.fixture(scope="session")
def detections(scenes: Dataset) -> list[Instances]:
    """Five detectors' views of the first scene."""
    truth = scenes.instances(0)
    assert truth is not None
    return [disturb(truth, seed) for seed in range(5)]
