from __future__ import annotations

import pandas as pd
import pytest

from cytotome.errors import DataError
from cytotome.io.tables import read_table

TABLE = pd.DataFrame({"image": ["a", "b"], "area": [3, 4], "score": [0.1 + 0.2, 1e-9]})


def test_tables_are_read_by_their_suffix(tmp_path):
    TABLE.to_csv(tmp_path / "cells.csv", index=False)
    TABLE.to_parquet(tmp_path / "cells.parquet", index=False)
    for name in ("cells.csv", "cells.parquet"):
        pd.testing.assert_frame_equal(read_table(tmp_path / name), TABLE, check_exact=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", None), ("a.csv", b""), ("a.parquet", None), ("a.parquet", b""), ("a.parquet", b"PAR1")],
)
def test_files_that_are_no_tables_are_named(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: cannot be read as a table"):
        read_table(tmp_path / name)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"tables are \.csv or \.parquet files, not \.xlsx"):
        read_table(tmp_path / "cells.xlsx")
