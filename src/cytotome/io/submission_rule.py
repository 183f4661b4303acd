"""The challenge's rule for submissions, checked by reading the file back."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping

import numpy as np

from cytotome.errors import DataError
from cytotome.io.rle import decode_rle
from cytotome.io.submission import COLUMNS
from cytotome.ops.runs import joined_flat_runs
from cytotome.types import Instances


def check_submission(path: str | os.PathLike[str], shapes: Mapping[str, tuple[int, int]]) -> dict[str, Instances]:
    """Reads a submission and checks that it is valid.

    The columns are id and predicted. Every image has a row, and there are no other ids; an image without cells has one
    empty row. Runs are row-major, 1-based, increasing, separate from each other and within the image. No two masks of
    an image share a pixel.

    Args:
        path: the CSV.
        shapes: ``(H, W)`` of every image of the test set.

    Returns:
        The instances of each image.

    Raises:
        DataError: for the first error found.
    """
    rows: dict[str, list[str]] = {}
    for image_id, text in _rows(path):
        if image_id not in shapes:
            raise DataError(f"{path}: {image_id!r} is not an image of the test set; remove its rows")
        rows.setdefault(image_id, []).append(text)
    if missing := [image_id for image_id in shapes if image_id not in rows]:
        raise DataError(f"{path}: {len(missing)} images have no row, first {missing[0]!r}; write an empty one")
    return {image_id: _legal(path, image_id, texts, shapes[image_id]) for image_id, texts in rows.items()}


def _rows(path: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    with open(path, newline="", encoding="utf-8") as handle:
        reader = csv.reader(handle)
        if tuple(next(reader, ())) != COLUMNS:
            raise DataError(f"{path}: the first line must be {','.join(COLUMNS)}; write it again")
        for row in reader:
            if len(row) != len(COLUMNS):
                raise DataError(f"{path}: line {reader.line_num} has {len(row)} fields, not 2; write it again")
            yield row[0], row[1]


def _legal(path: object, image_id: str, texts: list[str], shape: tuple[int, int]) -> Instances:
    if texts != [""] and "" in texts:
        raise DataError(f"{path}: image {image_id!r} has an empty row as well as cells; remove the empty row")
    filled = [text for text in texts if text]
    try:
        instances = decode_rle(filled, shape)
    except DataError as error:
        raise DataError(f"{path}: image {image_id!r}: {error}") from None
    starts, lengths, owners = joined_flat_runs(instances)
    for index, text in enumerate(filled):
        canonical = np.stack([starts[owners == index] + 1, lengths[owners == index]], axis=1).ravel()
        if text.split(" ") != [str(value) for value in canonical]:
            raise DataError(
                f"{path}: image {image_id!r}: the runs of cell {index + 1} do not increase, or touch; sort them"
            )
    painted = np.zeros(shape, np.int64)
    for row, start, stop in instances.runs:
        painted[row, start:stop] += 1
    if painted.max(initial=0) > 1:
        raise DataError(f"{path}: image {image_id!r}: {(painted > 1).sum()} pixels are in two cells; resolve overlaps")
    return instances
