"""What a dataset holds, in numbers; follows."""

from __future__ import annotations

from cytotome.types import Dataset


class Summary:
    """Not yet there."""


def summary(dataset: Dataset) -> Summary:
    """Not yet there."""
    raise NotImplementedError
