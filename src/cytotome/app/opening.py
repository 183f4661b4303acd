"""Opening datasets and predictions for a command, which says once what of them is not used."""

from __future__ import annotations

import os
from pathlib import Path

from cytotome.app.console import warn
from cytotome.datasets import open_dataset
from cytotome.datasets.predictions import Predictions, read_predictions
from cytotome.types import Dataset


def open_and_warn(path: str | os.PathLike[str], *, layout: str | None = None) -> Dataset:
    """The dataset, as :func:`cytotome.datasets.open_dataset` opens it; a line for each of its notes."""
    dataset = open_dataset(path, layout=layout)
    for note in dataset.notes:
        warn(f"note: {dataset.name}: {note}")
    return dataset


def read_and_warn(path: Path, dataset: Dataset) -> Predictions:
    """Predictions, as :func:`cytotome.datasets.predictions.read_predictions` reads them; a line for each note."""
    predictions = read_predictions(path, dataset)
    for note in predictions.notes:
        warn(f"note: {path}: {note}")
    return predictions
