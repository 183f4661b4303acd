"""The command line as a user meets it: help, version, one line for each error, exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import typer

from cytotome.app.console import resumable

HEAVY = ("torch", "numba", "numpy", "pandas", "cv2", "lightning", "pydantic", "matplotlib")


def cytotome(*arguments: str | Path, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-m", "cytotome", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_help_is_shown_at_once_and_imports_nothing_heavy() -> None:
    """Its time is that of the processor, so that a busy machine does not count."""
    seconds = []
    for _ in range(3):
        before = os.times()
        assert cytotome("--help").returncode == 0
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < 0.4
    lines = cytotome("--help", options=("-X", "importtime")).stderr.splitlines()
    imported = {line.rsplit("|")[-1].strip() for line in lines}
    assert "typer" in imported
    assert not imported & set(HEAVY)


@pytest.mark.parametrize("command", ["segment", "train", "targets", "pseudolabel", "evaluate", "models", "data"])
def test_every_command_has_help_with_an_example_or_subcommands(command: str) -> None:
    text = cytotome(command, "--help").stdout
    assert f"cytotome {command} " in text
    assert "For example:" in text or "Commands" in text


def test_version_is_that_of_the_package() -> None:
    assert cytotome("--version").stdout == f"cytotome {metadata.version('cytotome')}\n"


def test_segment_and_evaluate_by_command(plate: Path, tmp_path: Path, model_file: Path) -> None:
    out = tmp_path / "out"
    segmented = cytotome("segment", plate, "-o", out, "-m", model_file, "--device", "cpu", "--set", "min_area=12")
    assert (segmented.returncode, segmented.stderr) == (0, "")
    cells = len(pd.read_csv(out / "cells.csv"))
    assert segmented.stdout.startswith(f"4 of 4 images segmented; {cells} cells; ")
    (plate / "bad.png").write_bytes(b"\x89PNG")
    again = cytotome("segment", plate, "-o", out, "-m", model_file, "--device", "cpu", "--set", "min_area=12", "-q")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith(f"1 of 5 images could not be segmented:\n  {plate / 'bad.png'}: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment", "nowhere", "-o", "out"], "error: nowhere: no such file, folder or match; check the path"),
        (["evaluate", "nowhere", "synthetic:1"], "error: nowhere: is not there; expected a folder of label maps"),
        (
            ["evaluate", ".", "synthetic:1", "--rule", "best"],
            "error: rule: must be one of matching, kernel, got 'best'",
        ),
        (["models", "show", "nowhere"], "error: nowhere: neither a model file"),
        (["data", "info", "nowhere"], "error: nowhere: no such file or folder"),
        (["train", "nowhere", "-d", "synthetic:2", "-o", "out"], "error: nowhere: neither a recipe file nor"),
        (["train", "flow", "-d", ".", "-o", "out", "--layout", "plates"], "error: layout 'plates' is unknown"),
        (["pseudolabel", "neurons", ".", "-o", "out", "--layout", "plates"], "error: layout 'plates' is unknown"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "cytotome", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "flow", "-d", "synthetic:2", "-o", "file/run"],
        ["submit", "synthetic", "--images", "images", "-o", "file/s.csv"],
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(arguments: list[str], plate: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes((plate / "top.png").read_bytes())
    result = subprocess.run(
        [sys.executable, "-m", "cytotome", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.returncode == 2
    assert re.match(r"error: \S*file\S*: (Not a directory|File exists); check the path", result.stderr.splitlines()[-1])
    assert "Traceback" not in result.stderr


def test_work_that_is_stopped_says_that_it_can_be_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as left, resumable():
        raise KeyboardInterrupt
    assert left.value.exit_code == 130
    assert capsys.readouterr().err == "stopped; the same command resumes\n"


def test_show_prints_the_card_and_the_hash(model_file: Path) -> None:
    from cytotome.models.header import read_header

    text = cytotome("models", "show", model_file).stdout
    assert "summary   Random weights" in text
    assert "licence   CC0-1.0" in text
    assert f"hash      {read_header(model_file).digest}" in text


def test_list_names_families_and_bundled_models() -> None:
    from cytotome.models.registry import bundled_models

    text = cytotome("models", "list").stdout
    assert "flow" in text
    assert all(name in text for name in bundled_models())


def test_data_info_counts_images_and_cells() -> None:
    text = cytotome("data", "info", "synthetic:2").stdout
    assert text.startswith("synthetic: 2 images")
    assert "cort" in text


def test_data_info_names_labels_that_fit_no_image(tmp_path: Path) -> None:
    for folder, names in (("images", ("a", "b")), ("labels", ("a", "gt_b"))):
        (tmp_path / folder).mkdir()
        for name in names:
            pixels = np.zeros((40, 40), np.uint8)
            pixels[5:9, 5:9], pixels[20:25, 20:25] = 1, 2
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), pixels)
    done = cytotome("data", "info", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nnote: label maps fit no image and are not used (1): labels/gt_b.png (nearest image: b); re" in done.stdout
    (tmp_path / "labels" / "a.png").unlink()
    done = cytotome("data", "info", tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: .*: no label map is named like an image, for example labels/gt_b\.png .*\n", done.stderr
    )


def test_data_info_names_what_does_not_go_together(tmp_path: Path) -> None:
    for folder, side in (("images", 40), ("labels", 50)):
        (tmp_path / folder).mkdir()
        pixels = np.arange(side * side, dtype=np.uint16).reshape(side, side)
        cv2.imwrite(str(tmp_path / folder / "a.png"), pixels)
        cv2.imwrite(str(tmp_path / folder / "b.png"), pixels[:40, :40])
    done = cytotome("data", "info", tmp_path)
    assert done.returncode == 2
    assert "2 images" in done.stdout
    assert done.stderr.startswith("1 of 2 images could not be used:\n")
    assert re.search(r"images/a\.png: .*40x40.*50x50", done.stderr)


def test_training_shows_fine_tuning_first() -> None:
    text = cytotome("train", "--help").stdout
    examples = [line for line in text.splitlines() if "cytotome train " in line and "Usage" not in line]
    assert "cytotome train flow-finetune --data my_images/ --fold 0 -o run/" in examples[0]
    assert "start with flow-finetune" in cytotome("models", "list").stdout
