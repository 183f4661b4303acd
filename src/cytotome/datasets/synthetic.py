"""Synthetic phase-contrast images; the generator follows."""

from __future__ import annotations

from cytotome.types import Dataset


class SyntheticDataset(Dataset):
    """Not yet there."""

    def __init__(self, count: int, seed: int = 0) -> None:
        raise NotImplementedError
