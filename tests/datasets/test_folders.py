"""Images with label maps, in each layout that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cytotome.datasets.folders import FoldersDataset
from cytotome.errors import DataError
from cytotome.io.labels import write_label_map
from cytotome.ops.labels import to_label_map

LABELS = np.array([[0, 3, 3, 0, 0, 3], [0, 3, 0, 0, 9, 9], [0, 0, 0, 0, 0, 9], [0, 0, 0, 0, 0, 0]], np.int32)


def write_labels(path: Path, labels: np.ndarray = LABELS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_label_map(path, labels)


def test_parallel_folders_with_and_without_labels(tmp_path: Path, write_picture) -> None:
    write_picture(tmp_path / "images" / "a.png")
    write_picture(tmp_path / "images" / "b.tif")
    write_labels(tmp_path / "labels" / "a.png")
    dataset = FoldersDataset(tmp_path)
    assert [(i.id, i.mask_quality, i.fold) for i in dataset.infos] == [("a", "full", None), ("b", "none", None)]
    np.testing.assert_array_equal(to_label_map(dataset[0].instances), LABELS)
    assert dataset[1].instances is None
    assert [i.id for i in FoldersDataset(tmp_path, unlabelled=False).infos] == ["a"]


def test_one_label_in_several_parts_is_one_instance(tmp_path: Path, write_picture) -> None:
    write_picture(tmp_path / "images" / "a.png")
    write_labels(tmp_path / "masks" / "a_masks.tif")
    instances = FoldersDataset(tmp_path)[0].instances
    assert instances.ids.tolist() == [3, 9]
    assert instances.areas.tolist() == [4, 3]


def test_subfolders_become_part_of_the_ids(tmp_path: Path, write_picture) -> None:
    for part in ("train", "val"):
        write_picture(tmp_path / part / "images" / "a.png")
        write_labels(tmp_path / part / "labels" / "a.npy")
    assert [info.id for info in FoldersDataset(tmp_path).infos] == ["train/a", "val/a"]


def test_flat_folder_as_the_command_line_writes_it(tmp_path: Path, write_picture) -> None:
    write_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "a_overlay.png")
    write_picture(tmp_path / "b.png")
    write_labels(tmp_path / "a_labels.tif")
    dataset = FoldersDataset(tmp_path, class_name="nucleus")
    assert [(i.id, i.mask_quality) for i in dataset.infos] == [("a", "full"), ("b", "none")]
    assert dataset[0].instances.class_names == ("nucleus",)
    assert dataset[0].instances.classes.tolist() == [0, 0]


def test_labels_of_another_size_are_refused(tmp_path: Path, write_picture) -> None:
    write_picture(tmp_path / "images" / "a.png", (5, 6))
    write_labels(tmp_path / "labels" / "a.png")
    with pytest.raises(DataError, match=r"a\.png: the image is 5x6 \(height x width\), its annotation 4x6"):
        FoldersDataset(tmp_path)[0]


def test_negative_labels_name_the_file(tmp_path: Path, write_picture) -> None:
    write_picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    np.save(tmp_path / "labels" / "a.npy", -LABELS)
    with pytest.raises(DataError, match=r"a\.npy: .*labels must"):
        FoldersDataset(tmp_path)[0]


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image found; expected images/ with labels/"):
        FoldersDataset(tmp_path)
    with pytest.raises(DataError, match="no such folder; check the path"):
        FoldersDataset(tmp_path / "gone")


def test_real_nuclei_are_the_labels_of_their_files(real_data: Path) -> None:
    dataset = FoldersDataset(real_data / "dsb2018")
    assert {info.id.split("/")[0] for info in dataset.infos} == {"stage1_train", "stage1_test"}
    sample = dataset[0]
    assert sample.instances.shape == sample.image.shape
    assert len(sample.instances) == len(np.unique(to_label_map(sample.instances))) - 1


def test_real_t98g_keeps_sixteen_bits(real_data: Path) -> None:
    dataset = FoldersDataset(real_data / "usiigaci")
    assert len(dataset) == len(list((real_data / "usiigaci").glob("*/images/*")))
    assert all(sample.image.pixels.dtype == np.uint16 for sample in dataset)
