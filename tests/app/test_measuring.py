"""Tables of masks that were made elsewhere equal those that segment writes of its own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cytotome.app.measuring import MeasureOptions, run_measure
from cytotome.app.segmenting import run_segment
from cytotome.app.settings import SegmentOptions
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
    assert "1 of 4 images have no masks, first A01/one.png" in said.err


def test_nothing_is_replaced_unasked(plate: Path, tmp_path: Path, results: Path) -> None:
    before = (results / "cells.csv").read_bytes()
    with pytest.raises(ConfigError, match=r"cells\.csv: is there; give --overwrite to replace it"):
        run_measure(results, str(plate), MeasureOptions(results, quiet=True))
    assert (results / "cells.csv").read_bytes() == before
    (tmp_path / "other").mkdir()
    cv2.imwrite(str(tmp_path / "other" / "x.png"), np.eye(50, dtype=np.uint8))
    with pytest.raises(DataError, match="has no masks of any image in"):
        run_measure(results, str(tmp_path / "other"), MeasureOptions(tmp_path / "again", quiet=True))
    with pytest.raises(ConfigError, match="microns: expected a positive number"):
        MeasureOptions(tmp_path, microns=0.0)


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
