"""Nothing of the user's is lost: corrected label maps, results of other images and settings, runs that break off."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cytotome.app.measure.run import MeasureOptions, run_measure
from cytotome.app.segment.marks import mark_path
from cytotome.app.segment.results import Results
from cytotome.app.segment.run import run_segment
from cytotome.app.segment.settings import SegmentOptions
from cytotome.data.normalise import normalise
from cytotome.errors import ConfigError, DataError
from cytotome.io.coco import read_coco
from cytotome.io.labels import read_label_map, write_label_map

Contents = Callable[[Path], dict[str, bytes]]
KEPT = "label maps that were changed after they were written are kept"


@pytest.fixture
def options(model_file: Path) -> SegmentOptions:
    return SegmentOptions(model=str(model_file), device="cpu", quiet=True)


@pytest.fixture
def out(plate: Path, tmp_path: Path, options: SegmentOptions) -> Path:
    """Results of the plate."""
    assert run_segment([str(plate)], tmp_path / "out", options) == 0
    return tmp_path / "out"


def correct(path: Path, keep: int = 5) -> bytes:
    """Leaves ``keep`` cells of a label map; gives the file's bytes."""
    labels = read_label_map(path)
    labels[labels > np.unique(labels)[keep]] = 0
    write_label_map(path, labels)
    return path.read_bytes()


def run_file(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "run.json").read_text())
    return content


def counts(folder: Path) -> dict[str, int]:
    table = pd.read_csv(folder / "images.csv")
    return dict(zip(table["image"], table["cells"].tolist(), strict=True))


def to_old_version(folder: Path) -> None:
    """Gives the marks the form that earlier versions wrote, as old as they are."""
    for path in (folder / ".done").rglob("*.mark"):
        line, rows = path.read_text().split("\n", 1)
        facts = json.loads(line)
        when = path.stat().st_mtime_ns
        path.write_text(json.dumps({key: facts[key] for key in ("path", "file", "row")}) + "\n" + rows)
        labels = folder / (path.relative_to(folder / ".done").as_posix().removesuffix(".png.mark") + "_labels.tif")
        os.utime(path, ns=(when, max(when, labels.stat().st_mtime_ns)))
    (folder / ".done" / "tables.json").unlink()


