"""Scores of instances: a logistic function of their features, fitted to be the probability of an IoU above 0.5."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from cytotome.arrays import AnyArray, BoolArray, Float64Array

if TYPE_CHECKING:
    from cytotome.contract import DecodeParameters
    from cytotome.types import Instances, Sample

RIDGE = 1e-4


class ScoreParameters(Protocol):
    """The decoder parameters for scores and for dropping instances."""

    @property
    def score_weights(self) -> tuple[float, ...]:
        """One weight per feature, F in total."""
        ...

    @property
    def min_score(self) -> float:
        """Instances of lower scores are dropped."""
        ...

    @property
    def min_area(self) -> int:
        """Instances of fewer pixels are dropped."""
        ...

    @property
    def max_area(self) -> int:
        """Instances of more pixels are dropped."""
        ...


Output = TypeVar("Output")
Parameters = TypeVar("Parameters", bound="DecodeParameters")


def score_instances(
    found: Instances, table: Float64Array, parameters: ScoreParameters, keep: BoolArray | None = None
) -> Instances:
    """Returns the instances with logistic scores of their features, without those dropped by the parameters.

    Args:
        found: N instances.
        table: ``(N, F)`` float64 features.
        parameters: weights of the features and limits of scores and areas.
        keep: ``(N,)`` bool, an additional condition.
    """
    scores = expit(table @ np.asarray(parameters.score_weights)).astype(np.float32)
    areas = found.areas
    good = (scores >= parameters.min_score) & (areas >= parameters.min_area) & (areas <= parameters.max_area)
    return replace(found, scores=scores).select(good if keep is None else good & keep)


def fit_score_weights(
    pairs: Iterable[tuple[Output, Sample]],
    parameters: Parameters,
    describe: Callable[[Output], tuple[Instances, Float64Array]],
) -> Parameters:
    """Fits score weights so that the score is the probability of an IoU above 0.5 with a true instance.

    This is a logistic regression with a small ridge over all instances of the decoder, before any are dropped; each
    image has the same weight. If it cannot be fitted, see :func:`fit_logistic`, the parameters are returned unchanged.

    Args:
        pairs: outputs of the network and samples that it was not trained on; unlabelled ones are ignored.
        parameters: of the decoder.
        describe: converts the output for one image to N instances and their ``(N, F)`` features.
    """
    images = []
    for output, sample in pairs:
        if sample.instances is not None:
            found, table = describe(output)
            images.append((table, are_hits(found, sample.instances)))
    weights = fit_logistic(images)
    return parameters if weights is None else parameters.model_copy(update={"score_weights": weights})


def are_hits(found: Instances, truth: Instances, threshold: float = 0.5) -> BoolArray:
    """``(N,)`` bool, whether each found instance overlaps any true one with an IoU above ``threshold``."""
    best, _ = found.overlaps(truth).best_truths()
    return best > threshold


def fit_logistic(images: Iterable[tuple[AnyArray, BoolArray]]) -> tuple[float, ...] | None:
    """Fits weights so that ``expit(table @ weights)`` is the probability of a hit; each image has the same weight.

    Args:
        images: for each image, ``(N, F)`` features with one constant column, and ``(N,)`` hits.

    Returns:
        ``F`` weights, or None if all instances are hits, none are, or there are no instances.
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


def _minimum(table: Float64Array, sign: Float64Array, share: Float64Array) -> Float64Array:
    def loss(weights: Float64Array) -> tuple[float, Float64Array]:
        margin = sign * (table @ weights)
        value = share @ np.logaddexp(0, -margin) + RIDGE * weights @ weights
        gradient = -table.T @ (share * sign * expit(-margin)) + 2 * RIDGE * weights
        return float(value), gradient

    return np.asarray(minimize(loss, np.zeros(table.shape[1]), jac=True, method="L-BFGS-B").x)
