"""Suppression against torchvision, brute force and the reference of COCO."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hotcoco import mask as coco_mask
from torchvision.ops import box_iou
from torchvision.ops import nms as torch_nms

from cytotome.datasets import open_dataset
from cytotome.errors import ConfigError
from cytotome.ops.runs import mask_crop
from cytotome.ops.suppression import cluster_nms, iou_graph, nms, soft_nms
from cytotome.types import AnyArray, Instances


@pytest.fixture(scope="module")
def crowd() -> Instances:
    """Cells of a synthetic scene beside copies of them that are moved by up to 6 pixels."""
    truth = open_dataset("synthetic:1")[0].instances
    rng = np.random.default_rng(0)
    masks, origins = [], []
    for index in range(len(truth)):
        mask, origin = mask_crop(truth, index)
        for _ in range(3):
            masks.append(mask)
            origins.append(np.array(origin) + rng.integers(-6, 7, 2))
    found = Instances.from_masks(masks, shape=truth.shape, origins=np.array(origins), scores=rng.random(len(masks)))
    return found.select(found.areas > 0)


def dense(instances: Instances, overlap: str) -> AnyArray:
    graph = iou_graph(instances, overlap)  # type: ignore[arg-type]
    matrix = np.zeros((len(instances), len(instances)))
    matrix[np.repeat(np.arange(len(instances)), np.diff(graph.offsets)), graph.neighbours] = graph.iou
    return matrix


def test_mask_iou_equals_that_of_the_coco_tools(crowd: Instances) -> None:
    height, width = crowd.shape
    codes = []
    for index in range(len(crowd)):
        mask = np.zeros((height, width), np.uint8)
        crop, (y, x) = mask_crop(crowd, index)
        mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        codes.append(coco_mask.encode(np.asfortranarray(mask)))
    expected = np.asarray(coco_mask.iou(codes, codes, [0] * len(codes)))
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(dense(crowd, "mask"), expected, rtol=1e-12)


def test_box_iou_and_nms_equal_those_of_torchvision(crowd: Instances) -> None:
    boxes = torch.from_numpy(crowd.boxes[:, [1, 0, 3, 2]].astype(np.float64))
    expected = box_iou(boxes, boxes).fill_diagonal_(0).numpy()
    np.testing.assert_allclose(dense(crowd, "box"), expected, rtol=1e-12)
    for threshold in (0.2, 0.5, 0.8):
        kept = nms(crowd.scores, iou_graph(crowd, "box"), threshold)
        reference = torch_nms(boxes, torch.from_numpy(crowd.scores).double(), threshold)
        assert set(np.flatnonzero(kept)) == set(reference.tolist())
        assert 0 < kept.sum() < len(crowd)


@pytest.mark.parametrize("overlap", ["mask", "box"])
def test_cluster_nms_keeps_what_greedy_nms_keeps(crowd: Instances, overlap: str) -> None:
    graph = iou_graph(crowd, overlap)  # type: ignore[arg-type]
    lowered = cluster_nms(crowd.scores, graph, 0.4)
    kept = nms(crowd.scores, graph, 0.4)
    np.testing.assert_array_equal(lowered > 0, kept)
    np.testing.assert_array_equal(lowered[kept], crowd.scores[kept])


def test_the_score_penalty_is_that_of_the_formula(crowd: Instances) -> None:
    graph, sigma = iou_graph(crowd), 0.3
    matrix, kept = dense(crowd, "mask"), nms(crowd.scores, graph, 0.4)
    expected = crowd.scores.astype(np.float64)
    for i in range(len(crowd)):
        for j in np.flatnonzero(kept):
            if crowd.scores[j] > crowd.scores[i]:
                expected[i] *= np.exp(-(matrix[i, j] ** 2) / sigma)
    np.testing.assert_allclose(cluster_nms(crowd.scores, graph, 0.4, sigma=sigma), expected, rtol=1e-9)


@pytest.mark.parametrize("decay", ["linear", "gaussian"])
def test_soft_nms_equals_the_algorithm_as_published(crowd: Instances, decay: str) -> None:
    matrix, scores = dense(crowd, "mask"), crowd.scores.astype(np.float64)
    left, expected = list(range(len(crowd))), scores.copy()
    while left:
        best = max(left, key=lambda i: expected[i])
        left.remove(best)
        for i in left:
            iou = matrix[best, i]
            if decay == "linear":
                expected[i] *= 1 - iou if iou > 0.3 else 1
            else:
                expected[i] *= np.exp(-(iou**2) / 0.4)
    found = soft_nms(crowd.scores, iou_graph(crowd), decay=decay, threshold=0.3, sigma=0.4)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (found < scores).any()


def test_nothing_suppresses_nothing() -> None:
    empty = Instances.from_masks([], shape=(5, 5))
    for overlap in ("mask", "box"):
        graph = iou_graph(empty, overlap)  # type: ignore[arg-type]
        assert len(nms(empty.scores, graph, 0.5)) == len(cluster_nms(empty.scores, graph, 0.5)) == 0


def test_wrong_arguments_are_named(crowd: Instances) -> None:
    with pytest.raises(ConfigError, match="overlap must be one of mask, box, got 'circle'"):
        iou_graph(crowd, "circle")  # type: ignore[arg-type]
    graph = iou_graph(crowd)
    with pytest.raises(ConfigError, match="decay must be one of linear, gaussian"):
        soft_nms(crowd.scores, graph, decay="cubic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sigma must be positive, got 0"):
        soft_nms(crowd.scores, graph, sigma=0)
    with pytest.raises(ConfigError, match="sigma must be positive"):
        cluster_nms(crowd.scores, graph, 0.5, sigma=-1)