class TestCorrectedLabelMaps:
    @pytest.mark.parametrize("case", ["again", "coco", "overlay", "image changed", "old version"])
    def test_is_kept_and_named(
        self, case: str, plate: Path, out: Path, options: SegmentOptions, pictures: list[np.ndarray],
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        if case == "old version":
            to_old_version(out)
            time.sleep(0.01)  # file systems tell times a few milliseconds apart
        mine = correct(out / "top_labels.tif")
        if case == "overlay":
            (out / "top_overlay.png").unlink()
        if case == "image changed":
            cv2.imwrite(str(plate / "top.png"), pictures[7])
        failed = run_segment([str(plate)], out, replace(options, coco=case == "coco", quiet=False))
        said = capsys.readouterr()
        assert (out / "top_labels.tif").read_bytes() == mine
        assert str(out / "top_labels.tif") in said.out + said.err
        if case == "image changed":
            assert failed == 1
            assert "top_labels.tif: was changed after the run wrote it, and is kept" in said.err
            return
        assert failed == 0
        assert f"note: {KEPT}" in said.out
        assert counts(out)["top.png"] == 5
        assert (out / "top_overlay.png").is_file()
        if case == "coco":
            file = read_coco(out / "cells.json")
            assert {image.file_name: len(file.instances(image.id)) for image in file.images} == counts(out)
        assert run_segment([str(plate)], out, replace(options, quiet=False)) == 0  # and it stays the user's
        assert f"note: {KEPT}" in capsys.readouterr().out
        assert run_file(out)["images"]["skipped"] == 4  # type: ignore[index]
        assert run_segment([str(plate)], out, replace(options, overwrite=True)) == 0
        assert counts(out)["top.png"] > 5

    def test_the_tables_follow_it_as_measure_would(self, plate: Path, out: Path, options: SegmentOptions) -> None:
        before = pd.read_csv(out / "cells.csv").query("image == 'A01/one.png'").set_index("cell")
        correct(out / "A01/one_labels.tif")
        run_measure(out, str(plate), MeasureOptions(out.parent / "measured", quiet=True))
        assert run_segment([str(plate)], out, options) == 0
        assert run_file(out)["images"]["corrected"] == 1  # type: ignore[index]
        after = pd.read_csv(out / "cells.csv")
        pd.testing.assert_frame_equal(after, pd.read_csv(out.parent / "measured" / "cells.csv"))
        own = after.query("image == 'A01/one.png'").set_index("cell")
        assert len(own) == 5
        assert own["score"].equals(before.loc[own.index, "score"])

    def test_one_that_cannot_be_read_costs_that_image_alone(
        self, plate: Path, out: Path, options: SegmentOptions, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_label_map(out / "top_labels.tif", np.eye(7, dtype=np.int32))
        correct(out / "A01/one_labels.tif")
        assert run_segment([str(plate)], out, options) == 1
        assert "top_labels.tif: the image is 96x128" in capsys.readouterr().err
        assert counts(out)["A01/one.png"] == 5

    def test_without_the_marks_label_maps_are_the_users(
        self, plate: Path, out: Path, options: SegmentOptions, contents: Contents
    ) -> None:
        correct(out / "top_labels.tif")
        shutil.rmtree(out / ".done")
        before = contents(out)
        with pytest.raises(ConfigError, match="exists and belongs to no run; use --overwrite to replace it"):
            run_segment([str(plate)], out, options)
        assert contents(out) == before

    def test_without_its_mark_an_image_is_left_out_and_named(
        self, plate: Path, out: Path, options: SegmentOptions, capsys: pytest.CaptureFixture[str]
    ) -> None:
        mark_path(out, "top.png").write_text("{")
        mine = correct(out / "top_labels.tif")
        assert run_segment([str(plate)], out, options) == 1
        assert "top_labels.tif: was not written by a run, and is kept" in capsys.readouterr().err
        assert (out / "top_labels.tif").read_bytes() == mine

    def test_overwrite_names_what_it_replaces(
        self, plate: Path, out: Path, options: SegmentOptions, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (out / "top_overlay.png").write_bytes(b"mine")
        run_segment([str(plate)], out, replace(options, overwrite=True, quiet=False))
        assert f"are replaced as --overwrite asks: {out / 'top_overlay.png'}" in capsys.readouterr().out


class TestTables:
    def test_a_table_that_was_changed_is_kept_and_named(
        self, plate: Path, out: Path, options: SegmentOptions, pictures: list[np.ndarray],
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        (out / "cells.csv").write_text("mine")
        assert run_segment([str(plate)], out, options) == 1
        assert f"{out / 'cells.csv'}: was changed after a run wrote it" in capsys.readouterr().err
        assert (out / "cells.csv").read_text() == "mine"
        (out / "cells.csv").unlink()
        assert run_segment([str(plate)], out, options) == 0
        assert len(pd.read_csv(out / "cells.csv")) == sum(counts(out).values())

    def test_rows_go_with_their_label_map(self, plate: Path, out: Path, options: SegmentOptions) -> None:
        (out / "top_labels.tif").unlink()
        run_segment([str(plate / "A01")], out, options)
        assert set(counts(out)) == {"A01/one.png", "A01/two.png", "B02/well.png"}


class TestResultsOfAnImage:
    def test_are_not_replaced_by_those_of_another_of_the_same_stem(
        self, tmp_path: Path, options: SegmentOptions, pictures: list[np.ndarray], contents: Contents,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        out = tmp_path / "out"
        for index, name in enumerate(("jan/A01.png", "feb/A01.tif", "feb/B01.tif")):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name), pictures[index])
        run_segment([str(tmp_path / "jan")], out, options)
        before = contents(out)
        assert run_segment([str(tmp_path / "feb")], out, options) == 1
        assert f"A01_labels.tif is of {tmp_path / 'jan/A01.png'}" in capsys.readouterr().err
        assert set(counts(out)) == {"A01.png", "B01.tif"}
        assert contents(out)["A01_labels.tif"] == before["A01_labels.tif"]
        assert run_segment([str(tmp_path / "feb")], out, replace(options, overwrite=True)) == 0
        assert set(counts(out)) == {"A01.tif", "B01.tif"}
        assert contents(out)["A01_labels.tif"] != before["A01_labels.tif"]
        assert not mark_path(out, "A01.png").exists()

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_keep_their_place_wherever_the_command_is_given_from(
        self, plate: Path, out: Path, options: SegmentOptions, monkeypatch: pytest.MonkeyPatch, overwrite: bool
    ) -> None:
        before = counts(out)
        monkeypatch.chdir(plate / "A01")
        assert run_segment(["one.png"], out, replace(options, overwrite=overwrite)) == 0
        assert run_file(out)["images"]["skipped"] == 1 - overwrite  # type: ignore[index,operator]
        assert counts(out) == before
        assert not (out / "one_labels.tif").exists()

    def test_are_found_when_both_folders_have_moved(
        self, plate: Path, out: Path, options: SegmentOptions, tmp_path: Path
    ) -> None:
        moved, there = plate.rename(tmp_path / "moved"), out.rename(tmp_path / "there")
        for path in moved.rglob("*.png"):
            os.utime(path)  # as a copy has it
        assert run_segment([str(moved)], there, options) == 0
        assert run_file(there)["images"]["skipped"] == 4  # type: ignore[index]

    def test_of_other_settings_stay_beside_them(
        self, plate: Path, out: Path, options: SegmentOptions, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = counts(out)
        one = replace(options, settings=("min_area=12",), overwrite=True, quiet=False)
        assert run_segment([str(plate / "top.png")], out, one) == 0
        assert "results of other settings (min_area was 10, now 12): 3 images, first A01/one.png" in (
            capsys.readouterr().out
        )
        after = counts(out)
        assert after.pop("top.png") < before.pop("top.png")
        assert after == before
        (others,) = run_file(out)["other_settings"]  # type: ignore[misc]
        assert others["images"] == sorted(before)
        assert others["settings"]["parameters"]["min_area"] == 10
        with pytest.raises(ConfigError, match="min_area was 12, now 10"):
            run_segment([str(plate)], out, options)

    def test_done_before_are_counted_in_what_is_said(
        self, plate: Path, out: Path, options: SegmentOptions, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run_segment([str(plate)], out, replace(options, quiet=False))
        cells = sum(counts(out).values())
        assert capsys.readouterr().out.startswith(f"0 of 4 images segmented, 4 done before; {cells} cells in all; ")

    def test_of_pages_give_way_to_those_of_the_file(
        self, tmp_path: Path, options: SegmentOptions, pictures: list[np.ndarray]
    ) -> None:
        import tifffile

        out, path = tmp_path / "out", tmp_path / "stack.tif"
        tifffile.imwrite(path, np.stack(pictures[:2]), photometric="minisblack")
        run_segment([str(path)], out, replace(options, page="all"))
        with pytest.raises(ConfigError, match="page was all, now 0"):
            run_segment([str(path)], out, options)
        run_segment([str(path)], out, replace(options, overwrite=True))
        assert list(counts(out)) == ["stack.tif"]
        assert not list(out.glob("stack_p00*"))


def test_results_of_an_earlier_version_are_understood(
    plate: Path, out: Path, options: SegmentOptions, contents: Contents
) -> None:
    before = contents(out)
    to_old_version(out)
    assert run_segment([str(plate)], out, options) == 0
    assert run_file(out)["images"]["skipped"] == 4  # type: ignore[index]
    after = contents(out)
    assert {name for name in before if before[name] != after[name]} == {  # marks, which have no hash of the image
        name for name in before if name.endswith(".mark")
    }


def test_of_two_earlier_results_of_one_name_the_later_is_kept(plate: Path, out: Path, options: SegmentOptions) -> None:
    to_old_version(out)
    shutil.copy(mark_path(out, "top.png"), mark_path(out, "top.jpg"))
    os.utime(mark_path(out, "top.jpg"), ns=(1, 1))
    run_segment([str(plate)], out, options)
    assert "top.jpg" not in counts(out)
    assert "top.png" in counts(out)


class TestFailures:
    def test_too_long_a_name_costs_that_image_alone(
        self, plate: Path, tmp_path: Path, options: SegmentOptions, pictures: list[np.ndarray],
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        name = "n" * 246 + ".png"
        cv2.imwrite(str(plate / name), pictures[5])
        assert run_segment([str(plate)], tmp_path / "out", options) == 1
        assert len(counts(tmp_path / "out")) == 4
        (head, line) = capsys.readouterr().err.splitlines()
        assert head == "1 of 5 images could not be segmented:"
        assert line == f"  {plate / name}: its results would have too long a name; rename the image"
        again = replace(options, overlays=False)  # with another longest name, and where the folder is there
        assert run_segment([str(plate)], tmp_path / "out", again) == 1
        assert capsys.readouterr().err.splitlines() == [head, line]

    @pytest.mark.parametrize("error", [MemoryError("no memory"), PermissionError(13, "Permission denied", "x.tif")])
    def test_whatever_fails_costs_that_image_alone(
        self, error: Exception, plate: Path, tmp_path: Path, options: SegmentOptions,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], contents: Contents,
    ) -> None:  # fmt: skip
        run_segment([str(plate)], tmp_path / "expected", options)
        expected = contents(tmp_path / "expected")

        def failing(image: object, *arguments: object) -> object:
            if str(getattr(image, "source", "")).endswith("two.png"):
                raise error
            return normalise(image, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr("cytotome.inference.model.normalise", failing)
        assert run_segment([str(plate)], tmp_path / "out", options) == 1
        assert len(capsys.readouterr().err.splitlines()) == 2
        assert set(counts(tmp_path / "out")) == {"A01/one.png", "B02/well.png", "top.png"}
        monkeypatch.undo()
        assert run_segment([str(plate)], tmp_path / "out", options) == 0
        assert contents(tmp_path / "out") == expected

    def test_a_full_disk_ends_the_run_in_one_line(
        self, plate: Path, tmp_path: Path, options: SegmentOptions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("cytotome.app.segment.results.write_overlay", full)
        with pytest.raises(DataError, match=r"out: cannot be written \(No space left on device\); fix this"):
            run_segment([str(plate)], tmp_path / "out", options)
        assert counts(tmp_path / "out") == {}

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
    def test_a_name_that_is_not_utf8_costs_that_image_alone(
        self, plate: Path, tmp_path: Path, options: SegmentOptions, capsys: pytest.CaptureFixture[str]
    ) -> None:
        os.link(os.fsencode(plate / "top.png"), os.fsencode(plate) + b"/Z\xfcrich.png")
        assert run_segment([str(plate)], tmp_path / "out", options) == 1
        assert capsys.readouterr().err.splitlines() == [
            "1 of 5 images could not be segmented:",
            f"  {plate}/Z\\xfcrich.png: its name is not UTF-8, as tables need it; rename the file",
        ]
        assert len(counts(tmp_path / "out")) == 4
        assert set(run_file(tmp_path / "out")["failures"]) == {r"Z\xfcrich.png"}  # type: ignore[call-overload]


class TestStopping:
    @pytest.fixture(autouse=True)
    def interruptible(self) -> Iterator[None]:
        """A shell starts background processes with the signal ignored."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    def test_tables_hold_what_is_finished(
        self, plate: Path, tmp_path: Path, options: SegmentOptions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write, written = Results.write, []

        def stop(self: Results, task: object, *arguments: object) -> int:
            found = write(self, task, *arguments)  # type: ignore[arg-type]
            written.append(found)
            if len(written) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return found

        monkeypatch.setattr(Results, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            run_segment([str(plate)], tmp_path / "out", options)
        assert run_file(tmp_path / "out")["state"] == "stopped"
        assert sum(counts(tmp_path / "out").values()) == sum(written)
        assert len(counts(tmp_path / "out")) >= 2
        monkeypatch.undo()
        assert run_segment([str(plate)], tmp_path / "out", options) == 0
        assert len(counts(tmp_path / "out")) == 4

    def test_a_stopped_overwrite_is_resumed_without_the_option(
        self, plate: Path, out: Path, options: SegmentOptions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = replace(options, settings=("min_area=12",))
        monkeypatch.setattr(Results, "write", _interrupted(Results.write, after=2))
        with pytest.raises(KeyboardInterrupt):
            run_segment([str(plate)], out, replace(other, overwrite=True))
        monkeypatch.undo()
        assert len(counts(out)) == 4
        assert run_segment([str(plate)], out, other) == 0
        assert pd.read_csv(out / "cells.csv")["area_pixels"].min() >= 12

    @pytest.mark.parametrize(
        "module", ["typer", "numpy", "torch", "numba", "cytotome.app.segment.results", "cytotome.families.flow"]
    )
    def test_while_modules_are_imported_it_is_one_line(
        self, module: str, plate: Path, tmp_path: Path, model_file: Path
    ) -> None:
        code = IMPORTING.format(module=module)
        arguments = ["segment", str(plate), "-o", str(tmp_path / "out"), "-m", str(model_file), "--device", "cpu"]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
        )
        assert (done.returncode, done.stderr) == (130, "stopped\n")
        assert not (tmp_path / "out").exists()

    def test_while_images_are_segmented_it_is_one_line(self, plate: Path, tmp_path: Path, model_file: Path) -> None:
        for index in range(200):
            os.link(plate / "top.png", plate / f"{index:03}.png")
        out = tmp_path / "out"
        command = [sys.executable, "-m", "cytotome", "segment", str(plate), "-o", str(out), "-m", str(model_file)]
        process = subprocess.Popen(
            [*command, "--tta", "--device", "cpu"],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore it
        )
        while process.poll() is None and not list(out.rglob("*.mark")):
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=120)[1]
        assert (process.returncode, errors) == (130, "stopped; the same command resumes\n")
        assert 1 <= len(counts(out)) < 204


IMPORTING = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
from cytotome.__main__ import main
main()
"""
"""The command line, interrupted when a module is imported."""


def _interrupted(write: Callable[..., int], after: int) -> Callable[..., int]:
    written = []

    def stop(*arguments: object) -> int:
        written.append(write(*arguments))
        if len(written) == after:
            os.kill(os.getpid(), signal.SIGINT)
        return written[-1]

    return stop
