from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cytotome.errors import ConfigError
from cytotome.metrics.coco import coco_scores
from cytotome.types import Instances


def average_precision(ious, scores, limit, threshold):
    """COCO's AP at one threshold and its recall, from each image's ``(truths, predictions)`` IoU and scores."""
    ranked = []
    for iou, score in zip(ious, scores, strict=True):
        free = np.ones(len(iou), bool)
        for index in np.argsort(-score, kind="stable")[:limit]:
            candidates = np.where(free, iou[:, index], -1.0)
            hit = len(candidates) > 0 and candidates.max() >= threshold
            if hit:
                free[len(candidates) - 1 - np.argmax(candidates[::-1])] = False
            ranked.append((score[index], hit))
    hits = np.array([hit for _, hit in sorted(ranked, key=lambda entry: -entry[0])], float)
    truths = sum(len(iou) for iou in ious)
    recall, precision = np.cumsum(hits) / truths, np.cumsum(hits) / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return np.append(precision, 0.0)[at].mean(), hits.sum() / truths


def agrees(pairs, dense_iou, limits):
    ious = [dense_iou(*pair) for pair in pairs]
    scores = [predictions.scores for predictions, _ in pairs]
    found = coco_scores([pair[0] for pair in pairs], [pair[1] for pair in pairs], max_detections=limits)
    for limit, summary in zip(limits, found, strict=True):
        curves = [average_precision(ious, scores, limit, t) for t in np.linspace(0.5, 0.95, 10)]
        assert summary.max_detections == limit
        assert summary.ap == pytest.approx(np.mean([ap for ap, _ in curves]), abs=1e-9)
        assert summary.ar == pytest.approx(np.mean([recall for _, recall in curves]), abs=1e-9)
        assert summary.ap50 == pytest.approx(curves[0][0], abs=1e-9)
        assert summary.ap75 == pytest.approx(curves[5][0], abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_random_masks_agree_with_the_written_out_rule(seed, random_pair, dense_iou):
    agrees([random_pair(10 * seed + k + 1) for k in range(4)], dense_iou, (3, 100))


def test_real_masks_agree_with_the_written_out_rule(real_pairs, dense_iou):
    agrees(list(real_pairs.values()), dense_iou, (10, 100, 1000))


def test_more_cells_than_detections_bound_the_recall():
    masks = np.zeros((30, 40, 40), bool)
    for index, mask in enumerate(masks):
        mask[index + 2, 3:30] = True
    truth = Instances.from_masks(masks)
    ten, hundred = coco_scores([truth], [truth], max_detections=(10, 100))
    assert ten.ar == pytest.approx(10 / 30)
    assert (hundred.ap, hundred.ar, hundred.ap_small) == pytest.approx((1.0, 1.0, 1.0))
    assert math.isnan(hundred.ap_large)


def test_classes_are_joined_by_name():
    masks = np.zeros((2, 20, 20), bool)
    masks[0, :5, :5], masks[1, 10:, 10:] = True, True
    truth = Instances.from_masks(masks, classes=[0, 1], class_names=("astro", "cort"))
    renamed = replace(truth, classes=np.array([1, 0], np.int32), class_names=("cort", "astro"))
    wrong = replace(truth, classes=np.array([1, -1], np.int32))
    assert coco_scores([renamed], [truth], by_class=True)[0].ap == pytest.approx(1.0)
    assert coco_scores([wrong], [truth], by_class=True)[0].ap == 0.0
    assert coco_scores([wrong], [truth])[0].ap == pytest.approx(1.0)


def test_nothing_predicted_finds_nothing():
    truth = Instances.from_masks(np.ones((1, 40, 40), bool))
    scores = coco_scores([Instances.empty((40, 40))], [truth])
    assert [(score.ap, score.ar) for score in scores] == [(0.0, 0.0), (0.0, 0.0)]


def test_wrong_counts_are_refused():
    truth = Instances.from_masks(np.ones((1, 4, 4), bool))
    with pytest.raises(ConfigError, match="one prediction per image, got 1 for 2"):
        coco_scores([truth], [truth, truth])
    with pytest.raises(ConfigError, match=r"max_detections must be positive and increasing, got \(100, 10\)"):
        coco_scores([truth], [truth], max_detections=(100, 10))
