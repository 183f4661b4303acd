"""Which images are meant by files, folders and globs, and what they are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cytotome.app.discover import Source, discover, search, split_clashes
from cytotome.errors import ConfigError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    names = [
        "p1/a.png",
        "p1/deep/b.TIF",
        "p1/.hidden/c.png",
        "p1/.d.png",
        "p1/notes.txt",
        "p2/a.jpg",
        "p2/x_labels.tif",
    ]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*inputs: str, output: str = "out") -> list[str]:
    return [source.name for source in discover(inputs, Path(output))]


@pytest.mark.usefixtures("tree")
class TestDiscover:
    def test_a_folder_is_searched_with_its_subfolders_without_what_is_hidden(self) -> None:
        assert names("p1") == ["a.png", "deep/b.TIF"]

    def test_several_folders_keep_their_names(self) -> None:
        assert names("p1", "p2") == ["p1/a.png", "p1/deep/b.TIF", "p2/a.jpg", "p2/x_labels.tif"]

    def test_files_are_named_below_their_common_folder(self) -> None:
        assert names("p1/a.png") == ["a.png"]
        assert names("p1/a.png", "p1/deep/b.TIF") == ["a.png", "deep/b.TIF"]

    def test_globs_are_mirrored_from_where_they_begin_to_vary(self) -> None:
        assert names("p1/**/*.TIF") == ["deep/b.TIF"]
        assert names("p*/a.*") == ["p1/a.png", "p2/a.jpg"]
        assert names("p*/") == ["p1/a.png", "p1/deep/b.TIF", "p2/a.jpg", "p2/x_labels.tif"]

    def test_an_image_that_is_meant_twice_is_taken_once(self) -> None:
        assert names("p1", "p1/a.png", "p1/*.png") == ["a.png", "deep/b.TIF"]

    def test_a_file_of_any_suffix_is_taken_when_it_is_named(self) -> None:
        assert names("p1/notes.txt") == ["notes.txt"]

    def test_results_are_no_images(self) -> None:
        os.makedirs("p1/out/deep")
        Path("p1/out/deep/b_overlay.png").touch()
        assert names("p1", output="p1/out") == ["a.png", "deep/b.TIF"]
        Path("p1/a_overlay.png").touch()
        Path("p1/a_labels.tif").touch()
        assert names("p1", output="p1") == ["a.png", "deep/b.TIF", "out/deep/b_overlay.png"][:2]

    def test_what_is_not_taken_is_counted_and_named_once(self, tree: Path) -> None:
        for name in ("p1/x.bmp", "p1/y.BMP", "p1/.done/a.mark", "p1/before/.done/a.mark", "p1/before/a_labels.tif"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()
        os.symlink("../p2", "p1/link")
        found = search(["p1", "p1/*"], Path("out"))
        assert [source.name for source in found.sources] == ["a.png", "deep/b.TIF", "link/a.jpg", "link/x_labels.tif"]
        found = search(["p1", "p1/notes.txt"], Path("out"))
        assert [source.name for source in found.sources] == ["a.png", "deep/b.TIF", "notes.txt"]
        assert found.passed_over_lines() == [
            f"skipped: files ending in .bmp: 2, first {tree}/p1/x.bmp",
            f"skipped: hidden files: {tree}/p1/.d.png",
            f"skipped: linked folders (name them to have them searched): {tree}/p1/link",
            f"skipped: results of earlier runs: {tree}/p1/before/a_labels.tif",
        ]

    def test_what_a_run_wrote_itself_is_no_news(self) -> None:
        for name in ("cells.csv", "run.json", "a_labels.tif", ".done/a.mark"):
            Path("p1", name).parent.mkdir(exist_ok=True)
            Path("p1", name).touch()
        assert set(search(["p1"], Path("p1")).passed_over) == {"files ending in .txt", "hidden files"}

    def test_results_of_earlier_runs_are_no_images(self) -> None:
        os.makedirs("p1/before/.done")
        Path("p1/before/a_labels.tif").touch()
        Path("p1/before/c.png").touch()
        assert names("p1", output="now") == ["a.png", "before/c.png", "deep/b.TIF"]
        assert names("p1/before/*", output="now") == ["c.png"]

    def test_a_folder_that_cannot_be_read_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scandir = os.scandir

        def refuse(path: str) -> object:
            if str(path).endswith("deep"):
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(ConfigError, match=r"deep: cannot be read \(Permission denied\); check its permissions"):
            names("p1")

    def test_all_missing_inputs_are_named_at_once(self) -> None:
        with pytest.raises(ConfigError, match=r"^p9, q\*\.png: no such file, folder or match; check the path$"):
            names("p9", "p1", "q*.png")

    def test_a_folder_without_images_is_an_error(self) -> None:
        os.mkdir("bare")
        Path("bare/a.gif").touch()
        with pytest.raises(
            ConfigError,
            match=r"bare: no image found; expected files ending in \.png.*; skipped: .*\.gif: .*bare/a\.gif",
        ):
            names("bare")


def test_two_images_of_one_name_clash_and_the_first_goes_through() -> None:
    sources = [Source("a.png", Path("a.png")), Source("a.tif", Path("a.tif")), Source("b.png", Path("b.png"))]
    kept, clashes = split_clashes(sources)
    assert [source.name for source in kept] == ["a.png", "b.png"]
    assert clashes == {"a.tif": "a.tif: its results would have the names of those of a.png; rename one of the two"}
