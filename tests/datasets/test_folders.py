"""Images with label maps, in each layout that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cytotome.datasets.folders import FoldersDataset
from cytotome.errors import DataError
from cytotome.io.labels import write_label_map

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
    np.testing.assert_array_equal(dataset[0].instances.to_label_map(), LABELS)
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


@pytest.mark.parametrize("flat", [True, False])
def test_label_maps_that_fit_no_image_are_named_with_the_nearest(tmp_path: Path, write_picture, flat: bool) -> None:
    for name in ("well_a1", "well_b1", "plate"):
        write_picture(tmp_path / ("" if flat else "images") / f"{name}.png")
    for name in ("well_a1", "wel_b1", "gt_plate"):
        write_labels(tmp_path / ("" if flat else "labels") / f"{name}_labels.tif")
    dataset = FoldersDataset(tmp_path)
    assert [(i.id, i.mask_quality) for i in dataset.infos] == [
        ("plate", "none"),
        ("well_a1", "full"),
        ("well_b1", "none"),
    ]
    (note,) = dataset.notes
    folder = "" if flat else "labels/"
    assert note.what == "label maps fit no image and are not used"
    assert note.names == (
        f"{folder}gt_plate_labels.tif (nearest image: plate)",
        f"{folder}wel_b1_labels.tif (nearest image: well_b1)",
    )


def test_label_maps_of_which_none_fits_are_refused(tmp_path: Path, write_picture) -> None:
    write_picture(tmp_path / "images" / "a.png")
    write_labels(tmp_path / "labels" / "gt_a.png")
    with pytest.raises(
        DataError,
        match=r"no label map is named like an image, for example labels/gt_a\.png \(nearest image: a\); rename",
    ):
        FoldersDataset(tmp_path)


@pytest.mark.parametrize("second", ["masks/a.png", "labels/a_mask.png"])
def test_two_label_maps_of_one_image_are_refused(tmp_path: Path, write_picture, second: str) -> None:
    write_picture(tmp_path / "images" / "a.png")
    write_labels(tmp_path / "labels" / "a.png")
    write_labels(tmp_path / second)
    with pytest.raises(
        DataError, match=rf"images/a\.png: has two label maps, .*labels/a\.png and .*{second}; remove one"
    ):
        FoldersDataset(tmp_path)


def test_all_that_is_not_taken_is_named_once(tmp_path: Path, write_picture) -> None:
    write_picture(tmp_path / "images" / "a.tif")
    write_picture(tmp_path / "images" / "day2" / "b.tif")
    write_picture(tmp_path / "more" / "c.tif")
    write_picture(tmp_path / "more" / "c_overlay.png")
    write_picture(tmp_path / ".hidden" / "d.tif")
    write_labels(tmp_path / "labels" / "a.tif")
    for name in ("images/e.bmp", "images/f.gif", "labels/a.jpg", "images/notes.txt", "more/g.bmp"):
        (tmp_path / name).write_bytes(b"")
    outside, others = FoldersDataset(tmp_path).notes
    assert outside.names == ("images/day2 (1)", "more (1)")
    assert "2 images are in folders that are not searched" in outside.what
    assert others.names == ("images/e.bmp", "images/f.gif", "labels/a.jpg")


def test_linked_folders_are_parts_like_others(tmp_path: Path, tmp_path_factory, write_picture) -> None:
    elsewhere = tmp_path_factory.mktemp("disk")
    write_picture(elsewhere / "images" / "a.png")
    write_picture(tmp_path / "one" / "images" / "a.png")
    (tmp_path / "two").symlink_to(elsewhere)
    dataset = FoldersDataset(tmp_path)
    assert [info.id for info in dataset.infos] == ["one/a", "two/a"]
    assert dataset.notes == ()


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
    assert len(sample.instances) == len(np.unique(sample.instances.to_label_map())) - 1


def test_real_t98g_keeps_sixteen_bits(real_data: Path) -> None:
    dataset = FoldersDataset(real_data / "usiigaci")
    assert len(dataset) == len(list((real_data / "usiigaci").glob("*/images/*")))
    assert all(sample.image.pixels.dtype == np.uint16 for sample in dataset)
