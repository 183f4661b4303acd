"""Fitting scores: which instances are right, how good an image is as a whole, and a logistic function of features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from cytotome.ops.runs import intersections
from cytotome.types import Instances

LEVELS = np.arange(0.5, 0.99, 0.05)
"""IoU thresholds of the challenge's metric."""
RIDGE = 1e-4


def best_ious(found: Instances, truth: Instances) -> npt.NDArray[np.float64]:
    """``(N,)`` greatest IoU of each of ``found`` with any of ``truth``."""
    best = np.zeros(len(found))
    i, j, pixels = intersections(found, truth)
    np.maximum.at(best, i, pixels / (found.areas[i] + truth.areas[j] - pixels))
    return best


def image_precision(ious: npt.NDArray[np.float64], truths: int) -> float:
    """Mean over :data:`LEVELS` of hits / (found + truths - hits), for instances that do not overlap.

    Args:
        ious: of each instance found, as :func:`best_ious` gives them.
        truths: number of true instances.
    """
    if len(ious) + truths == 0:
        return 1.0
    hits = np.minimum((ious[:, None] > LEVELS).sum(axis=0), truths)
    return float((hits / (len(ious) + truths - hits)).mean())


def fit_logistic(
    table: npt.NDArray[np.float64], hit: npt.NDArray[np.bool_], share: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """``(F,)`` weights for which ``expit(table @ weights)`` is the probability of a hit, with a small ridge.

    Args:
        table: ``(N, F)`` features, a constant among them.
        hit: ``(N,)``.
        share: ``(N,)`` weight of each row.
    """
    sign = np.where(hit, 1.0, -1.0)
    share = share / share.sum()

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        margin = sign * (table @ weights)
        value = share @ np.logaddexp(0, -margin) + RIDGE * weights @ weights
        return float(value), -table.T @ (share * sign * expit(-margin)) + 2 * RIDGE * weights

    return np.asarray(minimize(loss, np.zeros(table.shape[1]), jac=True, method="L-BFGS-B").x)
