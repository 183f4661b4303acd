"""Opening of datasets and predictions for a command, with one warning per part that is not used."""

from __future__ import annotations

import os
from pathlib import Path

from cytotome.app.console import warn
from cytotome.datasets import open_dataset
from cytotome.datasets.predictions import Predictions, read_predictions
from cytotome.types import Dataset


def open_and_warn(path: str | os.PathLike[str], *, layout: str | None = None) -> Dataset:
    """Opens a dataset with :func:`cytotome.datasets.open_dataset`, and prints its notes."""
    dataset = open_dataset(path, layout=layout)
    for note in dataset.notes:
        warn(f"note: {dataset.name}: {note}")
    return dataset


def read_and_warn(path: Path, dataset: Dataset) -> Predictions:
    """Reads predictions with :func:`cytotome.datasets.predictions.read_predictions`, and prints their notes."""
    predictions = read_predictions(path, dataset)
    for note in predictions.notes:
        warn(f"note: {path}: {note}")
    return predictions
