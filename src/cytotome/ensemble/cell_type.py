"""The cell type of an image from its instances: by majority, or with a small classifier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from cytotome.arrays import Float64Array
from cytotome.errors import ConfigError
from cytotome.ops.cell_types import population
from cytotome.types import Instances

RIDGE = 1e-2


def majority_type(instances: Instances) -> str:
    """The class with the largest sum of scores; empty if nothing of a known class was found."""
    majority = instances.majority_class()
    return instances.class_names[majority] if majority >= 0 else ""


def describe(instances: Instances) -> Float64Array:
    """``(6 + K,)`` float64: :func:`population`, then the share of each of the K classes by score; zeros without
    instances.
    """
    shares = np.zeros(len(instances.class_names))
    known = instances.classes >= 0
    np.add.at(shares, instances.classes[known], instances.scores[known])
    return np.concatenate([population(instances), shares / max(shares.sum(), 1e-9)])


class TypeClassifier(BaseModel):
    """Logistic regression of the cell type on :func:`describe`.

    Attributes:
        class_names: K class names.
        means, scales: means and scales of the F features.
        weights: K rows of F + 1 weights, the constant last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    def probabilities(self, instances: Instances) -> dict[str, float]:
        """Returns the probability of each cell type.

        Raises:
            ConfigError: if the number of classes differs from that of the fit.
        """
        features = describe(instances)
        if len(features) != len(self.means):
            raise ConfigError(
                f"cell type: the classifier takes {len(self.means)} features, got {len(features)}; fit it again"
            )
        row = np.append((features - self.means) / self.scales, 1.0)
        values = softmax(np.asarray(self.weights) @ row)
        return dict(zip(self.class_names, values.tolist(), strict=True))

    def predict(self, instances: Instances) -> str:
        """Returns the most probable cell type."""
        found = self.probabilities(instances)
        return max(found, key=found.__getitem__)


def fit_type_classifier(found: Sequence[Instances], cell_types: Sequence[str]) -> TypeClassifier:
    """Fits a classifier to instances found in images of known type.

    Raises:
        ConfigError: if there are fewer than two types, or not one per image.
    """
    names = tuple(dict.fromkeys(cell_types))
    if len(found) != len(cell_types) or len(names) < 2:
        raise ConfigError(f"cell type: needs images of two types or more, got {len(found)} of {len(names)}")
    table = np.stack([describe(one) for one in found])
    means, scales = table.mean(axis=0), table.std(axis=0) + 1e-3
    rows = np.hstack([(table - means) / scales, np.ones((len(table), 1))])
    kinds = np.array([names.index(name) for name in cell_types])

    def loss(flat: Float64Array) -> tuple[float, Float64Array]:
        weights = flat.reshape(len(names), -1)
        logits = rows @ weights.T
        value = -log_softmax(logits, axis=1)[np.arange(len(kinds)), kinds].mean() + RIDGE * (flat**2).sum()
        error = softmax(logits, axis=1)
        error[np.arange(len(kinds)), kinds] -= 1
        return float(value), (error.T @ rows / len(kinds) + 2 * RIDGE * weights).ravel()

    fit = minimize(loss, np.zeros(len(names) * rows.shape[1]), jac=True, method="L-BFGS-B")
    weights = fit.x.reshape(len(names), -1)
    return TypeClassifier(
        class_names=names,
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        weights=tuple(tuple(row) for row in weights.tolist()),
    )
