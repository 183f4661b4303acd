from __future__ import annotations

import re

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytotome.errors import DataError
from cytotome.io.coco import read_coco
from cytotome.io.labels import read_label_map
from cytotome.ops.labels import OVERLAP_POLICIES, from_layers, label_means, resolve_overlaps, to_layers
from cytotome.types import Instances

sides = st.integers(1, 9)
label_maps = arrays.arrays(np.int32, st.tuples(sides, sides), elements=st.sampled_from([0, 0, 0, 1, 2, 7, 70000]))
stacks = st.tuples(st.integers(0, 6), sides, sides).flatmap(lambda shape: arrays.arrays(bool, shape))


def bars(*spans, length=20, **attributes):
    """Masks in an image of one row, given by first pixel and past-the-last pixel."""
    masks = np.zeros((len(spans), 1, length), bool)
    for mask, (start, stop) in zip(masks, spans, strict=True):
        mask[0, start:stop] = True
    return Instances.from_masks(masks, **attributes)


def pixels(labels):
    return "".join(str(value) for value in labels[0])


def same(first, second):
    np.testing.assert_array_equal(first.runs, second.runs)
    np.testing.assert_array_equal(first.offsets, second.offsets)
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.classes, second.classes)


@given(label_maps)
def test_label_maps_come_back(labels):
    instances = Instances.from_label_map(labels)
    assert instances.ids.tolist() == np.unique(labels[labels > 0]).tolist()
    assert instances.areas.tolist() == [(labels == label).sum() for label in instances.ids]
    for policy in OVERLAP_POLICIES:
        np.testing.assert_array_equal(instances.to_label_map(policy), labels)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.uint32, np.int64, np.uint64])
def test_every_integer_type_is_read(dtype):
    labels = np.array([[0, 1, 1], [0, 0, 1]]).astype(dtype)
    assert Instances.from_label_map(np.asfortranarray(labels)).runs.tolist() == [[0, 1, 3], [1, 2, 3]]


def test_more_instances_than_16_bits_hold():
    labels = np.arange(1, 300 * 301 + 1, dtype=np.int32).reshape(300, 301)
    instances = Instances.from_label_map(labels)
    assert len(instances) == 90300
    np.testing.assert_array_equal(instances.to_label_map(), labels)
    layers = to_layers(instances)
    assert layers.shape == (1, 300, 301)
    same(from_layers(layers, instances), instances)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 2, 2), int), "a label map must be (H, W) integers, got (2, 2, 2) of int64"),
        (np.zeros((2, 2)), "a label map must be (H, W) integers, got (2, 2) of float64"),
        (np.array([[-1]]), "must not contain negative labels"),
        (np.array([[2**31]]), "labels must fit 32 bits"),
    ],
)
def test_what_is_no_label_map_is_refused(labels, message):
    with pytest.raises(DataError, match=re.escape(message)):
        Instances.from_label_map(labels)


def test_larger_lies_below_whatever_the_scores():
    instances = bars((0, 10), (8, 12), scores=[0.9, 0.1])
    assert pixels(instances.to_label_map("area")) == "11111111222200000000"


def test_of_equal_areas_the_first_is_on_top():
    assert pixels(bars((0, 6), (4, 10)).to_label_map("area")) == "11111122220000000000"


def test_higher_score_is_on_top():
    instances = bars((0, 10), (8, 12), scores=[0.9, 0.1])
    assert pixels(instances.to_label_map("score")) == "11111111112200000000"


def test_of_equal_scores_the_larger_is_on_top():
    assert pixels(bars((8, 12), (0, 10)).to_label_map("score")) == "22222222221100000000"


def test_who_loses_more_than_a_fifth_is_dropped_whole():
    instances = bars((0, 10), (8, 18), (15, 20), scores=[0.9, 0.8, 0.7])
    # The second loses 2 of 10 pixels, just a fifth, and stays; the third then loses 3 of 5 and goes.
    assert pixels(instances.to_label_map("drop")) == "11111111112222222200"


def test_who_was_dropped_takes_nothing_from_others():
    instances = bars((0, 10), (5, 15), (14, 20), scores=[0.9, 0.8, 0.7])
    assert pixels(instances.to_label_map("drop")) == "11111111110000333333"


