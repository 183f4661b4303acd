from __future__ import annotations

import csv
import re
import time

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hotcoco import mask as peer
from hypothesis import given
from hypothesis import strategies as st

from cytotome.errors import DataError
from cytotome.io.coco import read_coco
from cytotome.io.rle import decode_rle, encode_rle, from_coco_rle, to_coco_rle
from cytotome.ops.runs import mask_crop
from cytotome.types import Instances

stacks = st.tuples(st.integers(0, 5), st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays.arrays(bool, shape)
)


def challenge_text(mask):
    """The challenge's own published encoder: row-major, 1-based."""
    padded = np.concatenate([[0], mask.ravel().astype(int), [0]])
    edges = np.flatnonzero(padded[1:] != padded[:-1]) + 1
    edges[1::2] -= edges[::2]
    return " ".join(str(value) for value in edges)


def same(first, second):
    assert first.shape == second.shape
    np.testing.assert_array_equal(first.runs, second.runs)
    np.testing.assert_array_equal(first.offsets, second.offsets)


def real_rows(path):
    rows = {}
    with open(path, newline="") as handle:
        for row in csv.DictReader(handle):
            rows.setdefault(row["id"], []).append(row["annotation"])
    return rows


@given(stacks)
def test_challenge_runs_are_those_of_its_own_encoder_and_come_back(stack):
    instances = Instances.from_masks(stack, shape=stack.shape[1:])
    rows = encode_rle(instances)
    assert rows == [challenge_text(mask) for mask in stack]
    same(decode_rle(rows, instances.shape), instances)


def test_a_hand_worked_mask():
    mask = np.array([[0, 1, 1], [1, 0, 0]], bool)
    assert encode_rle(Instances.from_masks([mask])) == ["2 3"]
    assert to_coco_rle(Instances.from_masks([mask]), compressed=False) == [{"size": [2, 3], "counts": [1, 2, 1, 1, 1]}]


def test_runs_may_come_in_any_order_touch_overlap_and_be_parted_by_any_blanks():
    expected = decode_rle(["2 6"], (3, 4))
    same(decode_rle([" 6\t2  2 4\n3 1 "], (3, 4)), expected)


def test_attributes_are_passed_on():
    instances = decode_rle(["1 1", "2 1"], (1, 2), scores=[0.5, 1], classes=[1, 0], class_names=("a", "b"))
    assert (instances.scores.tolist(), instances.classes.tolist()) == ([0.5, 1], [1, 0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1 2", "3"], "run lengths: row 1 has an odd count of numbers"),
        (["1 2", "1 2", "3 x"], "run lengths: row 2 has a word that is not a whole number"),
        (["1 -2"], "run lengths: row 0 has a word that is not a whole number"),
        (["1 2.5"], "run lengths: row 0 has a word that is not a whole number"),
        (["99999999999999999999999 1"], "run lengths: row 0 has a word that is not a whole number"),
        (["1 2", "12 2"], "row 1 has the run '12 2', which does not fit an image of 3x4"),
        (["0 2"], "row 0 has the run '0 2'"),
        (["3 0"], "row 0 has the run '3 0'"),
        (["１ 2"], "run lengths must be text of whole numbers"),
        ([float("nan")], "run lengths must be text of whole numbers"),
    ],
)
def test_damaged_runs_are_named(rows, message):
    with pytest.raises(DataError, match=re.escape(message)):
        decode_rle(rows, (3, 4))


