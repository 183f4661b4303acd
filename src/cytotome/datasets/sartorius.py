"""The Sartorius challenge's own layout: ``train.csv``, ``train/*.png`` and folders of unlabelled images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from cytotome.datasets.files import (
    check_shape,
    check_unique,
    content_digest,
    image_files,
    is_image,
    note_of_others,
    walk,
)
from cytotome.errors import DataError
from cytotome.io.images import read_image
from cytotome.io.rle import decode_rle
from cytotome.types import Dataset, Instances, MaskQuality, Note, Sample, SampleInfo

CELL_TYPES = ("cort", "astro", "shsy5y")
UNLABELLED_FOLDERS = ("test", "train_semi_supervised")
COLUMNS = ("id", "annotation", "width", "height", "cell_type")


class SartoriusDataset(Dataset):
    """Images of the Sartorius Cell Instance Segmentation challenge (2021).

    ``folds.csv`` (id, fold) and ``provenance.csv`` (id, masks) are used if they are next to ``train.csv``: masks marked
    as approximate are used for training, never for evaluation. Images of one ``sample_id`` form a group.

    Args:
        root: folder with ``train.csv`` and ``train/``.
        unlabelled: include the images of ``test/`` and ``train_semi_supervised/``, without instances.

    Raises:
        DataError: if a table is missing, damaged or lacks the challenge's columns, or an image is missing.
    """

    licence = "CC BY-NC 4.0 (Sartorius Cell Instance Segmentation, 2021)"

    def __init__(self, root: str | os.PathLike[str], *, unlabelled: bool = True) -> None:
        self.root = Path(root)
        self.name = "sartorius"
        rows = _read_table(self.root / "train.csv", COLUMNS)
        kinds = [str(kind) for kind in rows["cell_type"].unique()]
        self.class_names = CELL_TYPES + tuple(sorted(set(kinds) - {*CELL_TYPES, ""}))
        folds = _read_columns(self.root / "folds.csv", "fold")
        masks = _read_columns(self.root / "provenance.csv", "masks")
        self._rows: dict[str, tuple[list[str], tuple[int, int]]] = {}
        infos = []
        for key, part in rows.groupby("id", sort=False):
            first = part.iloc[0]
            self._rows[str(key)] = (part["annotation"].tolist(), _shape(first, self.root / "train.csv"))
            quality: MaskQuality = "approximate" if masks.get(str(key)) == "approximate" else "full"
            fold = _fold(folds[str(key)], self.root / "folds.csv") if str(key) in folds else None
            group = str(first.get("sample_id", "")) or str(key)
            infos.append(SampleInfo(str(key), str(first["cell_type"]), group, fold, quality))
        self._files = {info.id: self.root / "train" / f"{info.id}.png" for info in infos}
        missing = [path for path in self._files.values() if not path.is_file()]
        if missing:
            raise DataError(f"{missing[0]}: listed in train.csv but missing ({len(missing)} such); unpack all images")
        for path in _unlabelled_files(self.root, set(self._files)) if unlabelled else ():
            self._files[path.stem] = path
            infos.append(SampleInfo(path.stem, group=path.stem, mask_quality="none"))
        self.infos = check_unique(infos, self.root)
        self.notes = self._notes()

    def read(self, index: int) -> Sample:
        """One sample with its pixels."""
        info = self.infos[index]
        image = read_image(self._files[info.id])
        instances = self.instances(index)
        if instances is not None:
            check_shape(self._files[info.id], image.shape, instances.shape)
        return Sample(info, image, instances)

    def _notes(self) -> tuple[Note, ...]:
        """Notes of files in the image folders that are not used."""
        used = set(self._files.values())
        extra = tuple(path.name for path in image_files(self.root / "train") if path not in used)
        notes = (Note("images of train/ are not in train.csv and not used", extra, "add their rows"),) if extra else ()
        files = [file for folder in ("train", *UNLABELLED_FOLDERS) for file in walk(self.root / folder)]
        return notes + note_of_others([file for file in files if not is_image(file)], self.root)

    def instances(self, index: int) -> Instances | None:
        """The masks of one sample, without reading its pixels."""
        info = self.infos[index]
        if not info.is_labelled:
            return None
        annotations, shape = self._rows[info.id]
        filled = [text for text in annotations if text.strip()]
        classes = np.full(len(filled), self.class_names.index(info.cell_type) if info.cell_type else -1, np.int32)
        try:
            return decode_rle(filled, shape, classes=classes, class_names=self.class_names)
        except DataError as error:
            raise DataError(f"{self.root / 'train.csv'}: image {info.id}: {error}") from None

    def digest(self, index: int) -> str:
        """Returns a hash of the image's file and its rows in the table."""
        key = self.infos[index].id
        return content_digest(self._files[key], repr(self._rows.get(key)))


def _unlabelled_files(root: Path, labelled: set[str]) -> list[Path]:
    files = [path for folder in UNLABELLED_FOLDERS for path in image_files(root / folder)]
    return [path for path in files if path.stem not in labelled]


def _read_table(path: Path, columns: tuple[str, ...]) -> Any:
    """Reads the table as text, with empty cells as empty strings."""
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: not a table ({str(error).splitlines()[0]}); download it again") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"{path}: the columns {', '.join(missing)} are missing; expected {', '.join(columns)}")
    return table


def _read_columns(path: Path, column: str) -> dict[str, str]:
    """``column`` by id; empty if there is no such file."""
    if not path.is_file():
        return {}
    table = _read_table(path, ("id", column))
    return dict(zip(table["id"], table[column], strict=True))


def _shape(row: Any, source: Path) -> tuple[int, int]:
    try:
        return int(row["height"]), int(row["width"])
    except ValueError:
        size = f"{row['height']!r} x {row['width']!r}"
        raise DataError(f"{source}: image {row['id']} has the size {size}; give whole numbers") from None


def _fold(text: str, source: Path) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{source}: fold {text!r} is not a whole number; use -1 for training only") from None
