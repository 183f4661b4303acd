"""The functions of the public surface: their examples run, and they do what the command line does."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

import cytotome as ct
from cytotome.datasets.known_cells import CELLS_FILE
from cytotome.errors import DataError, ImageError
from cytotome.measurement.table import CELL_COLUMNS, cell_rows, head

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
WITH_EXAMPLES = ("api", "datasets.predictions", "instances", "measurement.table", "report.overlay")


@pytest.fixture(scope="module")
def sample() -> ct.Sample:
    return ct.open_dataset("synthetic:1:4")[0]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_in_docstrings_give_what_they_show(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"cytotome.{module}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_page_lists_every_public_name_and_no_other() -> None:
    table = "\n".join(line.split("|")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:3] == "| `")
    assert set(re.findall(r"ct\.(\w+)", table)) == set(ct.__all__)


def test_a_data_frame_has_the_columns_and_values_of_the_table(sample: ct.Sample, tmp_path: Path) -> None:
    assert sample.instances is not None
    image = ct.Image(sample.image.pixels, microns_per_pixel=0.5)
    table = ct.measure(sample.instances, image)
    (tmp_path / CELLS_FILE).write_text(head(CELL_COLUMNS) + cell_rows("a.png", image, sample.instances))
    written = pd.read_csv(tmp_path / CELLS_FILE).drop(columns="image")
    assert list(table.columns) == list(written.columns) == list(CELL_COLUMNS[1:])
    pd.testing.assert_frame_equal(table, written, check_dtype=False, rtol=1e-3, atol=5e-3)


def test_what_is_not_known_is_nan_in_the_data_frame(sample: ct.Sample) -> None:
    assert sample.instances is not None
    table = ct.measure(sample.instances)
    unknown = [name for name in table if str(name).endswith(("_um", "_um2")) or str(name).startswith("intensity")]
    assert len(unknown) == 9
    assert table[unknown].isna().to_numpy().all()
    known = ct.measure(sample.instances, sample.image.pixels, microns_per_pixel=2)
    assert (known["area_um2"] == 4 * known["area_pixels"]).all()
    assert known["intensity_mean"].notna().all()


def test_cells_of_another_image_are_refused(sample: ct.Sample) -> None:
    assert sample.instances is not None
    with pytest.raises(DataError, match=r"the image has shape \(4, 6\), the cells have shape"):
        ct.draw_overlay(np.zeros((4, 6), np.uint8), sample.instances)
    with pytest.raises(DataError, match=r"the image has shape \(4, 6\), the cells have shape"):
        ct.measure(sample.instances, np.zeros((4, 6), np.uint8))


def test_instances_are_written_as_their_label_map_and_read_as_predictions(sample: ct.Sample, tmp_path: Path) -> None:
    assert sample.instances is not None
    dataset = ct.open_dataset("synthetic:1:4")
    ct.write_label_map(tmp_path / f"{sample.info.id}_labels.tif", sample.instances)
    found = ct.read_predictions(str(tmp_path), dataset)
    np.testing.assert_array_equal(found[sample.info.id].to_label_map(), sample.instances.to_label_map())


def test_segment_gives_what_the_model_gives(sample: ct.Sample, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), sample.image.pixels)
    expected = ct.load_model("nuclei", device="cpu").segment(sample.image, min_area=40)
    one = ct.segment(path, "nuclei", device="cpu", min_area=40)
    several = ct.segment([sample.image.pixels, path], "nuclei", device="cpu", min_area=40)
    for found in (one, *several):
        np.testing.assert_array_equal(found.runs, expected.runs)


@pytest.mark.parametrize("shape", [(12, 64, 80), (3, 64, 80), (2, 3, 64, 80)])
def test_a_stack_says_what_to_do(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"moveaxis\(array, 0, -1\), or give the images of a stack .* list\(array\)"):
        ct.segment(np.zeros(shape, np.uint8), "nuclei", device="cpu")


def test_notebooks_are_shown_pictures(sample: ct.Sample) -> None:
    def shown(value: Any) -> np.ndarray[Any, Any]:
        data = np.frombuffer(value._repr_png_(), np.uint8)
        return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]

    cells = sample.instances
    assert cells is not None
    labels = cells.to_label_map()
    np.testing.assert_array_equal(shown(cells).any(axis=2), labels > 0)
    np.testing.assert_array_equal(shown(sample), ct.draw_overlay(sample.image, cells))
    bare = ct.draw_overlay(sample.image, ct.Instances.empty(sample.image.shape))
    np.testing.assert_array_equal(shown(sample.image), bare)
    assert ct.Instances.empty((2, 5000))._repr_png_() is None
    assert ct.Image(np.ones((5000, 2), np.uint8))._repr_png_() is None


def test_notebooks_are_shown_a_table_of_scores(sample: ct.Sample) -> None:
    dataset = ct.open_dataset("synthetic:2:4")
    truths = {one.info.id: one.instances for one in dataset if one.instances is not None}
    found = ct.evaluate(truths, dataset)
    assert found.to_frame().loc["overall", ["images", "mean_ap", "f1"]].tolist() == [2, 1.0, 1.0]
    table = found._repr_html_()
    for name in (*found.types, "overall"):
        assert f"<th>{name}</th>" in table


def test_values_are_shown_in_one_line(sample: ct.Sample) -> None:
    image = ct.Image(np.zeros((4, 6, 3), np.uint16), 0.5, "a.png")
    assert repr(image) == "Image(4x6x3 uint16, 0.5 microns per pixel, 'a.png')"
    unlabelled = ct.Sample(ct.SampleInfo("a", cell_type="cort"), ct.Image(np.zeros((4, 6), np.uint8)))
    assert repr(unlabelled) == "Sample('a', cort, Image(4x6 uint8, 'image'), None)"
    assert repr(ct.open_dataset("synthetic:3")[:2]).startswith("Subset('synthetic', 2 images, classes ")
