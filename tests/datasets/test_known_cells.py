"""Scores and classes come back from cells.csv, whoever saved it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cytotome.datasets.known_cells import read_known_cells
from cytotome.errors import DataError
from cytotome.measurement.table import CELL_COLUMNS, cell_rows, head
from cytotome.types import Image, Instances


@pytest.fixture
def cells() -> Instances:
    masks = np.zeros((3, 20, 30), bool)
    masks[0, 2:6, 3:7] = masks[1, 8:12, 10:20] = masks[2, 15:18, 2:9] = True
    names = ("cort", "astro")
    return Instances.from_masks(
        masks, scores=[0.5, 0.0625, 0.125], classes=[0, -1, 1], ids=[4, 9, 11], class_names=names
    )


@pytest.fixture
def table(tmp_path: Path, cells: Instances) -> Path:
    path = tmp_path / "cells.csv"
    path.write_text(head(CELL_COLUMNS) + cell_rows("plate/a.tif", Image(np.eye(20, 30, dtype=np.float32)), cells))
    return path


def as_a_spreadsheet_of_germany_saves(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_bytes("\r\n".join(line.replace(",", ";").replace(".", ",") for line in lines).encode("utf-8-sig"))
    path.write_bytes(path.read_bytes().replace(b"a,tif", b"a.tif"))


@pytest.mark.parametrize("spreadsheet", [False, True])
def test_scores_and_classes_come_back(table: Path, cells: Instances, spreadsheet: bool) -> None:
    if spreadsheet:
        as_a_spreadsheet_of_germany_saves(table)
        assert "0,0625" in table.read_text()
    known = read_known_cells(table)
    assert known is not None
    bare = Instances.from_masks(np.ones((3, 20, 30), bool), ids=[4, 11, 99])
    found = known.apply("plate/a", bare)
    np.testing.assert_array_equal(found.scores, np.float32([0.5, 0.125, 1]))
    assert found.class_names == ("astro", "cort")
    assert found.classes.tolist() == [1, 0, -1]
    assert known.apply("other", bare) is bare


def test_rows_that_are_there_twice_count_once_unless_they_differ(table: Path) -> None:
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*lines, *lines[1:]]))
    known = read_known_cells(table)
    assert known is not None
    assert known.cells == {"plate/a": {4: (0.5, "cort"), 9: (0.0625, ""), 11: (0.125, "astro")}}
    table.write_text("".join([*lines, lines[1].replace("0.5000", "0.7000")]))
    with pytest.raises(DataError, match=r"cells\.csv: row 4: cell 4 of plate/a\.tif occurs twice with different"):
        read_known_cells(table)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.tif,1.5,0.5", "row 1: cell must be a whole number from 1, got 1.5"),
        ("a.tif,0,0.5", "row 1: cell must be a whole number from 1, got 0"),
        ("a.tif,,0.5", "row 1: cell must be a whole number from 1, got nan"),
        ("a.tif,1,50", "row 1: score must lie in 0 to 1, got 50"),
        ("a.tif,1,high", "'high' in row 1 of the column 'score' is not a number"),
    ],
)
def test_numbers_that_cannot_be_are_refused(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "cells.csv").write_text(f"image,cell,score\n{row}\n")
    with pytest.raises(DataError, match=rf"cells\.csv: {message}"):
        read_known_cells(tmp_path / "cells.csv")


def test_a_table_of_another_kind_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "cells.csv").write_text("ImageNumber,ObjectNumber\n1,1\n")
    assert read_known_cells(tmp_path / "cells.csv") is None
