"""Example images with masks that come with the package; ``README.md`` in their folder states origin and licences."""

from __future__ import annotations

import shutil
from pathlib import Path

from cytotome.datasets.layouts import open_dataset
from cytotome.errors import ConfigError, DataError
from cytotome.types import Dataset

PACKAGE = Path(__file__).resolve().parents[1]
SAMPLE_FOLDERS = (PACKAGE / "samples", PACKAGE.parents[1] / "examples")
"""Folders of the samples in a wheel and in a source tree."""
SAMPLES = ("glioblastoma", "nuclei")


def samples() -> dict[str, Dataset]:
    """Opens the example images of the package, with their masks.

    >>> import cytotome as ct
    >>> nuclei = ct.samples()["nuclei"]
    >>> print(nuclei[0].image.shape, nuclei[0].instances)
    (256, 256) Instances(45 cells, 256x256, classes cell)

    Returns:
        ``nuclei``: three images of nuclei in fluorescence (Data Science Bowl 2018, CC0); ``glioblastoma``: one
        phase-contrast image of T98G cells (Usiigaci, MIT licence). No bundled model was trained on them.

    Raises:
        DataError: if this installation does not contain them.
    """
    return {name: open_dataset(_folder() / name) for name in SAMPLES}


def copy_samples(folder: Path) -> list[Path]:
    """Copies the example images, their masks and licences to a folder; returns the folders of the datasets.

    Raises:
        ConfigError: if a folder of that name is there.
        DataError: if this installation does not contain the samples.
    """
    copies = [folder / name for name in SAMPLES]
    existing = [path for path in copies if path.exists()]
    if existing:
        raise ConfigError(f"{existing[0]}: already exists; remove it, or choose another folder")
    for copy in copies:
        shutil.copytree(_folder() / copy.name, copy)
    shutil.copy(_folder() / "README.md", folder / "README.md")
    return copies


def _folder() -> Path:
    for folder in SAMPLE_FOLDERS:
        if (folder / SAMPLES[0]).is_dir():
            return folder
    raise DataError("samples: this installation does not contain the example images; install the package again")
