"""Opening a dataset for a command, which says once what of it is not used."""

from __future__ import annotations

import os

from cytotome.app.console import warn
from cytotome.datasets import open_dataset
from cytotome.types import Dataset


def open_and_warn(path: str | os.PathLike[str], *, layout: str | None = None) -> Dataset:
    """The dataset, as :func:`cytotome.datasets.open_dataset` opens it; a line for each of its notes."""
    dataset = open_dataset(path, layout=layout)
    for note in dataset.notes:
        warn(f"note: {dataset.name}: {note}")
    return dataset
