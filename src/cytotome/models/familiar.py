"""Whether an image's cells look like those of the type that a model takes them for, by statistics in its card."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cytotome.ops.cell_types import population
from cytotome.types import AnyArray, Instances

SHRINKAGE = 0.3
"""Weight of the diagonal in a covariance of few images."""

LIMIT = 1.6
"""Distance beyond which a type is doubted: about the greatest of the images that the statistics are made of."""


class TypeStatistics(BaseModel):
    """What is found in images of one cell type.

    Attributes:
        mean: of the features of an image, see :data:`cytotome.ops.cell_types.FEATURES`.
        precision: inverse of their covariance, one row per feature.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    mean: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, features: AnyArray) -> Self:
        """From ``(N, F)`` features of N images, two or more."""
        covariance = np.cov(features.T)
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance))
        precision = np.linalg.inv(covariance + 1e-6 * np.eye(len(covariance)))
        return cls(mean=features.mean(axis=0).round(4).tolist(), precision=precision.round(4).tolist())

    def distance(self, features: AnyArray) -> float:
        """Mahalanobis distance of one image over the root of the number of features: about 1 in training."""
        offset = features - np.asarray(self.mean)
        return float(np.sqrt(max(0.0, offset @ np.asarray(self.precision) @ offset) / len(offset)))


class KnownTypes(BaseModel):
    """The cell types that a model can tell from others.

    Attributes:
        types: statistics of each by its name.
        limit: greatest distance of an image of a known type.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    types: dict[str, TypeStatistics]
    limit: float = Field(default=LIMIT, gt=0)

    def checked(self, cells: Instances) -> Instances:
        """The cells of one image, of class -1 (unknown) where they are unlike the type that most of them are taken for.

        Cells of a type without statistics keep it.
        """
        majority = cells.majority_class()
        known = self.types.get(cells.class_names[majority]) if majority >= 0 else None
        if known is None or known.distance(population(cells)) <= self.limit:
            return cells
        return replace(cells, classes=np.full(len(cells), -1, np.int32))


def known_types(found: Iterable[tuple[str, Instances]]) -> KnownTypes | None:
    """Statistics from what a model finds in images of known type; None where no type has three images.

    Args:
        found: type and cells of each image; images without cells do not count.
    """
    features: dict[str, list[AnyArray]] = {}
    for name, cells in found:
        if len(cells):
            features.setdefault(name, []).append(population(cells))
    types = {name: TypeStatistics.of(np.stack(rows)) for name, rows in sorted(features.items()) if len(rows) > 2}
    return KnownTypes(types=types) if types else None
