"""Telling a dataset's layout from its files."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cytotome.datasets import open_dataset
from cytotome.datasets.coco import CocoDataset
from cytotome.datasets.folders import FoldersDataset
from cytotome.datasets.livecell import LivecellDataset
from cytotome.datasets.sartorius import SartoriusDataset
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.errors import DataError


def test_each_layout_is_told(challenge: Path) -> None:
    assert isinstance(open_dataset(challenge), SartoriusDataset)


def test_livecell_is_told_from_other_coco_files(livecell: Path) -> None:
    assert isinstance(open_dataset(livecell), LivecellDataset)
    (livecell / "livecell_coco_val.json").rename(livecell / "truth.json")
    assert isinstance(open_dataset(livecell), CocoDataset)
    assert isinstance(open_dataset(livecell / "truth.json"), CocoDataset)
    assert open_dataset(livecell)[0].instances.areas.tolist() == [36]


def test_plain_images_are_folders(tmp_path: Path, write_picture) -> None:
    write_picture(tmp_path / "flat" / "a.png")
    write_picture(tmp_path / "parts" / "one" / "images" / "a.png")
    assert isinstance(open_dataset(tmp_path / "flat"), FoldersDataset)
    assert isinstance(open_dataset(str(tmp_path / "parts")), FoldersDataset)


def test_a_layout_can_be_demanded(challenge: Path) -> None:
    dataset = open_dataset(challenge / "test", layout="folders")
    assert [info.id for info in dataset.infos] == ["u"]


@pytest.mark.parametrize(
    ("text", "count", "seed"), [("synthetic", 12, 0), ("synthetic:3", 3, 0), ("synthetic:3:9", 3, 9)]
)
def test_synthetic_is_a_name(text: str, count: int, seed: int) -> None:
    dataset = open_dataset(text)
    assert isinstance(dataset, SyntheticDataset)
    assert (len(dataset), dataset.seed) == (count, seed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        ("synthetic:many", "'synthetic:many': expected synthetic, synthetic:COUNT"),
        ("empty", r"empty: the layout cannot be detected; expected train\.csv \(sartorius\)"),
        ("empty/table.txt", r"table\.txt: a dataset is a folder or a COCO file"),
        ("double", r"double: expected one COCO file, found a\.json, b\.json; give the path of the file itself"),
    ],
)
def test_what_cannot_be_opened_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, names in (("empty", ["table.txt"]), ("double", ["a.json", "b.json"])):
        Path(folder).mkdir()
        for name in names:
            (Path(folder) / name).write_text("{}")
    with pytest.raises(DataError, match=message):
        open_dataset(text)


def test_a_folder_of_other_kinds_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(b"BM")
    with pytest.raises(DataError, match=r"layout cannot be detected; .*files of unsupported types \(1\): a\.bmp"):
        open_dataset(tmp_path)


def test_unknown_layout_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="layout 'zip' is unknown; choose one of sartorius, livecell, folders"):
        open_dataset(tmp_path, layout="zip")


def test_datasets_travel_to_workers(challenge: Path) -> None:
    dataset = open_dataset(challenge)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.infos == dataset.infos
    assert copy[0].instances.runs.tolist() == dataset[0].instances.runs.tolist()
    assert [info.id for info in dataset.subset([1]).infos] == ["b"]
    assert dataset.subset([1]).instances(0).areas.tolist() == [1]