def test_an_unknown_policy_is_refused():
    with pytest.raises(DataError, match="overlap policy must be one of area, score, drop, got 'first'"):
        bars((0, 1)).to_label_map("first")


@given(stacks, st.sampled_from(OVERLAP_POLICIES), st.randoms(use_true_random=False))
def test_resolved_instances_are_disjoint_parts_that_keep_their_attributes(stack, policy, random):
    ids = random.sample(range(1, 50), len(stack))
    scores = np.array([random.random() for _ in ids], np.float32)
    instances = Instances.from_masks(
        stack, shape=stack.shape[1:], ids=ids, scores=scores, classes=np.arange(len(stack))
    )
    resolved = resolve_overlaps(instances, policy)
    labels = instances.to_label_map(policy)
    painted = np.zeros(instances.shape, int)
    for index, label in enumerate(resolved.ids):
        source = ids.index(label)
        inside = labels == label
        assert not (inside & ~stack[source]).any()
        assert resolved.areas[index] == inside.sum() > 0
        assert resolved.scores[index] == scores[source]
        assert resolved.classes[index] == source
        painted += inside
    assert painted.max(initial=0) <= 1
    if policy != "drop":
        np.testing.assert_array_equal(painted > 0, stack.any(0))


@given(stacks)
def test_layers_hold_every_pixel_of_every_mask(stack):
    instances = Instances.from_masks(stack, shape=stack.shape[1:])
    layers = to_layers(instances)
    for index, mask in enumerate(stack):
        np.testing.assert_array_equal((layers == index + 1).any(0), mask)
        assert ((layers == index + 1).any((1, 2))).sum() == mask.any()
    filled = np.diff(instances.offsets) > 0
    same(from_layers(layers, instances), instances.select(filled))


@given(stacks, st.data())
def test_layers_may_be_cropped(stack, data):
    top, left = data.draw(st.integers(0, stack.shape[1] - 1)), data.draw(st.integers(0, stack.shape[2] - 1))
    instances = Instances.from_masks(stack, shape=stack.shape[1:], scores=np.linspace(0, 1, len(stack)))
    cropped = from_layers(to_layers(instances)[:, top:, left:], instances)
    expected = Instances.from_masks(
        stack[:, top:, left:], shape=stack[0:1, top:, left:].shape[1:] if len(stack) else cropped.shape
    )
    kept = np.flatnonzero(expected.areas)
    np.testing.assert_array_equal(cropped.runs, expected.runs)
    np.testing.assert_array_equal(cropped.ids, kept + 1)
    np.testing.assert_array_equal(cropped.scores, instances.scores[kept])


def test_depth_of_layers_is_that_of_the_overlaps():
    assert to_layers(bars((0, 4), (4, 8), (8, 12))).shape[0] == 1
    assert to_layers(bars((0, 6), (4, 8), (5, 12))).shape[0] == 3
    assert to_layers(bars((0, 6), (4, 8), (6, 12))).shape[0] == 2


def test_real_overlapping_masks_go_through_layers(real_data):
    file = read_coco(real_data / "sartorius" / "annotations_without_images.json.gz")
    for image in file.images[:40]:
        instances = file.instances(image.id)
        same(from_layers(to_layers(instances), instances), instances)


def test_real_label_maps_come_back(real_data):
    folders = (real_data / "dsb2018" / "stage1_test" / "labels", real_data / "usiigaci" / "val" / "labels")
    paths = [path for folder in folders for path in sorted(folder.glob("*.png"))[:10]]
    assert paths
    for path in paths:
        labels = read_label_map(path)
        instances = Instances.from_label_map(labels)
        np.testing.assert_array_equal(instances.to_label_map(), labels)
        same(from_layers(to_layers(instances), instances), instances)


def test_label_means_agree_with_numpy() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 6, (30, 40)).astype(np.int32)
    labels[labels == 4] = 0
    planes = rng.random((3, 30, 40), dtype=np.float32)
    means, areas = label_means(labels, planes, 5)
    for label in (1, 2, 3, 5):
        assert areas[label] == (labels == label).sum()
        np.testing.assert_allclose(means[label], planes[:, labels == label].mean(axis=1), rtol=1e-5)
    assert not means[[0, 4]].any()
    assert areas[4] == 0
