from __future__ import annotations

import os

import pandas as pd
import pytest

from cytotome.errors import DataError
from cytotome.io.tables import read_table, write_table

TABLE = pd.DataFrame({"image": ["a", "b"], "area": [3, 4], "score": [0.1 + 0.2, 1e-9]})


@pytest.mark.parametrize("name", ["cells.csv", "cells.parquet"])
def test_tables_come_back_and_are_the_same_bytes_each_time(tmp_path, name):
    write_table(tmp_path / name, TABLE)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), TABLE, check_exact=True)
    first = (tmp_path / name).read_bytes()
    write_table(tmp_path / name, TABLE)
    assert (tmp_path / name).read_bytes() == first
    assert os.listdir(tmp_path) == [name]


def test_decimals_are_rounded(tmp_path):
    write_table(tmp_path / "cells.csv", TABLE, decimals=2)
    assert (tmp_path / "cells.csv").read_text() == "image,area,score\na,3,0.30\nb,4,0.00\n"


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
        write_table(tmp_path / "cells.xlsx", TABLE)
