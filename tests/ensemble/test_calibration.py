"""Calibration against known precision, and against scikit-learn's idea of isotonic regression by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from cytotome.ensemble.calibration import ScoreCurve, find_hits, fit_curve
from cytotome.errors import ConfigError
from cytotome.types import Instances

WIDTH = 2000


def detector(seed: int, truth_at: float) -> tuple[Instances, Instances]:
    """400 detections whose chance to be right is a known function of their score, ``score ** truth_at``."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 1, 400)
    right = rng.random(400) < scores**truth_at
    masks = [np.ones((1, 3), bool)] * 400
    places = np.stack([np.zeros(400), 5 * np.arange(400)], axis=1)
    found = Instances.from_masks(masks, shape=(1, WIDTH), origins=places, scores=scores)
    return found, found.select(np.flatnonzero(right))


def test_calibrated_scores_are_the_precision_on_images_that_were_not_fitted() -> None:
    curve = fit_curve([detector(seed, 2.0) for seed in range(20)])
    scores = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(curve.apply(scores), scores**2, atol=0.06)
    found, truth = detector(99, 2.0)
    calibrated = curve.calibrated(found)
    hits = find_hits(found, truth)
    before = np.mean((found.scores - hits) ** 2)
    after = np.mean((calibrated.scores - hits) ** 2)
    assert after < before - 0.01
    assert abs(calibrated.scores.mean() - hits.mean()) < 0.05


def test_the_order_of_instances_is_kept() -> None:
    found, truth = detector(0, 1.0)
    calibrated = fit_curve([(found, truth)]).calibrated(found)
    order = np.argsort(found.scores)
    assert (np.diff(calibrated.scores[order]) >= 0).all()
    assert len(np.unique(calibrated.scores)) > 0.8 * len(found)  # plain isotonic regression would tie most


def test_every_image_counts_alike() -> None:
    crowded = Instances.from_masks(np.ones((90, 1, 1), bool), scores=np.full(90, 0.5))
    sparse = Instances.from_masks(np.ones((1, 1, 1), bool), scores=[0.5])
    nothing = Instances.empty((1, 1))
    curve = fit_curve([(crowded, nothing), (sparse, sparse)])
    assert curve.apply(np.array([0.5]))[0] == pytest.approx(0.5)


def test_each_truth_is_hit_once_and_the_best_score_has_it() -> None:
    masks = np.zeros((3, 1, 20), bool)
    masks[0, 0, :10], masks[1, 0, :9], masks[2, 0, 12:15] = True, True, True
    truth = Instances.from_masks(masks[:1])
    found = Instances.from_masks(masks, scores=[0.6, 0.9, 0.8])
    assert find_hits(found, truth).tolist() == [False, True, False]
    assert find_hits(found.select([0]), truth).tolist() == [True]
    half = Instances.from_masks(np.ones((1, 1, 20), bool))
    assert find_hits(half, truth).tolist() == [False]  # an IoU of exactly 0.5 is none


def test_nothing_found_and_wrong_curves_are_errors() -> None:
    nothing = Instances.empty((4, 4))
    with pytest.raises(ConfigError, match="the model finds nothing in these images"):
        fit_curve([(nothing, nothing)])
    for scores, precisions in (((0.1, 0.1), (0.1, 0.2)), ((0.1, 0.2), (0.3, 0.2)), ((), ())):
        with pytest.raises(ValidationError, match=r"must increase|one precision per score"):
            ScoreCurve(scores=scores, precisions=precisions)
