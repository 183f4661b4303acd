"""Checks that an image's cells look like those of the predicted type, by statistics in the model's card."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cytotome.models.statistics import FeatureStatistics
from cytotome.ops.cell_types import population
from cytotome.types import AnyArray, Instances

LIMIT = 1.6
"""Distance beyond which a type is doubted: about the maximum of the images used for the statistics."""


MIN_IMAGES = 8
"""Minimum number of images for the statistics of a type, which have six features."""


class KnownTypes(BaseModel):
    """Statistics of the cell types that a model can recognise.

    Attributes:
        types: statistics of the features :data:`cytotome.ops.cell_types.FEATURES` of each type, by name.
        limit: maximum distance of an image of a known type.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    types: dict[str, FeatureStatistics]
    limit: float = Field(default=LIMIT, gt=0)

    def doubts(self, cells: Instances) -> bool:
        """Whether the cells of one image are unlike the type that is predicted for most of them.

        Types without statistics are not doubted.
        """
        majority = cells.majority_class()
        known = self.types.get(cells.class_names[majority]) if majority >= 0 else None
        return known is not None and known.distance(population(cells)) > self.limit

    def checked(self, cells: Instances) -> Instances:
        """Returns the cells of one image, with class -1 (unknown) if :meth:`doubts` is true."""
        return of_unknown_type(cells) if self.doubts(cells) else cells


def of_unknown_type(cells: Instances) -> Instances:
    """Returns the cells with class -1."""
    return replace(cells, classes=np.full(len(cells), -1, np.int32))


def known_types(found: Iterable[tuple[str, Instances]]) -> KnownTypes | None:
    """Computes statistics of what a model finds in images of known type; None if no type has eight images.

    Args:
        found: type and cells of each image; images without cells are ignored.
    """
    features: dict[str, list[AnyArray]] = {}
    for name, cells in found:
        if len(cells):
            features.setdefault(name, []).append(population(cells))
    types = {
        name: FeatureStatistics.of(np.stack(rows)) for name, rows in sorted(features.items()) if len(rows) >= MIN_IMAGES
    }
    return KnownTypes(types=types) if types else None
