"""CSV tables, as saved by programs and spreadsheets in any locale."""

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
    """Reads the table of a CSV file, without spaces around values; empty rows are left out.

    Columns are separated by commas, semicolons or tabs: whichever is the most frequent in the first line, or is given
    by a line ``sep=;`` before it. The text is UTF-8 or, if it cannot be decoded as such, Windows-1252.

    Raises:
        DataError: if the file is missing, empty or not a table.
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
    """``(N,)`` float64 of a column of text, with a decimal point or comma; NaN if empty.

    Raises:
        DataError: if a text is not a number, with ``source`` and the row in the message.
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
