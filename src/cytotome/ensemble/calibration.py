"""Calibration of scores to the expected precision at an IoU of 0.5, which is comparable between models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator
from scipy.optimize import isotonic_regression

from cytotome.errors import ConfigError
from cytotome.types import AnyArray, BoolArray, FloatArray, Instances

MOST_KNOTS = 40


class ScoreCurve(BaseModel):
    """An increasing, piecewise linear curve that maps a model's scores to precision.

    Attributes:
        scores: scores of the knots, increasing, in [0, 1].
        precisions: precisions at the knots, non-decreasing, in [0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scores: tuple[float, ...]
    precisions: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        scores, precisions = np.array(self.scores), np.array(self.precisions)
        if len(scores) != len(precisions) or len(scores) == 0:
            raise ValueError(f"expected one precision per score, got {len(scores)} and {len(precisions)}")
        if (np.diff(scores) <= 0).any() or (np.diff(precisions) < 0).any():
            raise ValueError("scores must increase and precisions must not decrease")
        return self

    def apply(self, scores: AnyArray) -> FloatArray:
        """Returns ``(N,)`` float32 precisions of ``(N,)`` scores; beyond the knots, that of the nearest knot."""
        return np.interp(np.asarray(scores, np.float64), self.scores, self.precisions).astype(np.float32)

    def calibrated(self, instances: Instances) -> Instances:
        """Returns the instances with calibrated scores."""
        return replace(instances, scores=self.apply(instances.scores))


def fit_curve(pairs: Iterable[tuple[Instances, Instances]]) -> ScoreCurve:
    """Fits an isotonic regression of hits on scores, with the means of the pooled blocks as knots.

    Between the blocks, the curve is linear (centred isotonic regression, Oron and Flournoy 2017, arXiv 1701.05964), so
    that instances of different scores keep their order, while isotonic regression would tie them. All images have the
    same weight, regardless of their number of cells.

    Args:
        pairs: found and true instances of images that the model was not trained on, including found ones with low
            scores.

    Raises:
        ConfigError: if nothing was found in any image.
    """
    scores, hits, shares = [], [], []
    for found, truth in pairs:
        if len(found):
            scores.append(found.scores.astype(np.float64))
            hits.append(find_hits(found, truth))
            shares.append(np.full(len(found), 1 / len(found)))
    if not scores:
        raise ConfigError("calibration: the model finds nothing in these images; lower min_score or give other images")
    score, hit, share = np.concatenate(scores), np.concatenate(hits).astype(np.float64), np.concatenate(shares)
    levels, inverse = np.unique(score, return_inverse=True)
    weight = np.bincount(inverse, share)
    fit = isotonic_regression(np.bincount(inverse, share * hit) / weight, weights=weight)
    blocks = np.repeat(np.arange(len(fit.blocks) - 1), np.diff(fit.blocks))
    sizes = np.asarray(np.bincount(blocks, weight), np.float64)
    knots = np.bincount(blocks, weight * levels) / sizes
    precisions = np.bincount(blocks, weight * fit.x) / sizes
    chosen = _fewer(sizes)
    rising = np.maximum.accumulate(np.round(precisions[chosen], 6))
    return ScoreCurve(scores=tuple(knots[chosen].tolist()), precisions=tuple(rising.tolist()))


def _fewer(sizes: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """At most :data:`MOST_KNOTS` blocks, evenly spaced by weight, including the first and the last."""
    if len(sizes) <= MOST_KNOTS:
        return np.arange(len(sizes))
    place = np.cumsum(sizes) / sizes.sum()
    wanted = np.searchsorted(place, np.linspace(0, 1, MOST_KNOTS)[1:-1])
    return np.unique(np.concatenate([[0], wanted, [len(sizes) - 1]]))


def find_hits(found: Instances, truth: Instances, threshold: float = 0.5) -> BoolArray:
    """Finds instances that match a true one: by decreasing score, each takes the free truth with the highest IoU.

    Args:
        found: N instances.
        truth: true instances of the same image.
        threshold: the IoU must be higher.

    Returns:
        ``(N,)`` bool; a second instance on the same true one is not a hit.
    """
    pairs = found.overlaps(truth)
    above = pairs.select_pairs(pairs.iou > threshold)
    i, j = above.prediction, above.truth
    order = np.lexsort((-above.iou, i, -found.scores[i]))
    hit, taken = np.zeros(len(found), bool), np.zeros(len(truth), bool)
    for pair in order:
        if not hit[i[pair]] and not taken[j[pair]]:
            hit[i[pair]] = taken[j[pair]] = True
    return hit
