"""Tables in files, CSV or Parquet by the suffix, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cytotome.errors import DataError
from cytotome.io.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (".csv", ".parquet")


def write_table(path: str | os.PathLike[str], table: pd.DataFrame, *, decimals: int | None = None) -> None:
    """Writes a table without its index; the same table gives the same bytes.

    Args:
        path: ``.csv`` or ``.parquet``.
        table: columns of plain values.
        decimals: digits after the point in CSV; all that are needed to read the same numbers back where None.

    Raises:
        DataError: for another suffix.
    """
    suffix = _suffix(path)
    with atomic_path(path) as temporary:
        if suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            layout = None if decimals is None else f"%.{decimals}f"
            table.to_csv(temporary, index=False, lineterminator="\n", float_format=layout)


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The table of a ``.csv`` or ``.parquet`` file.

    Raises:
        DataError: for another suffix, or a file that is missing, empty or damaged.
    """
    import pandas as pd

    suffix = _suffix(path)
    try:
        return pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' and pyarrow's own errors are among these
        raise DataError(f"{path}: cannot be read as a table ({error}); check the file") from None


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise DataError(f"{path}: tables are {' or '.join(TABLE_SUFFIXES)} files, not {suffix or 'without a suffix'}")
    return suffix
