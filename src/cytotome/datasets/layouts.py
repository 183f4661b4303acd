"""Opening a dataset by its path: the layout is told from the files that are there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cytotome.datasets.coco import CocoDataset
from cytotome.datasets.files import note_of_others, walk
from cytotome.datasets.folders import FoldersDataset, has_images
from cytotome.datasets.livecell import LivecellDataset, annotation_files
from cytotome.datasets.sartorius import SartoriusDataset
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.errors import DataError
from cytotome.types import Dataset

SYNTHETIC_COUNT = 12
COCO_SUFFIXES = (".json", ".json.gz")


def open_dataset(path: str | os.PathLike[str], *, layout: str | None = None) -> Dataset:
    """Opens a dataset; nothing but its tables is read until a sample is asked for.

    Args:
        path: a folder, a COCO file, or ``synthetic``, ``synthetic:COUNT`` or ``synthetic:COUNT:SEED``.
        layout: one of :data:`LAYOUTS`; told from the files where None.

    Raises:
        DataError: where the path is missing, the layout is unknown or cannot be told, or the files are damaged.
    """
    if layout is not None and layout not in _OPENERS:
        raise DataError(f"layout {layout!r} is unknown; choose one of {', '.join(LAYOUTS)}")
    text = os.fspath(path)
    if layout == "synthetic" or (layout is None and text.split(":")[0] == "synthetic" and not Path(text).exists()):
        return _open_synthetic(text)
    if not Path(text).exists():
        raise DataError(f"{text}: no such file or folder; check the path")
    return _OPENERS[layout or _guess(Path(text))](text)


def _guess(path: Path) -> str:
    """The layout of a path that is there; a table that names its layout wins over images that lie about."""
    if path.is_file():
        if path.name.endswith(COCO_SUFFIXES):
            return "coco"
        raise DataError(f"{path}: a dataset is a folder or a COCO file (.json, .json.gz); give one of those")
    if (path / "train.csv").is_file():
        return "sartorius"
    if annotation_files(path):
        return "livecell"
    if _coco_files(path):
        return "coco"
    if has_images(path):
        return "folders"
    others = note_of_others([file for part in (path, path / "images") for file in walk(part, recursive=False)], path)
    raise DataError(
        f"{path}: the layout cannot be told; expected train.csv (sartorius), livecell_coco_*.json (livecell), "
        f"one *.json of COCO (coco), or images/ with labels/ (folders){''.join(f'; {note}' for note in others)}"
    )


def _coco_files(root: Path) -> list[Path]:
    found = [path for folder in (root, root / "annotations") for path in folder.glob("*.json*")]
    return sorted(path for path in found if path.name.endswith(COCO_SUFFIXES) and path.name != "run.json")


def _open_coco(text: str) -> Dataset:
    path = Path(text)
    if path.is_file():
        return CocoDataset(path)
    files = _coco_files(path)
    if len(files) != 1:
        names = ", ".join(str(file.relative_to(path)) for file in files) or "none"
        raise DataError(f"{path}: expected one COCO file, found {names}; give the path of the file itself")
    return CocoDataset(files[0], images=path)


def _open_synthetic(text: str) -> Dataset:
    numbers = text.split(":")[1:]
    if len(numbers) > 2 or not all(number.isdigit() for number in numbers):
        raise DataError(f"{text!r}: expected synthetic, synthetic:COUNT or synthetic:COUNT:SEED, whole numbers")
    count, seed = (*map(int, numbers), *(SYNTHETIC_COUNT, 0)[len(numbers) :])
    return SyntheticDataset(count, seed)


_OPENERS: dict[str, Callable[[str], Dataset]] = {
    "sartorius": SartoriusDataset,
    "livecell": LivecellDataset,
    "folders": FoldersDataset,
    "coco": _open_coco,
    "synthetic": _open_synthetic,
}
LAYOUTS = tuple(_OPENERS)
