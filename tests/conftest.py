"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images, ``CYTOTOME_DATA`` or ``shared/data`` beside the repository; skips without it."""
    folder = Path(os.environ.get("CYTOTOME_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "sartorius" / "train.csv").is_file():
        pytest.skip(f"no real images at {folder}; set CYTOTOME_DATA to their folder")
    return folder
