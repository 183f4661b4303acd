"""Whole runs of ``segment`` with a real, small model: outputs, resuming, bad files, changed settings."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile

from cytotome.app.options import parse_page
from cytotome.app.segment.run import run_segment
from cytotome.app.segment.settings import SegmentOptions
from cytotome.errors import ConfigError, CytotomeError, DataError
from cytotome.inference.model import load_single_model
from cytotome.io.coco import read_coco
from cytotome.io.files import is_temporary
from cytotome.io.images import read_image
from cytotome.io.labels import read_label_map
from cytotome.measurement.table import CELL_COLUMNS, IMAGE_COLUMNS
from cytotome.models.file import read_model, save_model
from cytotome.models.look import Look

Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def options(model_file: Path) -> SegmentOptions:
    return SegmentOptions(model=str(model_file), device="cpu", quiet=True)


def run_file(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "run.json").read_text())
    return content


def test_every_image_has_its_files_and_its_rows(plate: Path, tmp_path: Path, options: SegmentOptions) -> None:
    out = tmp_path / "out"
    assert run_segment([str(plate)], out, options) == 0
    cells, images = pd.read_csv(out / "cells.csv"), pd.read_csv(out / "images.csv")
    assert tuple(cells.columns) == CELL_COLUMNS
    assert tuple(images.columns) == IMAGE_COLUMNS
    assert images["image"].tolist() == ["A01/one.png", "A01/two.png", "B02/well.png", "top.png"]
    model = load_single_model(options.model, device="cpu")
    for name, count in zip(images["image"], images["cells"], strict=True):
        found = model.segment(plate / name)
        labels = read_label_map(out / name.replace(".png", "_labels.tif"))
        np.testing.assert_array_equal(labels, found.to_label_map())
        rows = cells[cells["image"] == name]
        assert len(rows) == count == len(found) > 0
        np.testing.assert_array_equal(rows["cell"], found.ids)
        np.testing.assert_array_equal(rows["area_pixels"], found.areas)
        np.testing.assert_allclose(rows["score"], found.scores, atol=1e-4)
        assert read_image(out / name.replace(".png", "_overlay.png")).pixels.shape == (*labels.shape, 3)
    run = run_file(out)
    assert run["state"] == "finished"
    assert run["images"] == {"found": 4, "segmented": 4, "skipped": 0, "corrected": 0, "failed": 0}
    assert run["cells_found"] == len(cells)
    assert run["settings"]["model_hash"] == model.digest  # type: ignore[index]
    files = {path.name for path in out.rglob("*") if path.is_file() and ".done" not in path.parts}
    assert len(files) == 4 * 2 + 3


def test_a_coco_file_holds_every_mask_and_is_kept_up_to_date(
    plate: Path, tmp_path: Path, options: SegmentOptions, pictures: list[np.ndarray]
) -> None:
    out = tmp_path / "out"
    run_segment([str(plate / "top.png")], out, options)
    assert not (out / "cells.json").exists()
    run_segment([str(plate / "top.png")], out, replace(options, coco=True))
    assert run_file(out)["images"] == {"found": 1, "segmented": 1, "skipped": 0, "corrected": 0, "failed": 0}
    cv2.imwrite(str(plate / "top.png"), pictures[7])
    run_segment([str(plate)], out, options)
    run_segment([str(plate)], out, replace(options, coco=True))
    assert run_file(out)["images"] == {"found": 4, "segmented": 0, "skipped": 4, "corrected": 0, "failed": 0}
    file, model = read_coco(out / "cells.json"), load_single_model(options.model, device="cpu")
    assert [image.file_name for image in file.images] == ["A01/one.png", "A01/two.png", "B02/well.png", "top.png"]
    for image in file.images:
        found, kept = model.segment(plate / image.file_name), file.instances(image.id)
        np.testing.assert_array_equal(kept.runs, found.runs)
        np.testing.assert_allclose(kept.scores, found.scores, atol=1e-4)


def test_a_coco_file_of_the_users_is_not_replaced(plate: Path, tmp_path: Path, options: SegmentOptions) -> None:
    (tmp_path / "cells.json").write_text("mine")
    with pytest.raises(ConfigError, match=r"cells\.json: exists and belongs to no run; use --overwrite"):
        run_segment([str(plate)], tmp_path, replace(options, coco=True))
    assert (tmp_path / "cells.json").read_text() == "mine"


def test_what_is_done_is_skipped_and_what_changed_is_not(
    plate: Path, tmp_path: Path, options: SegmentOptions, contents: Contents, pictures: list[np.ndarray]
) -> None:
    out = tmp_path / "out"
    run_segment([str(plate)], out, options)
    before, times = contents(out), (out / "top_labels.tif").stat().st_mtime_ns
    run_segment([str(plate)], out, options)
    assert run_file(out)["images"] == {"found": 4, "segmented": 0, "skipped": 4, "corrected": 0, "failed": 0}
    assert (contents(out), (out / "top_labels.tif").stat().st_mtime_ns) == (before, times)
    cv2.imwrite(str(plate / "top.png"), pictures[7])
    (out / "A01/one_overlay.png").unlink()
    (out / "A01/two_labels.tif").unlink()
    run_segment([str(plate)], out, options)
    assert run_file(out)["images"] == {"found": 4, "segmented": 3, "skipped": 1, "corrected": 0, "failed": 0}
    after = contents(out)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {
        *("cells.csv", "images.csv", "top_labels.tif", "top_overlay.png"),
        *(".done/top.png.mark", ".done/tables.json"),
    }


def test_images_that_come_later_join_the_table(
    plate: Path, tmp_path: Path, options: SegmentOptions, contents: Contents, pictures: list[np.ndarray]
) -> None:
    run_segment([str(plate)], tmp_path / "out", options)
    cv2.imwrite(str(plate / "A01/more.png"), pictures[6])
    run_segment([str(plate)], tmp_path / "out", options)
    run_segment([str(plate)], tmp_path / "fresh", options)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_bad_files_give_one_line_each_and_the_others_go_through(
    plate: Path, tmp_path: Path, options: SegmentOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    (plate / "A01/damaged.png").write_bytes((plate / "top.png").read_bytes()[:300])
    (plate / "empty.tif").write_bytes(b"")
    cv2.imwrite(str(plate / "flat.png"), np.full((64, 64), 7, np.uint8))
    tifffile.imwrite(plate / "infinite.tif", np.array([[0, np.inf], [1, 2]], np.float32))
    tifffile.imwrite(plate / "channels.tif", np.random.default_rng(0).random((5, 40, 40)).astype(np.float32))
    cv2.imwrite(str(plate / "top.jpg"), np.arange(4096, dtype=np.uint8).reshape(64, 64))
    out = tmp_path / "out"
    failed = run_segment([str(plate)], out, options)
    lines = capsys.readouterr().err.splitlines()
    run = run_file(out)
    bad = {"A01/damaged.png", "empty.tif", "flat.png", "infinite.tif", "top.png"}
    assert set(run["failures"]) == bad  # type: ignore[call-overload]
    assert failed == len(bad)
    assert lines[0] == "5 of 10 images could not be segmented:"
    assert len(lines) == 1 + len(bad)
    for name, line in zip(sorted(bad), lines[1:], strict=True):
        assert line.startswith(f"  {plate / name}: ")
    assert len(pd.read_csv(out / "images.csv")) == 5
    assert run["notes"] == ["several pages, only page 0 was used (see --page): channels.tif"]


def test_results_of_other_settings_are_not_mixed(plate: Path, tmp_path: Path, options: SegmentOptions) -> None:
    out = tmp_path / "out"
    run_segment([str(plate)], out, options)
    other = replace(options, settings=("min_area=12",))
    with pytest.raises(
        ConfigError, match=r"out: contains results of other settings \(min_area was 10, now 12\); use --overwrite"
    ):
        run_segment([str(plate)], out, other)
    assert run_segment([str(plate)], out, replace(other, overwrite=True)) == 0
    assert pd.read_csv(out / "cells.csv")["area_pixels"].min() >= 12
    (out / "run.json").write_text("{half")  # what is done is known without it
    with pytest.raises(ConfigError, match="min_area was 12, now 10"):
        run_segment([str(plate)], out, options)
    assert run_segment([str(plate)], out, other) == 0
    assert run_file(out)["images"]["skipped"] == 4  # type: ignore[index]


def test_files_of_no_run_are_not_replaced(plate: Path, tmp_path: Path, options: SegmentOptions) -> None:
    for name in ("top_labels.tif", "cells.csv"):
        out = tmp_path / name
        out.mkdir()
        (out / name).write_text("mine")
        with pytest.raises(ConfigError, match=rf"{name}: exists and belongs to no run; use --overwrite"):
            run_segment([str(plate)], out, options)
        assert [path.name for path in out.iterdir()] == [name]
        assert (out / name).read_text() == "mine"
        assert run_segment([str(plate)], out, replace(options, overwrite=True)) == 0


def test_another_image_of_the_same_name_is_not_replaced(
    plate: Path, tmp_path: Path, options: SegmentOptions, contents: Contents, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    run_segment([str(plate / "A01")], out, options)
    before = contents(out)
    other.mkdir()
    (other / "one.png").write_bytes((plate / "top.png").read_bytes())
    assert run_segment([str(other)], out, options) == 1
    assert re.fullmatch(
        r"1 of 1 images could not be segmented:\n  .*other/one\.png: .*one_labels\.tif is of .*A01/one\.png; "
        r"use --overwrite to replace it, or another folder\n",
        capsys.readouterr().err,
    )
    assert contents(out) == before
    run_segment([str(other)], out, replace(options, overwrite=True))
    assert pd.read_csv(out / "images.csv")["image"].tolist() == ["one.png", "two.png"]
    moved = plate.rename(tmp_path / "moved") / "A01"
    assert run_segment([str(moved / "two.png")], out, options) == 0
    assert run_file(out)["images"]["skipped"] == 1  # type: ignore[index]


def test_an_unknown_decode_parameter_is_named_before_any_work(
    plate: Path, tmp_path: Path, options: SegmentOptions
) -> None:
    with pytest.raises(ConfigError, match="min_aera"):
        run_segment([str(plate)], tmp_path / "out", replace(options, settings=("min_aera=30",)))
    assert not (tmp_path / "out").exists()


def test_page_and_microns_are_taken(tmp_path: Path, options: SegmentOptions, pictures: list[np.ndarray]) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.stack(pictures[:3]), photometric="minisblack")
    cv2.imwrite(str(tmp_path / "second.png"), pictures[1])
    for name, out in (("stack.tif", "a"), ("second.png", "b")):
        chosen = replace(options, page=1 if name == "stack.tif" else None, microns=0.5)
        assert run_segment([str(tmp_path / name)], tmp_path / out, chosen) == 0
    first, second = (pd.read_csv(tmp_path / out / "cells.csv").drop(columns="image") for out in "ab")
    pd.testing.assert_frame_equal(first, second)
    np.testing.assert_allclose(first["area_um2"], first["area_pixels"] / 4, atol=1e-4)
    assert run_segment([str(tmp_path / "stack.tif")], tmp_path / "c", replace(options, page=3)) == 1


def test_every_page_is_an_image(
    tmp_path: Path, options: SegmentOptions, pictures: list[np.ndarray], contents: Contents
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    tifffile.imwrite(
        folder / "stack.tif", np.stack([*pictures[:2], np.zeros_like(pictures[0])]), photometric="minisblack"
    )
    cv2.imwrite(str(folder / "single.png"), pictures[2])
    (folder / "damaged.tif").write_bytes(b"II*\0")
    chosen = replace(options, page="all", maps=True)
    assert run_segment([str(folder)], out, chosen) == 2
    images = pd.read_csv(out / "images.csv")["image"].tolist()
    assert images == ["single.png", "stack_p000.tif", "stack_p001.tif"]
    failures = run_file(out)["failures"]
    assert set(failures) == {"damaged.tif", "stack_p002.tif"}  # type: ignore[call-overload]
    assert "stack.tif: every pixel" in failures["stack_p002.tif"]  # type: ignore[index]
    model = load_single_model(options.model, device="cpu")
    for page in range(2):
        labels = read_label_map(out / f"stack_p00{page}_labels.tif")
        np.testing.assert_array_equal(labels, model.segment(pictures[page]).to_label_map())
        assert (out / f"stack_p00{page}_map_flow.png").is_file()
    before = contents(out)
    assert run_segment([str(folder)], out, chosen) == 2
    assert run_file(out)["images"]["skipped"] == 3  # type: ignore[index]
    assert contents(out) == before
    with pytest.raises(ConfigError, match=r"page was all, now 0"):
        run_segment([str(folder)], out, options)


@pytest.mark.parametrize("text", ["-1", "1.5", "first", ""])
def test_a_page_is_a_number_or_all(text: str) -> None:
    assert (parse_page(None), parse_page("3"), parse_page("all")) == (None, 3, "all")
    with pytest.raises(ConfigError, match="expected a number from 0, or all"):
        parse_page(text)


def test_tiles_are_as_large_as_asked(plate: Path, tmp_path: Path, options: SegmentOptions) -> None:
    run_segment([str(plate / "top.png")], tmp_path / "out", replace(options, tile=64))
    model = load_single_model(options.model, device="cpu")
    labels = read_label_map(tmp_path / "out" / "top_labels.tif")
    expected = model.segment(plate / "top.png", tile=64).to_label_map()
    np.testing.assert_array_equal(labels, expected)
    assert not np.array_equal(labels, model.segment(plate / "top.png").to_label_map())
    with pytest.raises(ConfigError, match="tile was 64, now not given"):
        run_segment([str(plate / "top.png")], tmp_path / "out", options)


def test_no_overlay_writes_none(plate: Path, tmp_path: Path, options: SegmentOptions) -> None:
    run_segment([str(plate)], tmp_path / "out", replace(options, overlays=False))
    assert not list((tmp_path / "out").rglob("*_overlay.png"))
    assert len(list((tmp_path / "out").rglob("*_labels.tif"))) == 4


def test_a_folder_that_cannot_be_made_is_one_line(plate: Path, tmp_path: Path, options: SegmentOptions) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(
        DataError, match=r"taken.*: cannot be written \(.*\); fix this, then run the same command to resume"
    ):
        run_segment([str(plate)], tmp_path / "taken", options)


def test_an_unknown_model_is_one_line(plate: Path, tmp_path: Path) -> None:
    with pytest.raises(CytotomeError, match=r"nothing\.safetensors: neither a model file"):
        run_segment([str(plate)], tmp_path / "out", SegmentOptions(model="nothing.safetensors"))


@pytest.mark.slow
def test_killed_and_taken_up_again_gives_what_an_unbroken_run_gives(
    tmp_path: Path, model_file: Path, options: SegmentOptions, contents: Contents, pictures: list[np.ndarray]
) -> None:
    plate, out = tmp_path / "plate", tmp_path / "out"
    plate.mkdir()
    for index in range(60):
        cv2.imwrite(str(plate / f"{index:02}.png"), np.roll(pictures[index % 8], index, axis=1))
    run_segment([str(plate)], tmp_path / "unbroken", options)
    command = [sys.executable, "-m", "cytotome", "segment", str(plate), "-o", str(out), "-m", str(model_file)]
    kills = 0
    for images in (5, 25, 45):
        process = subprocess.Popen([*command, "--device", "cpu"], stderr=subprocess.PIPE)
        while process.poll() is None and len(list(out.rglob("*.mark"))) < images:
            time.sleep(0.005)
        kills += process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        for path in out.rglob("*_labels.tif"):
            assert is_temporary(path) or read_label_map(path).shape == pictures[0].shape
    assert kills >= 2
    run_segment([str(plate)], out, options)
    assert contents(out) == contents(tmp_path / "unbroken")


def test_the_size_of_the_cells_is_recorded_and_taken(
    tmp_path: Path, options: SegmentOptions, pictures: list[np.ndarray]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), pictures[0])
    out = tmp_path / "out"
    assert run_segment([str(tmp_path / "a.png")], out, replace(options, scale=0.5)) == 0
    assert run_file(out)["settings"]["scale"] == 0.5  # type: ignore[index]
    model = load_single_model(options.model, device="cpu")
    expected = model.segment(pictures[0], scale=0.5).to_label_map()
    np.testing.assert_array_equal(read_label_map(out / "a_labels.tif"), expected)
    with pytest.raises(ConfigError, match=r"scale was 0\.5, now not given"):
        run_segment([str(tmp_path / "a.png")], out, options)
    with pytest.raises(ConfigError, match="give only one of them"):
        replace(options, scale=0.5, diameter=30)


def test_images_of_another_kind_than_the_model_knows_are_noted(tmp_path: Path, options: SegmentOptions) -> None:
    file = read_model(options.model)
    card = file.card.model_copy(update={"look": Look(least=0.0, greatest=0.1)})
    save_model(tmp_path / "known.safetensors", replace(file, card=card))
    grey = np.full((160, 160), 20, np.uint8)
    cv2.circle(grey, (80, 80), 12, 200, -1)
    cv2.imwrite(str(tmp_path / "bright.png"), grey)
    cv2.imwrite(str(tmp_path / "dark.png"), 255 - grey)
    inputs = [str(tmp_path / "bright.png"), str(tmp_path / "dark.png")]
    chosen = replace(options, model=str(tmp_path / "known.safetensors"))
    assert run_segment(inputs, tmp_path / "out", chosen) == 0
    (note,) = (text for text in run_file(tmp_path / "out")["notes"] if "images look like" in text)  # type: ignore[attr-defined]
    assert "invert the grey levels" in note
    assert note.endswith(": dark.png")