@given(stacks)
def test_coco_text_is_that_of_a_peer_and_comes_back(stack):
    instances = Instances.from_masks(stack, shape=stack.shape[1:])
    rles = to_coco_rle(instances)
    for rle, mask in zip(rles, stack, strict=True):
        expected = peer.encode(np.asfortranarray(mask.astype(np.uint8)))
        counts = expected["counts"]
        assert rle["counts"] == (counts.decode() if isinstance(counts, bytes) else counts)
        assert rle["size"] == list(expected["size"])
    same(from_coco_rle(rles, instances.shape), instances)
    plain = to_coco_rle(instances, compressed=False)
    assert all(sum(rle["counts"]) == stack[0].size for rle in plain)
    mixed = [one if index % 2 else other for index, (one, other) in enumerate(zip(rles, plain, strict=True))]
    same(from_coco_rle(mixed, instances.shape), instances)
    same(from_coco_rle([rle | {"counts": rle["counts"].encode()} for rle in rles], instances.shape), instances)


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [2, 3], "counts": [1, 2]}, "mask 1 has counts that do not add up to 2x3 pixels (sum 3)"),
        ({"size": [2, 3], "counts": [7, -3, 2]}, "mask 1 has counts that do not add up to 2x3 pixels"),
        ({"size": [2, 3], "counts": ["a"]}, "mask 1 has counts that are not whole numbers"),
        ({"size": [2, 3], "counts": "\x01"}, "the text of mask 1 is damaged"),
        ({"size": [2, 3], "counts": "oooooooooooooo"}, "the text of mask 1 is damaged"),
        ({"size": [2, 3], "counts": "o"}, "the text of mask 1 is damaged"),
        ({"size": [2, 3], "counts": "é"}, "mask 1 has counts that do not add up"),
        ({"size": [3, 2], "counts": [6]}, "mask 1 needs counts and the size [2, 3], got [3, 2]"),
        ({"size": [2, 3]}, "mask 1 needs counts and the size [2, 3]"),
        ({"size": 5, "counts": [6]}, "mask 1 needs counts and the size [2, 3], got 5"),
    ],
)
def test_damaged_coco_runs_are_named(rle, message):
    with pytest.raises(DataError, match=re.escape(message)):
        from_coco_rle([{"size": [2, 3], "counts": [6]}, rle])


def test_no_coco_mask_needs_a_shape():
    with pytest.raises(DataError, match=re.escape("give shape=(H, W) if there is no mask")):
        from_coco_rle([])
    with pytest.raises(DataError, match="mask 0 has no size"):
        from_coco_rle([{"counts": [6]}])
    with pytest.raises(DataError, match="mask 0 has no size"):
        from_coco_rle([{"size": [0, 0], "counts": []}])


def test_more_masks_than_16_bits_hold():
    rows = [f"{index + 1} 1" for index in range(70000)]
    instances = decode_rle(rows, (250, 280))
    assert encode_rle(instances) == rows
    same(from_coco_rle(to_coco_rle(instances)), instances)


def test_the_whole_training_table_comes_back_quickly(real_data):
    rows = real_rows(real_data / "sartorius" / "train.csv")
    decode_rle(["1 2"], (520, 704))
    begin = time.process_time()
    images = {image_id: decode_rle(texts, (520, 704)) for image_id, texts in rows.items()}
    assert time.process_time() - begin < 5
    for image_id, instances in images.items():
        assert len(instances) == len(rows[image_id])
        assert encode_rle(instances) == rows[image_id]


def test_real_masks_are_those_that_a_peer_decodes(real_data):
    file = read_coco(real_data / "sartorius" / "annotations_without_images.json.gz")
    for image in file.images[::50]:
        instances = file.instances(image.id)
        rles = [dict(entry["segmentation"]) for entry in file.annotations[image.id]]
        for rle in rles:
            if isinstance(rle["counts"], list):
                rle["counts"] = peer.fr_py_objects(rle, *image.shape)["counts"]
        assert len(rles) == len(instances)
        for index, rle in enumerate(rles):
            crop, (y, x) = mask_crop(instances, index)
            full = np.zeros(image.shape, np.uint8)
            full[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
            np.testing.assert_array_equal(full, peer.decode(rle))
        same(from_coco_rle(to_coco_rle(instances)), instances)
        same(decode_rle(encode_rle(instances), image.shape), instances)
