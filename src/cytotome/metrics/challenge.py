"""The score of the Sartorius cell instance segmentation challenge, exactly as defined.

At each IoU threshold 0.50, 0.55 ... 0.95 an image has the precision TP / (TP + FP + FN); its score is the mean over the
thresholds, and the score of a dataset is the mean over its images. A pair counts if its IoU is strictly greater than
the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from cytotome.arrays import Float64Array, Int64Array
from cytotome.errors import ConfigError
from cytotome.ops.matching import THRESHOLDS, Overlaps, count_matches
from cytotome.types import Instances

Rule = Literal["matching", "kernel"]
RULES: tuple[Rule, ...] = get_args(Rule)


def count_hits(overlaps: Overlaps, thresholds: Sequence[float] = THRESHOLDS, rule: Rule = "matching") -> Int64Array:
    """True positives, false positives and false negatives at each threshold.

    Args:
        overlaps: overlaps of one image.
        thresholds: a pair counts if its IoU is strictly greater.
        rule: ``matching`` counts each prediction and each truth once, by a maximum matching. ``kernel`` counts like the
            widely used public kernel of the challenge: a truth with exactly one prediction above the threshold is a
            true positive, one with none a false negative, one with several neither; a prediction without a truth is a
            false positive.

    Returns:
        ``(T, 3)`` int64.

    Raises:
        ConfigError: if the rule is unknown.
    """
    if rule not in RULES:
        raise ConfigError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    truths, predictions = len(overlaps.truth_areas), len(overlaps.prediction_areas)
    if rule == "matching":
        hits = count_matches(overlaps, thresholds)
        return np.stack([hits, predictions - hits, truths - hits], axis=1)
    counts = np.zeros((len(thresholds), 3), np.int64)
    iou = overlaps.iou
    for level, threshold in enumerate(thresholds):
        passed = iou > threshold
        of_truth = np.bincount(overlaps.truth[passed], minlength=truths)
        of_prediction = np.bincount(overlaps.prediction[passed], minlength=predictions)
        counts[level] = (of_truth == 1).sum(), (of_prediction == 0).sum(), (of_truth == 0).sum()
    return counts


def precision_at(overlaps: Overlaps, thresholds: Sequence[float] = THRESHOLDS, rule: Rule = "matching") -> Float64Array:
    """``(T,)`` TP / (TP + FP + FN) at each threshold; 1 if there is neither truth nor prediction.

    If the ``kernel`` rule counts nothing, because every truth is hit more than once, the precision is 0.
    """
    if overlaps.both_empty:
        return np.ones(len(thresholds))
    counts = count_hits(overlaps, thresholds, rule)
    total = counts.sum(axis=1)
    precision = np.zeros(len(thresholds))
    np.divide(counts[:, 0], total, out=precision, where=total > 0)
    return precision


def image_score(predictions: Instances, truth: Instances, rule: Rule = "matching") -> float:
    """The challenge's score of one image, 0 to 1.

    The score is 0 if there are cells and none are predicted, or the reverse, and 1 if there are no cells and none are
    predicted.

    Raises:
        DataError: if the image sizes differ.
        ConfigError: if the rule is unknown.
    """
    return float(precision_at(predictions.overlaps(truth), THRESHOLDS, rule).mean())


def mean_score(predictions: Sequence[Instances], truths: Sequence[Instances], rule: Rule = "matching") -> float:
    """The challenge's score of several images: the mean of :func:`image_score`.

    Raises:
        ConfigError: if there are no images, or not one prediction per image.
    """
    if len(predictions) != len(truths) or len(truths) == 0:
        raise ConfigError(f"mean_score: expected one prediction per image, got {len(predictions)} for {len(truths)}")
    return float(np.mean([image_score(*pair, rule) for pair in zip(predictions, truths, strict=True)]))
