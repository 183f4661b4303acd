from __future__ import annotations

import re

import numpy as np
import pytest

from cytotome.errors import DataError
from cytotome.io.submission import read_submission, write_submission
from cytotome.types import Instances


def overlapping():
    masks = np.zeros((2, 2, 6), bool)
    masks[0, 0, :4] = True
    masks[1, 0, 3:] = True
    return Instances.from_masks(masks, scores=[0.4, 0.9])


def test_one_row_a_cell_and_an_empty_row_for_an_image_without_any(tmp_path):
    write_submission(tmp_path / "s.csv", {"a": overlapping(), "b": Instances.empty((2, 6))})
    assert (tmp_path / "s.csv").read_text() == "id,predicted\na,1 3\na,4 3\nb,\n"


def test_overlaps_stay_where_asked_and_come_back(tmp_path):
    write_submission(tmp_path / "s.csv", {"a": overlapping(), "b": Instances.empty((2, 6))}, policy=None)
    for shape_of in ({"a": (2, 6), "b": (2, 6)}, lambda image_id: (2, 6)):
        read = read_submission(tmp_path / "s.csv", shape_of)
        assert list(read) == ["a", "b"]
        np.testing.assert_array_equal(read["a"].runs, overlapping().runs)
        assert len(read["b"]) == 0


def test_the_samples_format_is_read(real_data):
    read = read_submission(real_data / "sartorius" / "sample_submission.csv", lambda image_id: (520, 704))
    assert list(read) == ["7ae19de7bc2a", "d48ec7815252", "d8bfd1dafdc4"]
    assert read["d48ec7815252"].areas.tolist() == [13]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a CSV file"),
        ("id,annotation\na,1 2\n", "predicted is missing"),
        ("id,predicted\nq,1 2\n", "image 'q' is not in the truth"),
        ("id,predicted\na,1 2 3\n", "image 'a': run lengths: row 0 has an odd count"),
        ("id,predicted\na,13 1\n", "does not fit an image of 2x6"),
        ('id,predicted\na,"1 2\n', "not a CSV file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=r"s\.csv: .*" + re.escape(message)):
        read_submission(tmp_path / "s.csv", {"a": (2, 6)})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        read_submission(tmp_path / "none.csv", {})
