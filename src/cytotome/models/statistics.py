"""Statistics of the feature vectors of known images, as data in a card, and the distance of other images from them."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from cytotome.types import AnyArray

SHRINKAGE = 0.3
"""Weight of the diagonal in the shrinkage of the covariance of few images."""


class FeatureStatistics(BaseModel):
    """Mean and covariance of the feature vectors of some images.

    Attributes:
        mean: one value per feature.
        precision: inverse of the covariance, one row per feature.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    mean: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, features: AnyArray) -> Self:
        """Computes statistics of ``(N, F)`` features of N images, at least two."""
        covariance = np.cov(features.T)
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance))
        precision = np.linalg.inv(covariance + 1e-6 * np.eye(len(covariance)))
        return cls(mean=features.mean(axis=0).round(4).tolist(), precision=precision.round(4).tolist())

    def distance(self, features: AnyArray) -> float:
        """Mahalanobis distance of ``(F,)`` features divided by the square root of F: about 1 for the known images."""
        offset = features - np.asarray(self.mean)
        return float(np.sqrt(max(0.0, offset @ np.asarray(self.precision) @ offset) / len(offset)))
