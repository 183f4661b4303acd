"""Submissions that are legal, and faults that are found in those that are not."""

from __future__ import annotations

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cytotome.app.cli import app
from cytotome.datasets import open_dataset
from cytotome.errors import DataError
from cytotome.io.labels import write_label_map
from cytotome.io.submission import read_submission, write_submission
from cytotome.io.submission_rule import check_submission
from cytotome.models.registry import bundled_models
from cytotome.ops.labels import resolve_overlaps


def run(*arguments: object) -> tuple[int, str]:
    outcome = CliRunner().invoke(app, ["submit", *map(str, arguments)])
    return outcome.exit_code, f"{outcome.output} {outcome.exception}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, predictions of two of them."""
    (tmp_path / "test").mkdir()
    (tmp_path / "found").mkdir()
    for index, sample in enumerate(open_dataset("synthetic:3")):
        cv2.imwrite(str(tmp_path / "test" / f"image{index}.png"), sample.image.pixels)
        if index < 2:
            write_label_map(tmp_path / "found" / f"image{index}_labels.tif", sample.instances.to_label_map(), None)
    return tmp_path


def test_label_maps_become_a_legal_submission(folder: Path) -> None:
    code, said = run(folder / "found", "--images", folder / "test", "-o", folder / "s.csv")
    assert code == 2
    assert "3 images" in said
    assert "1 of 3 images have an empty row, the first is image2" in said
    dataset = open_dataset("synthetic:3")
    shapes = {f"image{index}": dataset[index].image.shape for index in range(3)}
    cells = read_submission(folder / "s.csv", shapes)
    for index in range(2):
        truth = resolve_overlaps(dataset[index].instances, "area")
        np.testing.assert_array_equal(cells[f"image{index}"].to_label_map() > 0, truth.to_label_map() > 0)
        assert len(cells[f"image{index}"]) == len(truth)
    assert len(cells["image2"]) == 0
    check_submission(folder / "s.csv", shapes)


def test_images_are_segmented_without_a_network_and_within_the_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "neurons" not in bundled_models():
        pytest.skip("no model is bundled")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for index in range(3):
        path = folder / "test" / f"image{index}.png"
        cv2.imwrite(str(path), cv2.imread(str(path), 0)[:128, :160])
    options = ["--model", "neurons", "--device", "cpu", "-o", folder / "s.csv"]
    code, said = run(folder / "test", *options)
    assert code == 0, said
    shapes = {f"image{index}": (128, 160) for index in range(3)}
    assert sum(len(cells) for cells in check_submission(folder / "s.csv", shapes).values()) > 0
    code, said = run(folder / "test", *options, "--max-minutes", 1e-9)
    assert code == 2
    assert "3 of 3 images have an empty row" in said
    assert (folder / "s.csv").read_text() == "id,predicted\nimage0,\nimage1,\nimage2,\n"


def test_images_that_cannot_be_used_get_an_empty_row(folder: Path) -> None:
    options = ["--images", folder / "test", "-o", folder / "s.csv"]
    cv2.imwrite(str(folder / "test" / "image0.png"), np.full(cv2.imread(str(folder / "test/image0.png"), 0).shape, 7))
    (folder / "test" / "image1.png").write_bytes((folder / "test" / "image1.png").read_bytes()[:1000])
    (folder / "test" / "image3.png").write_bytes(b"no image")
    code, said = run(folder / "found", *options)
    assert code == 2
    assert "image3.png" in said
    assert "2 of 4 images have an empty row, the first is image2" in said
    dataset = open_dataset("synthetic:3")
    shapes = {f"image{index}": dataset[index % 3].image.shape for index in range(4)}
    found = check_submission(folder / "s.csv", shapes)
    assert [len(found[name]) > 0 for name in sorted(found)] == [True, True, False, False]
    if "neurons" not in bundled_models():
        pytest.skip("no model is bundled")
    for index in (0, 2):
        path = folder / "test" / f"image{index}.png"
        cv2.imwrite(str(path), cv2.imread(str(path), 0)[:128, :160])
    code, said = run(folder / "test", "--model", "neurons", "--device", "cpu", "-o", folder / "s.csv")
    assert code == 2
    assert "3 of 4 images have an empty row, the first is image0" in said
    assert [line.split(",")[0] for line in (folder / "s.csv").read_text().splitlines()[1:4]] == [
        "image0",
        "image1",
        "image2",
    ]


def test_faults_of_submissions_are_found(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    shapes = {"a": (4, 5), "b": (4, 5)}
    faults = {
        "id;predicted\n": "the first line must be id,predicted",
        "id,predicted\na,1 2\n": "1 images have no row, first 'b'",
        "id,predicted\na,1 2\nb,\nc,\n": "'c' is not an image of the test set",
        "id,predicted\na,1 2\nb,1 2\nb,2 2\n": "1 pixels are in two cells",
        "id,predicted\na,9 2 1 2\nb,\n": "do not increase, or touch",
        "id,predicted\na,1 2 3 1\nb,\n": "do not increase, or touch",
        "id,predicted\na,20 2\nb,\n": "does not fit an image of 4x5",
        "id,predicted\na,1 2,3\nb,\n": "line 2 has 3 fields",
        "id,predicted\na,1 2\na,\nb,\n": "an empty row as well as cells",
    }
    for text, message in faults.items():
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            check_submission(path, shapes)
    path.write_text("id,predicted\na,1 2 4 9\na,3 1\nb,\n")  # a run may go on in the next row
    assert [len(cells) for cells in check_submission(path, shapes).values()] == [2, 0]
    truth = open_dataset("synthetic:1")[0].instances
    write_submission(path, {"a": truth}, policy=None)
    with pytest.raises(DataError, match="pixels are in two cells"):
        check_submission(path, {"a": truth.shape})


def test_options_that_do_not_go_together_are_named(folder: Path) -> None:
    output = ("-o", folder / "s.csv")
    assert "name the images that must have a row with --images" in run(folder / "found", *output)[1]
    assert "limits segmentation; add --model" in run(folder / "found", "--images", "x", "--max-minutes", 1, *output)[1]
    assert "max-minutes: must be positive" in run(folder, "--model", "neurons", "--max-minutes", 0, *output)[1]
    said = run(folder / "found", "--images", folder / "test", "--overlaps", "best", *output)[1]
    assert "overlaps: must be one of area, score, drop, got 'best'" in said
    (folder / "found" / "image9_labels.tif").write_bytes((folder / "found" / "image0_labels.tif").read_bytes())
    assert "'image9' is not one of the images" in run(folder / "found", "--images", folder / "test", *output)[1]
