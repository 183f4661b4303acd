"""The challenge's layout, by hand and on the real files."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from cytotome.datasets.sartorius import SartoriusDataset
from cytotome.errors import DataError
from cytotome.ops.runs import mask_crop
from cytotome.types import Instances


def full_mask(instances: Instances, index: int) -> np.ndarray:
    mask = np.zeros(instances.shape, bool)
    crop, (y, x) = mask_crop(instances, index)
    mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return mask


def test_masks_infos_and_classes_are_those_of_the_tables(challenge: Path) -> None:
    dataset = SartoriusDataset(challenge)
    assert [(i.id, i.cell_type, i.group, i.fold, i.mask_quality) for i in dataset.infos] == [
        ("a", "cort", "plate", 3, "full"),
        ("b", "astro", "b", -1, "approximate"),
        ("u", "", "u", None, "none"),
    ]
    sample = dataset[0]
    assert sample.image.shape == (4, 6)
    first = np.zeros((4, 6), bool)
    first[0, 0:2] = first[1, 0:2] = True
    second = np.zeros((4, 6), bool)
    second[1, 1:4] = True
    np.testing.assert_array_equal(full_mask(sample.instances, 0), first)
    np.testing.assert_array_equal(full_mask(sample.instances, 1), second)
    assert sample.instances.class_names == ("cort", "astro", "shsy5y")
    assert sample.instances.classes.tolist() == [0, 0]
    assert dataset[1].instances.classes.tolist() == [1]
    assert dataset[2].instances is None


def test_unlabelled_images_can_be_left_out(challenge: Path) -> None:
    assert [info.id for info in SartoriusDataset(challenge, unlabelled=False).infos] == ["a", "b"]


def test_without_folds_and_provenance_nothing_is_assumed(challenge: Path) -> None:
    (challenge / "folds.csv").unlink()
    (challenge / "provenance.csv").unlink()
    infos = SartoriusDataset(challenge, unlabelled=False).infos
    assert [(info.fold, info.mask_quality) for info in infos] == [(None, "full"), (None, "full")]


def test_a_new_cell_type_comes_after_the_known_ones(challenge: Path) -> None:
    table = challenge / "train.csv"
    table.write_text(table.read_text().replace("astro", "microglia"))
    dataset = SartoriusDataset(challenge)
    assert dataset.class_names == ("cort", "astro", "shsy5y", "microglia")
    assert dataset[1].instances.classes.tolist() == [3]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("train.csv", "annotation", "mask", r"train\.csv: the columns annotation are missing"),
        ("train.csv", "b,24 1,6,4", "c,24 1,6,4", r"c\.png: listed in train\.csv but missing \(1 such\)"),
        ("train.csv", "24 1,6,4", "24 1,six,4", r"train\.csv: image b has the size '4' x 'six'; give whole numbers"),
        ("folds.csv", "cort,2,3", "cort,2,x", r"folds\.csv: fold 'x' is not a whole number"),
    ],
)
def test_faults_of_the_tables_are_named(challenge: Path, file: str, old: str, new: str, message: str) -> None:
    path = challenge / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        SartoriusDataset(challenge)


def test_a_damaged_annotation_names_its_image(challenge: Path) -> None:
    table = challenge / "train.csv"
    table.write_text(table.read_text().replace("8 3,6", "8 3 9,6"))
    with pytest.raises(DataError, match=r"train\.csv: image a: run lengths: row 1 has an odd count"):
        SartoriusDataset(challenge)[0]


def test_an_image_of_another_size_is_refused(challenge: Path) -> None:
    table = challenge / "train.csv"
    table.write_text(table.read_text().replace(",6,4,cort", ",6,5,cort"))
    with pytest.raises(DataError, match=r"a\.png: the image is 4x6 \(height x width\), its annotation 5x6"):
        SartoriusDataset(challenge)[0]


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.csv: cannot be read"):
        SartoriusDataset(tmp_path)


def test_a_name_that_is_in_train_is_not_unlabelled_too(challenge: Path) -> None:
    (challenge / "test" / "a.png").write_bytes((challenge / "test" / "u.png").read_bytes())
    assert [info.id for info in SartoriusDataset(challenge).infos] == ["a", "b", "u"]


def test_real_images_have_the_counts_of_the_fold_table(real_data: Path) -> None:
    root = real_data / "sartorius"
    with (root / "folds.csv").open() as table:
        expected = {row["id"]: (row["cell_type"], int(row["cells"]), int(row["fold"])) for row in csv.DictReader(table)}
    dataset = SartoriusDataset(root, unlabelled=False)
    found = {i.id: (i.cell_type, len(dataset.instances(n)), i.fold) for n, i in enumerate(dataset.infos)}
    assert found == expected
    assert {i.fold for i in dataset.infos if i.mask_quality == "approximate"} == {-1}


def test_real_masks_equal_a_plain_decoding(real_data: Path) -> None:
    root = real_data / "sartorius"
    dataset = SartoriusDataset(root)
    index = next(i for i, info in enumerate(dataset.infos) if info.cell_type == "astro")
    sample = dataset[index]
    csv.field_size_limit(sys.maxsize)
    with (root / "train.csv").open() as table:
        rows = [row["annotation"] for row in csv.DictReader(table) if row["id"] == sample.info.id]
    assert len(rows) == len(sample.instances)
    for position, text in enumerate(rows):
        numbers = list(map(int, text.split()))
        flat = np.zeros(sample.image.pixels.size, bool)
        for start, length in zip(numbers[::2], numbers[1::2], strict=True):
            flat[start - 1 : start - 1 + length] = True
        np.testing.assert_array_equal(full_mask(sample.instances, position).ravel(), flat)


def test_images_without_a_row_and_other_kinds_are_noted(challenge: Path, write_picture) -> None:
    write_picture(challenge / "train" / "z.png")
    (challenge / "test" / "v.gif").write_bytes(b"GIF")
    extra, others = SartoriusDataset(challenge).notes
    assert (extra.names, others.names) == (("z.png",), ("test/v.gif",))
