"""Fusion of instances: nothing changes where nothing should, and five noisy views are better than one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cytotome.ensemble.instances import InstanceFusion, fuse_instances
from cytotome.errors import ConfigError, DataError
from cytotome.metrics.challenge import image_score
from cytotome.ops.boxes import weighted_boxes_fusion
from cytotome.ops.labels import resolve_overlaps
from cytotome.ops.runs import mask_crop
from cytotome.ops.soft_masks import from_crops
from cytotome.types import Dataset, Instances

from .conftest import disturb, same

METHODS = ("vote", "boxes", "nms", "soft_nms", "cluster_nms")


@pytest.mark.parametrize("copies", [1, 2, 5])
@pytest.mark.parametrize("method", METHODS)
def test_a_model_fused_with_itself_is_itself(detections: list[Instances], method: str, copies: int) -> None:
    single = resolve_overlaps(detections[0], "score")  # so that its own masks do not compete
    overlap = "mask"
    if method == "boxes":  # boxes of neighbours overlap though their masks do not
        single = fuse_instances([single], InstanceFusion(method="nms", overlap="box", threshold=0.5))
    fused = fuse_instances([single] * copies, InstanceFusion(method=method, overlap=overlap, threshold=0.5))
    assert len(single) > 20
    assert same(fused, single)


def test_voting_with_itself_keeps_even_masks_that_overlap(detections: list[Instances]) -> None:
    single = detections[0]
    copies = replace(single, scores=np.full(len(single), 0.5, np.float32))
    for found in (single, copies):
        assert same(fuse_instances([found] * 3, InstanceFusion(threshold=0.2)), found)


def test_voting_is_better_than_any_of_the_views(scenes: Dataset) -> None:
    fused_scores, single_scores = [], []
    for index in range(len(scenes)):
        truth = scenes.instances(index)
        assert truth is not None
        views = [disturb(truth, seed + 10 * index) for seed in range(5)]
        fused = fuse_instances(views, InstanceFusion(min_score=0.3))
        fused_scores.append(image_score(fused, truth))
        single_scores.append([image_score(view, truth) for view in views])
    assert np.mean(fused_scores) > np.mean(single_scores, axis=0).max() + 0.05


def test_what_few_models_found_is_scored_down(detections: list[Instances]) -> None:
    cell = detections[0].select([0])
    nothing = Instances.empty(cell.shape, cell.class_names)
    weights = [1.0, 2.0, 1.0]
    for exponent in (0.0, 0.5, 1.0):
        fused = fuse_instances([cell, nothing, cell], InstanceFusion(unconfirmed=exponent), weights)
        np.testing.assert_allclose(fused.scores, cell.scores * 0.5**exponent, rtol=1e-6)


def test_masks_are_the_weighted_vote_of_their_members() -> None:
    masks = np.zeros((3, 1, 12), bool)
    masks[0, 0, :9], masks[1, 0, 1:9], masks[2, 0, 2:12] = True, True, True
    scores = [0.9, 0.6, 0.5]
    views = [Instances.from_masks(masks[k : k + 1], scores=[scores[k]]) for k in range(3)]
    for threshold in (0.3, 0.5, 0.8):
        fused = fuse_instances(views, InstanceFusion(threshold=0.3, mask_threshold=threshold))
        expected = np.average(masks[:, 0], axis=0, weights=scores) > threshold
        mask, (_, x) = mask_crop(fused, 0)
        np.testing.assert_array_equal(np.flatnonzero(mask[0]) + x, np.flatnonzero(expected))
        assert fused.scores[0] == pytest.approx(np.mean(scores))


def test_soft_masks_are_averaged_where_models_give_them() -> None:
    soft = np.array([[0.9, 0.9, 0.45, 0.1]], np.float32)
    crisp = Instances.from_masks([np.array([[1, 1, 1, 0]], bool)], scores=[0.6])
    model = Instances.from_masks([soft > 0.4], scores=[0.6])
    model = replace(model, soft=from_crops([soft], [[0, 0]]))
    fused = fuse_instances([model, crisp], InstanceFusion(mask_threshold=0.5))
    assert fused.areas.tolist() == [3]  # the third pixel has (0.45 + 1) / 2
    fused = fuse_instances([model, crisp], InstanceFusion(mask_threshold=0.75))
    assert fused.areas.tolist() == [2]
    assert fuse_instances([model], InstanceFusion(mask_threshold=0.4)).areas.tolist() == [3]
    assert fused.soft is None


def test_the_clusters_are_those_of_weighted_boxes_fusion(detections: list[Instances]) -> None:
    fused = fuse_instances(detections, InstanceFusion(method="boxes", threshold=0.55))
    boxes = np.concatenate([found.boxes for found in detections])
    scores = np.concatenate([found.scores for found in detections])
    models = np.repeat(np.arange(5), [len(found) for found in detections])
    expected = weighted_boxes_fusion(boxes, scores, np.zeros(len(boxes)), models, np.ones(5), threshold=0.55)
    assert len(fused) == len(expected.boxes)


def test_class_names_of_models_are_joined_and_the_majority_wins() -> None:
    mask = np.ones((1, 3, 3), bool)
    first = Instances.from_masks(mask, class_names=("a", "b"), classes=[1], scores=[0.9])
    second = Instances.from_masks(mask, class_names=("c",), scores=[0.5])
    third = Instances.from_masks(mask, class_names=("c", "b"), classes=[0], scores=[0.6])
    unknown = Instances.from_masks(mask, scores=[0.3])
    fused = fuse_instances([first, second, third, unknown], InstanceFusion())
    assert fused.class_names == ("a", "b", "c")
    assert fused.classes.tolist() == [2]
    assert fuse_instances([unknown, unknown], InstanceFusion()).classes.tolist() == [-1]


def test_no_instance_at_all_gives_none() -> None:
    nothing = Instances.empty((9, 9), ("a",))
    for method in METHODS:
        fused = fuse_instances([nothing, nothing], InstanceFusion(method=method))  # type: ignore[arg-type]
        assert len(fused) == 0
        assert fused.shape == (9, 9)


def test_wrong_input_is_named() -> None:
    nothing = Instances.empty((9, 9))
    with pytest.raises(ConfigError, match="needs the instances of one model or more"):
        fuse_instances([], InstanceFusion())
    with pytest.raises(ConfigError, match="weights must be 2 positive numbers"):
        fuse_instances([nothing, nothing], InstanceFusion(), [1.0, 0.0])
    with pytest.raises(DataError, match="images of different size"):
        fuse_instances([nothing, Instances.empty((9, 8))], InstanceFusion())
