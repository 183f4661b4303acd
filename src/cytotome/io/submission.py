"""The challenge's submission: a CSV of ``id, predicted``, one row per cell."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from cytotome.errors import DataError
from cytotome.io.files import atomic_path
from cytotome.io.rle import decode_rle, encode_rle
from cytotome.ops.labels import OverlapPolicy, resolve_overlaps
from cytotome.types import Instances

COLUMNS = ("id", "predicted")

ShapeOf = Callable[[str], tuple[int, int]] | Mapping[str, tuple[int, int]]


def read_submission(path: str | os.PathLike[str], shape_of: ShapeOf) -> dict[str, Instances]:
    """Returns the instances of each image, in the order of the file; an empty ``predicted`` is an image without cells.

    Args:
        path: CSV with the columns id and predicted.
        shape_of: ``(H, W)`` of an image id, as a function or a mapping.

    Raises:
        DataError: if the file cannot be read, a column is missing, an id is unknown or run lengths are damaged.
    """
    rows = _rows_by_id(Path(path))
    lookup = shape_of.__getitem__ if isinstance(shape_of, Mapping) else shape_of
    submission = {}
    for image_id, texts in rows.items():
        try:
            submission[image_id] = decode_rle(texts, lookup(image_id))
        except KeyError:
            raise DataError(f"{path}: image {image_id!r} is not in the truth; check the ids") from None
        except DataError as error:
            raise DataError(f"{path}: image {image_id!r}: {error}") from None
    return submission


def _rows_by_id(path: Path) -> dict[str, list[str]]:
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except ValueError as error:  # pandas' own errors are among these
        raise DataError(f"{path}: not a CSV file ({error}); write it again") from None
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise DataError(f"{path}: a submission needs the columns id,predicted; {', '.join(missing)} is missing")
    rows: dict[str, list[str]] = {}
    for image_id, text in zip(table["id"], table["predicted"], strict=True):
        texts = rows.setdefault(image_id, [])
        if text.strip():
            texts.append(text)
    return rows


def write_submission(
    path: str | os.PathLike[str], submission: Mapping[str, Instances], *, policy: OverlapPolicy | None = "score"
) -> None:
    """Writes one row per cell, and one empty row for an image without cells; the file is written atomically.

    Args:
        path: the CSV.
        submission: instances by image id.
        policy: how shared pixels are assigned to one cell, since the challenge does not allow overlaps; None keeps
            them.
    """
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for image_id, instances in submission.items():
            legal = instances if policy is None else resolve_overlaps(instances, policy)
            writer.writerows((image_id, text) for text in encode_rle(legal) or [""])
