"""Tables in CSV files, as programs and spreadsheets of any country save them."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cytotome.errors import DataError

SEPARATORS = (",", ";", "\t")


Table = dict[str, list[str]]
"""The values of each column as text, by its name."""


def read_table(path: str | os.PathLike[str]) -> Table:
    """The table of a CSV file, without blanks around values; rows without any value are left out.

    Columns may be set apart by commas, semicolons or tabs: by the one that the first line has most of, or that a line
    ``sep=;`` before it names. The text is UTF-8, or Windows-1252 where it cannot be that.

    Raises:
        DataError: if the file is missing, empty or no table.
    """
    try:
        text = _decoded(Path(path).read_bytes())
        first, _, rest = text.partition("\n")
        if first.strip("\r").lower().startswith("sep="):
            separator, text = first.strip("\r")[4:5], rest
        else:
            separator = max(SEPARATORS, key=first.count)
        rows = [[value.strip() for value in row] for row in csv.reader(io.StringIO(text), delimiter=separator)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}); check the file") from None
    head, *rows = [row for row in rows if any(row)] or [[]]
    while head and not head[-1]:
        head.pop()
    if not head:
        raise DataError(f"{path}: cannot be read as a table (it is empty); check the file")
    for number, row in enumerate(rows, start=1):
        if any(row[len(head) :]):
            raise DataError(
                f"{path}: cannot be read as a table (row {number} has more values than there are columns); "
                "check the file"
            )
    return {name: [row[k] if k < len(row) else "" for row in rows] for k, name in enumerate(head)}


def numbers(table: Table, column: str, source: object) -> npt.NDArray[np.float64]:
    """``(N,)`` float64 of a column of text, with a decimal point or comma; NaN where it is empty.

    Raises:
        DataError: for text that is no number, naming ``source`` and the row.
    """
    values = np.full(len(table[column]), np.nan)
    for row, text in enumerate(table[column]):
        try:
            values[row] = float(text.replace(",", ".")) if text else np.nan
        except ValueError:
            raise DataError(
                f"{source}: {text!r} in row {row + 1} of the column {column!r} is not a number; correct it"
            ) from None
    return values


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")
