"""LIVECell's layout, by hand and on the real files."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cytotome.datasets.livecell import LivecellDataset
from cytotome.errors import DataError

LABELLED, UNLABELLED = "MCF7_Phase_G4_2_02d16h00m_1", "BV2_Phase_B4_2_01d08h00m_4"


def test_cell_line_group_and_quality_come_from_names_and_annotations(livecell: Path) -> None:
    infos = LivecellDataset(livecell).infos
    assert [(i.id, i.cell_type, i.group, i.fold, i.mask_quality) for i in infos] == [
        (LABELLED, "MCF7", "MCF7_Phase_G4", None, "full"),
        (UNLABELLED, "BV2", "BV2_Phase_B4", None, "none"),
    ]


def test_the_class_is_the_cell_line_and_crowds_are_ignored(livecell: Path) -> None:
    dataset = LivecellDataset(livecell)
    sample = dataset[0]
    assert dataset.class_names[sample.instances.classes[0]] == "MCF7"
    assert sample.instances.areas.tolist() == [36]
    assert sample.instances.boxes.tolist() == [[3, 2, 9, 8]]
    expected = np.zeros((20, 30), bool)
    expected[:, :2] = True
    np.testing.assert_array_equal(sample.ignore, expected)
    assert dataset[1].instances is None


def test_unlabelled_images_can_be_left_out(livecell: Path) -> None:
    assert [info.id for info in LivecellDataset(livecell, unlabelled=False).infos] == [LABELLED]


def test_an_image_annotated_twice_is_refused(livecell: Path) -> None:
    shutil.copy(livecell / "livecell_coco_val.json", livecell / "livecell_coco_test.json")
    with pytest.raises(DataError, match=rf"{LABELLED} is annotated in .*livecell_coco_test\.json too; remove one"):
        LivecellDataset(livecell)


def test_annotations_without_their_images_are_refused(livecell: Path) -> None:
    (livecell / "images" / "livecell_train_val_images" / f"{LABELLED}.tif").unlink()
    with pytest.raises(DataError, match=r"no image in images/ belongs to a livecell_coco_\*\.json"):
        LivecellDataset(livecell)


def test_equal_names_are_refused(livecell: Path) -> None:
    folder = livecell / "images" / "livecell_test_images"
    folder.mkdir()
    shutil.copy(livecell / "images" / "livecell_train_val_images" / f"{LABELLED}.tif", folder)
    with pytest.raises(DataError, match=rf"are named '{LABELLED}'; rename one"):
        LivecellDataset(livecell)


def test_real_masks_are_all_that_their_files_hold(real_data: Path) -> None:
    root = real_data / "livecell"
    dataset = LivecellDataset(root)
    files = [json.loads(path.read_text()) for path in root.glob("livecell_coco_*.json")]
    names = {image["id"]: Path(image["file_name"]).stem for file in files for image in file["images"]}
    stated = Counter(names[annotation["image_id"]] for file in files for annotation in file["annotations"])
    labelled = {info.id: index for index, info in enumerate(dataset.infos) if info.mask_quality == "full"}
    assert {name: len(dataset.instances(index)) for name, index in labelled.items()} == stated
    assert len(dataset) == len(list((root / "images").glob("*/*.tif")))
    assert set(dataset.class_names) == {info.cell_type for info in dataset.infos}


def test_annotated_images_that_are_not_there_are_noted(livecell: Path) -> None:
    crowd, missing = LivecellDataset(livecell).notes
    assert crowd.names == ("MCF7_Phase_G4_2_02d16h00m_1.tif (1)",)
    assert missing.names == ("A172_Phase_A7_1_01d08h00m_2",)
