"""Small datasets in the real layouts, written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

WritePicture = Callable[..., Path]


@pytest.fixture
def write_picture() -> WritePicture:
    """Writes a grey image of random levels and gives its path back."""

    def write(path: Path, shape: tuple[int, int] = (4, 6)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)
        assert cv2.imwrite(str(path), levels)
        return path

    return write


@pytest.fixture
def challenge(tmp_path: Path, write_picture: WritePicture) -> Path:
    """Images of 4x6: ``a`` (cort, two overlapping masks), ``b`` (astro, approximate), unlabelled ``u``."""
    for name in ("train/a", "train/b", "test/u"):
        write_picture(tmp_path / f"{name}.png")
    (tmp_path / "train.csv").write_text(
        "id,annotation,width,height,cell_type,sample_id\n"
        "a,1 2 7 2,6,4,cort,plate\n"
        "a,8 3,6,4,cort,plate\n"
        "b,24 1,6,4,astro,\n"
    )
    (tmp_path / "folds.csv").write_text("id,cell_type,cells,fold\na,cort,2,3\nb,astro,1,-1\n")
    (tmp_path / "provenance.csv").write_text("id,image,masks\na,reconstructed,original\nb,reconstructed,approximate\n")
    return tmp_path


@pytest.fixture
def livecell(tmp_path: Path, write_picture: WritePicture) -> Path:
    """One labelled MCF7 image of 20x30 with a square and a crowd region, one of BV2 without labels."""
    names = ("MCF7_Phase_G4_2_02d16h00m_1", "BV2_Phase_B4_2_01d08h00m_4")
    for name in names:
        write_picture(tmp_path / "images" / "livecell_train_val_images" / f"{name}.tif", (20, 30))
    square = [2, 3, 8, 3, 8, 9, 2, 9]
    annotation = {"id": 1, "image_id": 5, "category_id": 1, "segmentation": [square], "iscrowd": 0}
    crowd = {
        "id": 2,
        "image_id": 5,
        "category_id": 1,
        "segmentation": {"size": [20, 30], "counts": [0, 40, 560]},
        "iscrowd": 1,
    }
    content = {
        "images": [
            {"id": 5, "file_name": f"{names[0]}.tif", "height": 20, "width": 30},
            {"id": 6, "file_name": "A172_Phase_A7_1_01d08h00m_2.tif", "height": 20, "width": 30},
        ],
        "annotations": [annotation, crowd],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "livecell_coco_val.json").write_text(json.dumps(content))
    return tmp_path
