from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from cytotome.errors import ConfigError
from cytotome.metrics.challenge import count_hits, image_score, mean_score, precision_at
from cytotome.types import Instances


def rectangles(*boxes):
    """Instances of ``(y0, x0, y1, x1)`` rectangles in an image of 40 x 60."""
    masks = np.zeros((len(boxes), 40, 60), bool)
    for mask, (y0, x0, y1, x1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return Instances.from_masks(masks, shape=(40, 60))


def brute_force(iou):
    """The rule written down: best pairing at each threshold, TP / (TP + FP + FN), mean."""
    truths, predictions = iou.shape
    if truths + predictions == 0:
        return 1.0
    scores = []
    for threshold in (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
        hits = (iou > threshold)[linear_sum_assignment(iou > threshold, maximize=True)].sum()
        scores.append(hits / (hits + (predictions - hits) + (truths - hits)))
    return np.mean(scores)


def public_kernel(iou):
    """The counts of the challenge's public kernel, as it computes them from the matrix of IoU."""
    scores = []
    for threshold in np.arange(0.5, 1.0, 0.05):
        matches = iou > threshold
        true_positives = np.sum(matches, axis=1) == 1
        false_positives = np.sum(matches, axis=0) == 0
        false_negatives = np.sum(matches, axis=1) == 0
        tp, fp, fn = np.sum(true_positives), np.sum(false_positives), np.sum(false_negatives)
        scores.append(tp / (tp + fp + fn) if tp + fp + fn else 0.0)
    return np.mean(scores)


@pytest.mark.parametrize("seed", range(40))
def test_random_masks_score_as_by_brute_force(seed, random_pair, dense_iou):
    predictions, truth = random_pair(seed)
    iou = dense_iou(predictions, truth)
    assert image_score(predictions, truth) == pytest.approx(brute_force(iou), abs=1e-12)
    if iou.size:
        assert image_score(predictions, truth, "kernel") == pytest.approx(public_kernel(iou), abs=1e-12)


def test_real_masks_score_as_by_brute_force(real_pairs, dense_iou):
    for predictions, truth in real_pairs.values():
        iou = dense_iou(predictions, truth)
        assert image_score(predictions, truth) == pytest.approx(brute_force(iou), abs=1e-9)
        assert image_score(predictions, truth, "kernel") == pytest.approx(public_kernel(iou), abs=1e-9)


def test_real_masks_against_themselves_score_one(real_pairs):
    assert mean_score(*[[truth for _, truth in real_pairs.values()]] * 2) == 1.0


def test_worked_by_hand():
    """One perfect of two truths, one of IoU 0.6 and one false: 2/3 at 0.50 and 0.55, 1/4 from 0.60 on."""
    truth = rectangles((0, 0, 10, 10), (20, 20, 30, 30))
    predictions = rectangles((0, 0, 10, 10), (20, 20, 30, 26), (0, 40, 5, 50))
    assert image_score(predictions, truth) == pytest.approx((2 * 2 / 3 + 8 * 1 / 4) / 10)


def test_a_truth_hit_twice_counts_once_by_matching_and_not_at_all_by_the_kernel():
    truth = rectangles((0, 0, 10, 10), (20, 0, 30, 10))
    predictions = rectangles((0, 0, 10, 10), (0, 0, 10, 10), (20, 0, 30, 10))
    overlaps = predictions.overlaps(truth)
    assert count_hits(overlaps, (0.5,), "matching").tolist() == [[2, 1, 0]]
    assert count_hits(overlaps, (0.5,), "kernel").tolist() == [[1, 0, 0]]
    assert image_score(predictions, truth) == pytest.approx(2 / 3)
    assert image_score(predictions, truth, "kernel") == 1.0


def test_one_prediction_of_two_equal_truths_counts_once_by_matching_and_twice_by_the_kernel():
    truth, predictions = rectangles((0, 0, 10, 10), (0, 0, 10, 10)), rectangles((0, 0, 10, 10))
    overlaps = predictions.overlaps(truth)
    assert count_hits(overlaps, (0.5,), "matching").tolist() == [[1, 0, 1]]
    assert count_hits(overlaps, (0.5,), "kernel").tolist() == [[2, 0, 0]]


@pytest.mark.parametrize("rule", ["matching", "kernel"])
def test_nothing_predicted_scores_nothing_unless_there_is_nothing(rule):
    nothing, something = Instances.empty((40, 60)), rectangles((0, 0, 10, 10))
    assert image_score(nothing, something, rule) == 0.0
    assert image_score(something, nothing, rule) == 0.0
    assert image_score(nothing, nothing, rule) == 1.0


def test_a_kernel_count_of_nothing_at_all_scores_zero():
    truth, predictions = rectangles((0, 0, 10, 10)), rectangles((0, 0, 10, 10), (0, 0, 10, 10))
    assert precision_at(predictions.overlaps(truth), (0.5,), "kernel").tolist() == [0.0]


@pytest.mark.parametrize("seed", range(10))
def test_order_and_sides_do_not_matter_to_the_matching(seed, random_pair):
    predictions, truth = random_pair(seed)
    score = image_score(predictions, truth)
    assert image_score(truth, predictions) == score
    shuffled = predictions.select(np.random.default_rng(seed).permutation(len(predictions)))
    assert image_score(shuffled, truth) == score


def test_wrong_rule_and_wrong_counts_are_refused():
    nothing = Instances.empty((40, 60))
    with pytest.raises(ConfigError, match="rule must be one of matching, kernel, got 'greedy'"):
        image_score(rectangles((0, 0, 1, 1)), nothing, "greedy")
    with pytest.raises(ConfigError, match="one prediction per image, got 1 for 2"):
        mean_score([nothing], [nothing, nothing])
    with pytest.raises(ConfigError, match="got 0 for 0"):
        mean_score([], [])
