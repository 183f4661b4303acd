"""Scores of instances: a logistic function of their features, fitted to be the chance of an IoU above 0.5."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from cytotome.ops.matching import find_overlaps
from cytotome.types import AnyArray, Instances

RIDGE = 1e-4


def are_hits(found: Instances, truth: Instances, threshold: float = 0.5) -> npt.NDArray[np.bool_]:
    """``(N,)`` bool, whether each found instance overlaps any true one with an IoU above ``threshold``."""
    best, _ = find_overlaps(found, truth).best_truths()
    return best > threshold


def fit_logistic(images: Iterable[tuple[AnyArray, npt.NDArray[np.bool_]]]) -> tuple[float, ...] | None:
    """Weights that make ``expit(table @ weights)`` the chance of a hit; each image counts alike.

    Args:
        images: of each image ``(N, F)`` features, one column of them constant, and ``(N,)`` hits.

    Returns:
        ``F`` weights, or None where all instances hit, none does, or there is none.
    """
    filled = [(table, hits) for table, hits in images if len(table)]
    if not filled:
        return None
    tables = np.concatenate([table for table, _ in filled])
    hits = np.concatenate([hit for _, hit in filled])
    if hits.all() or not hits.any():
        return None
    share = np.concatenate([np.full(len(hit), 1.0 / len(hit)) for _, hit in filled])
    return tuple(float(weight) for weight in _minimum(tables, np.where(hits, 1.0, -1.0), share / share.sum()))


def _minimum(
    table: npt.NDArray[np.float64], sign: npt.NDArray[np.float64], share: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        margin = sign * (table @ weights)
        value = share @ np.logaddexp(0, -margin) + RIDGE * weights @ weights
        gradient = -table.T @ (share * sign * expit(-margin)) + 2 * RIDGE * weights
        return float(value), gradient

    return np.asarray(minimize(loss, np.zeros(table.shape[1]), jac=True, method="L-BFGS-B").x)
