from __future__ import annotations

import numpy as np
import pytest

from cytotome.errors import DataError
from cytotome.io.tables import numbers, read_table

ROWS = [["image", "area", "score"], ["a,b.tif", "3", "0.25"], ["ü.tif", "4", "1e-3"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ","), (";", "."), ("\t", ","), (",", ",")])
def test_tables_of_programs_and_spreadsheets(tmp_path, encoding, ending, separator, decimal):
    rows = [ROWS[0], *([name, area, score.replace(".", decimal)] for name, area, score in ROWS[1:])]
    quoted = ([f'"{value}"' if separator in value else value for value in row] for row in rows)
    text = ending.join(separator.join(row) for row in quoted) + ending + separator * 2 + ending
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    table = read_table(tmp_path / "a.csv")
    assert table["image"] == ["a,b.tif", "ü.tif"]
    np.testing.assert_array_equal(numbers(table, "area", "a"), [3, 4])
    np.testing.assert_array_equal(numbers(table, "score", "a"), [0.25, 0.001])


def test_a_first_line_may_name_the_separator(tmp_path):
    (tmp_path / "a.csv").write_text("sep=;\nimage;score\na;0,5\n")
    assert read_table(tmp_path / "a.csv") == {"image": ["a"], "score": ["0,5"]}


@pytest.mark.parametrize("value", ["x", "1.234,5", "01. Mai"])
def test_text_that_is_no_number_is_named(tmp_path, value):
    (tmp_path / "a.csv").write_text(f"image;score\na;0,5\nb;{value}\n")
    with pytest.raises(DataError, match=rf"^a\.csv: '{value}' in row 2 of the column 'score' is not a number"):
        numbers(read_table(tmp_path / "a.csv"), "score", "a.csv")


def test_an_empty_value_is_not_known(tmp_path):
    (tmp_path / "a.csv").write_text("image,score\na,\nb,1\n")
    np.testing.assert_array_equal(numbers(read_table(tmp_path / "a.csv"), "score", "a.csv"), [np.nan, 1])


@pytest.mark.parametrize("content", [None, b"", b"\n", b"sep=\na\n", b"a,b\n1,2,3,4\n1,2\n1,2,3\n"])
def test_files_that_are_no_tables_are_named(tmp_path, content):
    if content is not None:
        (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.csv: cannot be read as a table"):
        read_table(tmp_path / "a.csv")
