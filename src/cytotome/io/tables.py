"""Tables in files, CSV or Parquet by the suffix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cytotome.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (".csv", ".parquet")


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
