"""``cytotome convert``: masks of one format in another, against the masks that went in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cytotome.app.convert.run import ConvertOptions, run_convert
from cytotome.datasets import open_dataset
from cytotome.datasets.predictions import read_predictions
from cytotome.errors import ConfigError, DataError
from cytotome.io.coco import write_coco
from cytotome.io.labels import read_label_map, write_label_map
from cytotome.metrics.evaluate import evaluate
from cytotome.types import Dataset, Instances

FORMATS = {
    "labels": "out",
    "coco": "out.json",
    "coco-polygons": "out.json.gz",
    "submission": "out.csv",
    "geojson": "out",
    "imagej": "out",
}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two images with three cells each, two of which overlap, as a COCO file with its images."""
    cells = {}
    for number, name in enumerate(("one", "two")):
        masks = np.zeros((3, 40, 50), bool)
        for place, (y, x) in enumerate(((10, 12), (14, 20), (28, 34 - 2 * number))):
            picture = masks[place].view(np.uint8)
            cv2.circle(picture, (x, y), 6 + place, 1, -1)
        cells[number] = Instances.from_masks(
            masks, scores=[0.9, 0.5, 0.75], classes=[0, 1, 0], class_names=("cort", "astro")
        )
        path = tmp_path / "truth" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 255, (40, 50)).astype(np.uint8))
    write_coco(tmp_path / "truth" / "truth.json", cells, file_names={0: "one.png", 1: "two.png"})
    return open_dataset(tmp_path / "truth")


@pytest.mark.parametrize("to", FORMATS)
def test_a_dataset_is_converted_and_read_back(
    to: str, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / FORMATS[to]
    assert run_convert(tmp_path / "truth", None, ConvertOptions(output, to)) == 0
    said = capsys.readouterr().out
    assert f"2 of 2 images converted; 6 cells; {output}" in said
    images = open_dataset(tmp_path / "truth")
    found = read_predictions(output, images)
    flat = to in ("labels", "submission")
    assert (evaluate(found, images).score == 1) == (not flat)
    assert evaluate(found, images, coco=False).overall.scores.f1 == 1
    assert ("note: cells overlap; the smaller one keeps shared pixels: 2 images" in said) == flat
    assert ("classes are not stored" in said) == flat
    if not flat:
        cells = found[images.infos[0].id]
        assert [cells.class_names[label] for label in cells.classes] == ["cort", "astro", "cort"]


def test_masks_of_images_are_converted(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Overlaps and numbers pass through ROI sets; an image without masks is named."""
    run_convert(tmp_path / "truth", None, ConvertOptions(tmp_path / "rois", "imagej"))
    (tmp_path / "rois" / "two_rois.zip").unlink()
    images = str(tmp_path / "truth")
    assert run_convert(tmp_path / "rois", images, ConvertOptions(tmp_path / "back.json.gz", "coco")) == 0
    assert "1 of 2 images have no masks, the first is two.png" in capsys.readouterr().err
    cells = dataset.instances(0)
    assert cells is not None
    back = read_predictions(tmp_path / "back.json.gz", dataset)
    assert list(back) == ["one"]
    np.testing.assert_array_equal(back["one"].runs, cells.runs)
    assert run_convert(tmp_path / "back.json.gz", images, ConvertOptions(tmp_path / "maps", "labels")) == 0
    assert set(np.unique(read_label_map(tmp_path / "maps" / "one_labels.tif"))) == {0, 1, 2, 3}


def test_masks_of_single_pages_are_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stacks").mkdir()
    pages = np.random.default_rng(0).integers(0, 255, (2, 30, 40)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "stacks" / "a.tif", pages, photometric="minisblack")
    labels = np.zeros((30, 40), np.int32)
    labels[5:9, 6:12] = 4
    write_label_map(tmp_path / "labels" / "a_p001_labels.tif", labels)
    options = ConvertOptions(tmp_path / "out", "yolo")
    assert run_convert(tmp_path / "labels", str(tmp_path / "stacks"), options) == 0
    assert "1 of 1 images converted; 1 cells" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_p001.txt"]


def test_masks_that_do_not_fit_cost_their_image(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_convert(tmp_path / "truth", None, ConvertOptions(tmp_path / "labels", "labels"))
    cv2.imwrite(str(tmp_path / "truth" / "two.png"), np.eye(30, dtype=np.uint8))
    options = ConvertOptions(tmp_path / "yolo", "yolo")
    assert run_convert(tmp_path / "labels", str(tmp_path / "truth"), options) == 1
    said = capsys.readouterr()
    assert "1 of 2 images converted" in said.out
    assert "two.png: the image is 30x30 (height x width), its annotation 40x50" in said.err
    assert [path.name for path in (tmp_path / "yolo").iterdir()] == ["one.txt"]


@pytest.mark.parametrize(
    ("to", "output", "message"),
    [
        ("roi", "out", r"to: must be one of labels, coco, coco-polygons, submission, geojson, imagej, yolo, got 'roi'"),
        ("coco", "out", r"output: the file of coco must end in \.json or \.json\.gz, got .*out"),
        ("labels", "truth", r"truth: already exists; use --overwrite to replace files, or another output"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    to: str, output: str, message: str, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        ConvertOptions(tmp_path / output, to)


def test_a_folder_without_masks_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    images = tmp_path / "plain" / "images"
    images.mkdir(parents=True)
    (images / "one.png").write_bytes((tmp_path / "truth" / "one.png").read_bytes())
    with pytest.raises(DataError, match="plain: contains no masks of these images; give a labelled dataset"):
        run_convert(tmp_path / "plain", None, ConvertOptions(tmp_path / "out", "labels"))
