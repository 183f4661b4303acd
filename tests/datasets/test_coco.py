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
    with pytest.raises(DataError, match=r"truth\.json\.gz: the image gone\.png is not below .*; add it"):
        dataset[2]


def test_equal_file_names_fall_back_to_coco_ids(coco: Path) -> None:
    content = json.loads(gzip.decompress(coco.read_bytes()))
    for image in content["images"]:
        image["file_name"] = "same.png"
    coco.write_bytes(gzip.compress(json.dumps(content).encode()))
    assert [info.id for info in CocoDataset(coco).infos] == ["1", "2", "3"]


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
