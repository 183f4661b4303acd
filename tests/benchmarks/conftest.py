"""Small data in the layouts that the benchmarks read, and a way to run them as their command lines do."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import pytest
import torch

from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.io.coco import write_coco
from cytotome.io.labels import write_label_map
from cytotome.io.rle import encode_rle
from cytotome.types import Dataset

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
COUNT, FOLDS = 6, 2
SHAPE = (128, 160)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like that of the real images: ``sartorius/``, ``livecell/`` and ``usiigaci/``, of synthetic images."""
    root = tmp_path_factory.mktemp("data")
    _write_sartorius(root / "sartorius", SyntheticDataset(COUNT, shape=SHAPE))
    _write_livecell(root / "livecell", SyntheticDataset(2, seed=1, shape=SHAPE))
    _write_folders(root / "usiigaci", SyntheticDataset(2, seed=2, shape=SHAPE))
    return root


@pytest.fixture
def two_of_each_type(tmp_path: Path) -> Path:
    """Like ``sartorius/``, with two images of each cell type in each fold, so that one of the two can be withheld."""
    _write_sartorius(tmp_path / "sartorius", SyntheticDataset(2 * COUNT, shape=SHAPE))
    return tmp_path / "sartorius"


def _write_sartorius(folder: Path, dataset: Dataset) -> None:
    (folder / "train").mkdir(parents=True)
    height, width = SHAPE
    rows, folds = ["id,annotation,width,height,cell_type,sample_id"], ["id,fold"]
    for index, sample in enumerate(dataset):
        name, kind = sample.info.id, sample.info.cell_type
        cv2.imwrite(str(folder / "train" / f"{name}.png"), sample.image.pixels)
        rows += [f"{name},{text},{width},{height},{kind},{name}" for text in encode_rle(sample.instances)]
        folds.append(f"{name},{index // 3 % FOLDS}")
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    (folder / "folds.csv").write_text("\n".join(folds) + "\n")
    truths = {info.id: dataset.instances(index) for index, info in enumerate(dataset.infos)}
    write_coco(folder / "annotations_without_images.json.gz", truths)


def _write_livecell(folder: Path, dataset: Dataset) -> None:
    """An image of A172 with masks, and one of SHSY5Y without."""
    (folder / "images").mkdir(parents=True)
    names = ["A172_Phase_A7_1_01d08h00m_2", "SHSY5Y_Phase_B4_2_01d08h00m_4"]
    for name, sample in zip(names, dataset, strict=True):
        cv2.imwrite(str(folder / "images" / f"{name}.tif"), sample.image.pixels)
    write_coco(folder / "livecell_coco_val.json", {1: dataset.instances(0)}, file_names={1: f"{names[0]}.tif"})


def _write_folders(folder: Path, dataset: Dataset) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for sample in dataset:
        cv2.imwrite(str(folder / "images" / f"{sample.info.id}.png"), sample.image.pixels)
        write_label_map(folder / "labels" / f"{sample.info.id}.png", sample.instances.to_label_map())


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a benchmark by its name; what it keeps in the repository goes to ``tmp_path``."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("CYTOTOME_DATA", str(data))
    before, threads, cv2_threads = set(sys.modules), torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)  # networks are tiny here, and threads wait for each other on a busy machine

    def load(name: str) -> ModuleType:
        page = importlib.import_module("page")
        (tmp_path / "page.md").write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
        module = importlib.import_module(name)
        for constant in {"RESULT", "RESULTS"} & set(vars(module)):
            monkeypatch.setattr(module, constant, tmp_path / Path(getattr(module, constant)).name)
        return module

    yield load
    for name in set(sys.modules) - before:
        if BENCHMARKS in Path(getattr(sys.modules[name], "__file__", None) or "/").parents:
            del sys.modules[name]
    torch.set_num_threads(threads)
    cv2.setNumThreads(cv2_threads)


@pytest.fixture
def run(
    load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a benchmark with the words of its command line and gives what it prints."""

    def run(name: str, *words: Any) -> str:
        module = load(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
        capsys.readouterr()
        module.main()
        return capsys.readouterr().out

    return run
