"""Tables of masks that were made elsewhere equal those that segment writes of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as PillowImage

from cytotome.app.measure.run import MeasureOptions, run_measure
from cytotome.app.segment.run import run_segment
from cytotome.app.segment.settings import SegmentOptions
from cytotome.errors import ConfigError, DataError
from cytotome.io.labels import read_label_map, write_label_map


@pytest.fixture
def results(plate: Path, tmp_path: Path, model_file: Path) -> Path:
    run_segment([str(plate)], tmp_path / "out", SegmentOptions(str(model_file), coco=True, device="cpu", quiet=True))
    return tmp_path / "out"


@pytest.mark.parametrize("masks", ["", "cells.json"])
def test_unchanged_masks_give_the_tables_of_segment(plate: Path, tmp_path: Path, results: Path, masks: str) -> None:
    assert run_measure(results / masks, str(plate), MeasureOptions(tmp_path / "again", quiet=True)) == 0
    for name in ("cells.csv", "images.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (results / name).read_bytes()


@pytest.mark.parametrize("name", ["geojson", "imagej"])
def test_exported_outlines_give_the_tables_of_segment(plate: Path, tmp_path: Path, model_file: Path, name: str) -> None:
    options = SegmentOptions(str(model_file), exports=(name,), device="cpu", quiet=True)
    run_segment([str(plate)], tmp_path / "out", options)
    for path in (tmp_path / "out").rglob("*_labels.tif"):  # label maps would be preferred
        path.unlink()
    assert run_measure(tmp_path / "out", str(plate), MeasureOptions(tmp_path / "again", quiet=True)) == 0
    for table in ("cells.csv", "images.csv"):
        assert (tmp_path / "again" / table).read_bytes() == (tmp_path / "out" / table).read_bytes()


def test_corrected_masks_are_measured_as_they_are(plate: Path, tmp_path: Path, results: Path) -> None:
    path = results / "top_labels.tif"
    labels = read_label_map(path)
    first, second = np.unique(labels)[1:3]
    labels[labels == first] = 0
    labels[:4, :5] = 900
    write_label_map(path, labels, None)
    options = MeasureOptions(tmp_path / "again", microns=2.0, quiet=True)
    run_measure(results, str(plate), options)
    before, after = (
        pd.read_csv(folder / "cells.csv").query("image == 'top.png'") for folder in (results, tmp_path / "again")
    )
    assert first not in after["cell"].to_numpy()
    kept = after.set_index("cell")
    assert kept.loc[900, ["area_pixels", "area_um2", "score"]].tolist() == [20, 80, 1]
    assert kept.loc[second, "score"] == before.set_index("cell").loc[second, "score"]


def test_one_image_that_does_not_fit_stops_no_other(
    plate: Path, tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(plate / "top.png"), np.eye(50, dtype=np.uint8))
    (results / "A01" / "one_labels.tif").unlink()
    assert run_measure(results, str(plate), MeasureOptions(tmp_path / "again")) == 1
    table = pd.read_csv(tmp_path / "again" / "images.csv")
    assert table["image"].tolist() == ["A01/two.png", "B02/well.png"]
    said = capsys.readouterr()
    assert "2 of 4 images measured" in said.out
    assert "1 of 4 images could not be measured:" in said.err
    assert "top.png: the image is 50x50 (height x width), its annotation 96x128" in said.err
    assert "1 of 4 images have no masks, the first is A01/one.png" in said.err


def test_nothing_is_replaced_unasked(plate: Path, tmp_path: Path, results: Path) -> None:
    before = (results / "cells.csv").read_bytes()
    with pytest.raises(ConfigError, match=r"cells\.csv: already exists; use --overwrite to replace it"):
        run_measure(results, str(plate), MeasureOptions(results, quiet=True))
    assert (results / "cells.csv").read_bytes() == before
    (tmp_path / "other").mkdir()
    cv2.imwrite(str(tmp_path / "other" / "x.png"), np.eye(50, dtype=np.uint8))
    with pytest.raises(DataError, match="no masks for any image in"):
        run_measure(results, str(tmp_path / "other"), MeasureOptions(tmp_path / "again", quiet=True))
    with pytest.raises(ConfigError, match="microns: expected a positive number"):
        MeasureOptions(tmp_path, microns=0.0)


@pytest.fixture
def stacks(tmp_path: Path, pictures: list[np.ndarray]) -> Path:
    """Two stacks of two pages: the second is darker by far."""
    (tmp_path / "stacks").mkdir()
    for name, first in (("a.tif", 0), ("b.tif", 2)):
        pages = np.stack([pictures[first], pictures[first + 1] // 8])
        tifffile.imwrite(tmp_path / "stacks" / name, pages, photometric="minisblack")
    return tmp_path / "stacks"


@pytest.mark.parametrize("page", [0, 1, "all"])
@pytest.mark.parametrize("masks", ["", "cells.json"])
def test_the_page_that_was_segmented_is_measured(
    stacks: Path, tmp_path: Path, model_file: Path, page: int | Literal["all"], masks: str
) -> None:
    options = SegmentOptions(str(model_file), page=page, microns=0.5, coco=True, device="cpu", quiet=True)
    assert run_segment([str(stacks)], tmp_path / "out", options) == 0
    assert run_measure(tmp_path / "out" / masks, str(stacks), MeasureOptions(tmp_path / "again", quiet=True)) == 0
    for name in ("cells.csv", "images.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.parametrize("masks", ["", "cells.json"])
def test_each_image_is_measured_as_its_own_run_saw_it(
    stacks: Path, tmp_path: Path, model_file: Path, masks: str
) -> None:
    for number, path in enumerate(sorted(stacks.iterdir())):
        options = SegmentOptions(
            str(model_file), page=1 - number, microns=1.0 + number, coco=True, device="cpu", quiet=True
        )
        assert run_segment([str(path)], tmp_path / "out", options) == 0
    assert run_measure(tmp_path / "out" / masks, str(stacks), MeasureOptions(tmp_path / "again", quiet=True)) == 0
    for name in ("cells.csv", "images.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def square(folder: Path, name: str, microns: float | None = None) -> Path:
    """A label map with the cell 7 of 10 x 10 pixels in the image of 96 x 128."""
    labels = np.zeros((96, 128), np.int32)
    labels[10:20, 10:20] = 7
    write_label_map(folder / name, labels, microns)
    return folder


def test_another_page_is_measured_by_choice(
    stacks: Path, tmp_path: Path, pictures: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    masks = square(tmp_path / "masks", "a_labels.tif")
    expected = {None: pictures[0][10:20, 10:20].mean(), 1: (pictures[1] // 8)[10:20, 10:20].mean()}
    for page, mean in expected.items():
        run_measure(masks, str(stacks), MeasureOptions(tmp_path / "again", page=page, overwrite=True))  # type: ignore[arg-type]
        assert pd.read_csv(tmp_path / "again" / "cells.csv")["intensity_mean"].tolist() == [pytest.approx(mean)]
        note = "note: several pages, only page 0 was measured (see --page): a.tif"
        assert (note in capsys.readouterr().out) == (page is None)
    assert run_measure(masks, str(stacks), MeasureOptions(tmp_path / "again", page=2, overwrite=True)) == 1
    assert "has no page 2; it has pages 0 to 1" in capsys.readouterr().err


def test_a_page_without_any_signal_is_measured(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    (tmp_path / "stacks").mkdir()
    pages = np.stack([pictures[0], np.full_like(pictures[0], 3)])
    tifffile.imwrite(tmp_path / "stacks" / "a.tif", pages, photometric="minisblack")
    masks = square(tmp_path / "masks", "a_labels.tif")
    assert run_measure(masks, str(tmp_path / "stacks"), MeasureOptions(tmp_path / "again", page=1, quiet=True)) == 0
    found = pd.read_csv(tmp_path / "again" / "cells.csv")
    assert found[["intensity_mean", "intensity_deviation"]].to_numpy().tolist() == [[3, 0]]


def test_masks_of_single_pages_go_with_no_other_page(stacks: Path, tmp_path: Path) -> None:
    masks = square(tmp_path / "masks", "a_p001_labels.tif")
    with pytest.raises(ConfigError, match=r"--page 0: a\.tif has masks of single pages, such as a_p001; omit --page"):
        run_measure(masks, str(stacks), MeasureOptions(tmp_path / "again", page=0, quiet=True))
    assert run_measure(masks, str(stacks), MeasureOptions(tmp_path / "again", quiet=True)) == 0
    assert pd.read_csv(tmp_path / "again" / "images.csv")["image"].tolist() == ["a_p001.tif"]


def test_a_colour_is_measured_by_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    (tmp_path / "images").mkdir()
    PillowImage.fromarray(colour).save(tmp_path / "images" / "a.png")
    masks = square(tmp_path / "masks", "a.png")
    means = colour[10:20, 10:20].mean(axis=(0, 1))
    for channel, mean in zip((None, "green", "blue"), (means @ (0.299, 0.587, 0.114), *means[1:]), strict=True):
        options = MeasureOptions(tmp_path / "again", channel=channel, overwrite=True, quiet=True)
        assert run_measure(masks, str(tmp_path / "images"), options) == 0
        found = pd.read_csv(tmp_path / "again" / "cells.csv")["intensity_mean"]
        assert found.tolist() == [pytest.approx(mean, rel=1e-5)]
    with pytest.raises(ConfigError, match="--channel 2: expected one of red, green, blue; other channels are pages"):
        MeasureOptions(tmp_path, channel="2")
    PillowImage.fromarray(colour[:, :, 0]).save(tmp_path / "images" / "a.png")
    assert run_measure(masks, str(tmp_path / "images"), options) == 1
    assert "a.png: the image is grey and has no channel blue" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("of_masks", "of_image", "given", "expected"),
    [(0.5, None, None, 0.5), (0.5, 0.25, None, 0.5), (None, 0.25, None, 0.25), (0.5, 0.25, 2.0, 2.0)],
)
def test_microns_are_those_given_or_of_the_masks_or_of_the_image(
    tmp_path: Path,
    of_masks: float | None,
    of_image: float | None,
    given: float | None,
    expected: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    masks = square(tmp_path / "masks", "a_labels.tif", of_masks)
    (tmp_path / "images").mkdir()
    size = {} if of_image is None else {"PhysicalSizeX": of_image, "PhysicalSizeY": of_image}
    pixels = np.arange(96 * 128, dtype=np.uint16).reshape(96, 128)
    tifffile.imwrite(tmp_path / "images" / "a.tif", pixels, ome=True, metadata={"axes": "YX"} | size)
    assert run_measure(masks, str(tmp_path / "images"), MeasureOptions(tmp_path / "again", given)) == 0
    table = pd.read_csv(tmp_path / "again" / "cells.csv")
    assert table["area_um2"].tolist() == [pytest.approx(100 * expected**2)]
    said = (
        "note: microns per pixel are 0.5 in the masks, which are used, and 0.25 in the image: a.tif"
        in capsys.readouterr().out
    )
    assert said == (of_masks == 0.5 and of_image == 0.25 and given is None)


def test_pixels_that_are_not_square_are_told(
    tmp_path: Path, model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = square(tmp_path / "masks", "a_labels.tif")
    (tmp_path / "images").mkdir()
    pixels = np.arange(96 * 128, dtype=np.uint16).reshape(96, 128)
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 1.0}
    tifffile.imwrite(tmp_path / "images" / "a.tif", pixels, ome=True, metadata={"axes": "YX"} | sizes)
    note = "note: pixels are not square (0.5 x 1 microns), so lengths are in pixels only"
    for microns in (None, 0.5):
        run_measure(masks, str(tmp_path / "images"), MeasureOptions(tmp_path / "again", microns, overwrite=True))
        assert (note in capsys.readouterr().out) == (microns is None)
        options = SegmentOptions(str(model_file), microns=microns, device="cpu")
        run_segment([str(tmp_path / "images")], tmp_path / f"out {microns}", options)
        assert (note in capsys.readouterr().out) == (microns is None)


def test_a_mask_of_black_and_white_is_refused(plate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((96, 128), np.uint8)
    mask[10:20, 10:20] = mask[40:60, 70:90] = 255
    (tmp_path / "masks").mkdir()
    PillowImage.fromarray(mask).save(tmp_path / "masks" / "top_mask.png")
    assert run_measure(tmp_path / "masks", str(plate), MeasureOptions(tmp_path / "again", quiet=True)) == 1
    said = capsys.readouterr().err
    assert "top_mask.png: all cells share one mask (black and white): its only label 255 lies in 2 places" in said
    assert len(pd.read_csv(tmp_path / "again" / "cells.csv")) == 0


def test_a_table_of_a_spreadsheet_keeps_scores_and_classes(plate: Path, tmp_path: Path, results: Path) -> None:
    table = pd.read_csv(results / "cells.csv")
    table["class"] = np.where(table["cell"] % 2 == 0, "cort", "astro")
    table.to_csv(results / "cells.csv", sep=";", decimal=",", index=False)
    run_measure(results, str(plate), MeasureOptions(tmp_path / "again", quiet=True))
    again = pd.read_csv(tmp_path / "again" / "cells.csv")
    pd.testing.assert_frame_equal(
        again[["image", "cell", "class", "score"]], table[["image", "cell", "class", "score"]]
    )
    assert again["score"].nunique() > 1


def test_label_maps_beside_their_images_are_no_images(tmp_path: Path, plate: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    (plate / "top.png").rename(folder / "a.png")
    labels = np.zeros((96, 128), np.int32)
    labels[10:20, 10:20] = 7
    write_label_map(folder / "a_labels.tif", labels, None)
    assert run_measure(folder, str(folder), MeasureOptions(tmp_path / "again", quiet=True)) == 0
    assert pd.read_csv(tmp_path / "again" / "cells.csv")[["image", "cell", "area_pixels"]].to_numpy().tolist() == [
        ["a.png", 7, 100]
    ]
