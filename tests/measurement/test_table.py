"""Lines of the tables, read back by pandas and worked by hand."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from cytotome.measurement.counts import count_cells
from cytotome.measurement.table import CELL_COLUMNS, IMAGE_COLUMNS, cell_rows, image_row
from cytotome.types import Image, Instances


@pytest.fixture
def two_squares() -> Instances:
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 2:6, 3:7] = True
    masks[1, 5:15, 10:20] = True
    names = ("cort, young", "astro")
    return Instances.from_masks(masks, scores=[0.5, 0.25], classes=[0, -1], ids=[4, 9], class_names=names)


def read(columns: tuple[str, ...], rows: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(",".join(columns) + "\n" + rows))


def test_a_row_a_cell_in_pixels_and_microns(two_squares: Instances) -> None:
    image = Image(np.full((20, 30), 7, np.uint16), microns_per_pixel=0.5)
    table = read(CELL_COLUMNS, cell_rows('100 %, "A1".png', image, two_squares))
    first, second = table.to_dict("records")
    assert first["image"] == '100 %, "A1".png'
    assert (first["cell"], first["class"], first["score"]) == (4, "cort, young", 0.5)
    assert (first["top"], first["left"], first["bottom"], first["right"]) == (2, 3, 6, 7)
    assert (first["centroid_y"], first["centroid_x"]) == (3.5, 4.5)
    assert (first["area_pixels"], first["area_um2"]) == (16, 4)
    assert first["perimeter_um"] == first["perimeter_pixels"] / 2 == 6
    assert first["intensity_mean"] == 7
    assert second["cell"] == 9
    assert second["class"] == "unknown"


def test_microns_are_empty_where_the_file_does_not_know_them(two_squares: Instances) -> None:
    table = read(CELL_COLUMNS, cell_rows("a.png", Image(np.zeros((20, 30), np.uint8)), two_squares))
    in_microns = [name for name in CELL_COLUMNS if name.endswith(("_um", "_um2"))]
    assert len(in_microns) == 5
    assert table[in_microns].isna().to_numpy().all()
    assert table.drop(columns=[*in_microns, "class"]).notna().to_numpy().all()


def test_an_image_without_cells_has_a_row_among_the_images_only() -> None:
    image, cells = Image(np.zeros((4, 6), np.uint8)), Instances.empty((4, 6))
    assert cell_rows("a.png", image, cells) == ""
    row = image_row("a.png", image, count_cells(cells, cells.to_label_map()))
    (found,) = read(IMAGE_COLUMNS, row).to_dict("records")
    assert (found["height"], found["width"], found["cells"], found["confluence"]) == (4, 6, 0, 0)
    assert np.isnan(found["mean_area_pixels"])


def test_an_image_is_counted(two_squares: Instances) -> None:
    image = Image(np.zeros((20, 30), np.uint8), microns_per_pixel=2.0)
    row = image_row("a.png", image, count_cells(two_squares, two_squares.to_label_map()))
    (found,) = read(IMAGE_COLUMNS, row).to_dict("records")
    assert (found["cells"], found["mean_area_pixels"], found["mean_area_um2"]) == (2, 58, 232)
    assert found["confluence"] == pytest.approx(116 / 600, abs=1e-6)
