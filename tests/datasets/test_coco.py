"""COCO files of any origin as a dataset."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cytotome.datasets.coco import CocoDataset
from cytotome.errors import DataError

SIZE = [4, 6]


def entry(image: int, category: int, counts: list[int], crowd: int = 0) -> dict[str, object]:
    return {
        "id": image * 10 + category,
        "image_id": image,
        "category_id": category,
        "segmentation": {"size": SIZE, "counts": counts},
        "iscrowd": crowd,
    }


@pytest.fixture
def coco(tmp_path: Path, write_picture) -> Path:
    for name in ("deep/a.png", "b.png"):
        write_picture(tmp_path / "pictures" / name)
    content = {
        "images": [
            {"id": 1, "file_name": "a.png", "height": 4, "width": 6},
            {"id": 2, "file_name": "b.png", "height": 4, "width": 6},
            {"id": 3, "file_name": "gone.png", "height": 4, "width": 6},
        ],
        "annotations": [
            entry(1, 7, [0, 4, 20]),
            entry(2, 7, [4, 4, 16]),
            entry(2, 3, [0, 2, 22]),
            entry(2, 3, [8, 1, 15], crowd=1),
        ],
        "categories": [{"id": 3, "name": "small"}, {"id": 7, "name": "large"}],
    }
    path = tmp_path / "truth.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def test_images_are_found_below_the_folder_and_masks_are_column_major(coco: Path) -> None:
    dataset = CocoDataset(coco)
    assert (dataset.name, dataset.class_names) == ("truth", ("small", "large"))
    assert [(info.id, info.cell_type) for info in dataset.infos] == [("a", "large"), ("b", ""), ("gone", "")]
    sample = dataset[0]
    assert sample.instances.boxes.tolist() == [[0, 0, 4, 1]]
    assert sample.instances.classes.tolist() == [1]
    assert sample.ignore is None


def test_crowds_are_ignored(coco: Path) -> None:
    sample = CocoDataset(coco)[1]
    assert sample.instances.classes.tolist() == [1, 0]
    assert np.argwhere(sample.ignore).tolist() == [[0, 2]]


def test_masks_are_read_where_the_picture_is_missing(coco: Path) -> None:
    dataset = CocoDataset(coco)
    assert len(dataset.instances(2)) == 0
    with pytest.raises(DataError, match=r"truth\.json\.gz: the image gone\.png is not in .*; add it"):
        dataset[2]


def renamed(coco: Path, *names: str) -> CocoDataset:
    content = json.loads(gzip.decompress(coco.read_bytes()))
    for image, name in zip(content["images"], names, strict=True):
        image["file_name"] = name
    coco.write_bytes(gzip.compress(json.dumps(content).encode()))
    return CocoDataset(coco)


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (("x/1.png", "y/2.png", "z/3.png"), ["1", "2", "3"]),
        (("x/2.png", "y/2.png", "y/1.png"), ["x/2", "y/2", "y/1"]),
        (("x\\1.png", "y\\1.png", "1.png"), ["x/1", "y/1", "1"]),
        (("1.png", "1.tif", "2.png"), ["1.png", "1.tif", "2.png"]),
        (("", "", ""), ["1", "2", "3"]),
    ],
)
def test_ids_are_as_short_as_they_can_be_and_never_those_of_others(
    coco: Path, names: tuple[str, ...], ids: list[str]
) -> None:
    assert [info.id for info in renamed(coco, *names).infos] == ids


def test_one_file_for_two_images_is_refused(coco: Path) -> None:
    with pytest.raises(
        DataError, match=r"truth\.json\.gz: same\.png is the file of 2 images; list each image file once"
    ):
        renamed(coco, "same.png", "same.png", "other.png")


def test_equal_names_in_two_folders_are_two_images(coco: Path, write_picture) -> None:
    folder = coco.parent / "pictures"
    first = write_picture(folder / "x" / "1.png")
    second = write_picture(folder / "y" / "1.png", (9, 9))
    dataset = renamed(coco, "x/1.png", "y/1.png", "b.png")
    assert dataset[0].image.source == str(first)
    with pytest.raises(DataError, match=rf"{second}: the image is 9x9"):
        dataset[1]
    with pytest.raises(DataError, match=r"the image 1\.png matches both .*x/1\.png and .*y/1\.png; add the folder"):
        renamed(coco, "1.png", "b.png", "c.png")[0]


def test_linked_folders_are_searched_once(coco: Path, tmp_path_factory: pytest.TempPathFactory, write_picture) -> None:
    elsewhere = tmp_path_factory.mktemp("disk")
    write_picture(elsewhere / "gone.png")
    (elsewhere / "loop").symlink_to(elsewhere)
    (coco.parent / "linked").symlink_to(elsewhere)
    assert CocoDataset(coco)[2].info.id == "gone"


def test_images_without_an_entry_and_other_kinds_are_noted(coco: Path, write_picture) -> None:
    write_picture(coco.parent / "pictures" / "extra.png")
    (coco.parent / "pictures" / "old.bmp").write_bytes(b"BM")
    extra, missing, others = CocoDataset(coco, images=coco.parent).notes[-3:]
    assert extra.names == ("pictures/extra.png",)
    assert missing.names == ("gone.png",)
    assert others.names == ("pictures/old.bmp",)
    assert [note.names for note in CocoDataset(coco).notes] == [("b.png (1)",)]


def test_categories_are_those_of_the_file_or_refused(coco: Path) -> None:
    content = json.loads(gzip.decompress(coco.read_bytes()))
    content["annotations"][0]["category_id"] = "7"
    coco.write_bytes(gzip.compress(json.dumps(content).encode()))
    dataset = CocoDataset(coco)
    assert (dataset.infos[0].cell_type, dataset.instances(0).classes.tolist()) == ("large", [1])
    content["annotations"][0]["category_id"] = "x"
    coco.write_bytes(gzip.compress(json.dumps(content).encode()))
    with pytest.raises(DataError, match="image 1: category_id must be a whole number, got 'x'"):
        CocoDataset(coco)


def test_real_annotations_without_images(real_data: Path) -> None:
    path = real_data / "sartorius" / "annotations_without_images.json.gz"
    dataset = CocoDataset(path)
    content = json.loads(gzip.decompress(path.read_bytes()))
    assert len(dataset) == len(content["images"]) > 0
    stated = Counter(annotation["image_id"] for annotation in content["annotations"])
    names = {category["id"]: category["name"] for category in content["categories"]}
    kinds = {annotation["image_id"]: names[annotation["category_id"]] for annotation in content["annotations"]}
    for index in range(0, len(dataset), 25):
        instances, image_id = dataset.instances(index), content["images"][index]["id"]
        assert len(instances) == stated[image_id]
        assert dataset.infos[index].cell_type == kinds[image_id]
        assert {dataset.class_names[kind] for kind in instances.classes} == {kinds[image_id]}
