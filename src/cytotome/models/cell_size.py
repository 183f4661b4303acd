"""The cell sizes that a model was trained on, as data in its card. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cytotome.types import UNKNOWN, AnyArray, Dataset

PER_SIDE = 2 / math.sqrt(math.pi)
"""Diameter of a circle of area 1."""


def diameter(areas: AnyArray) -> float:
    """Median diameter in pixels of circles with the areas of the cells; 0 without cells.

    Args:
        areas: ``(N,)`` number of pixels of each cell.
    """
    return PER_SIDE * float(np.median(np.sqrt(areas))) if len(areas) else 0.0


class CellSize(BaseModel):
    """Sizes of the cells of one type in the training images: diameters of circles of the same area, in pixels.

    Attributes:
        diameter: diameter of the median cell.
        least: smallest median of a training image.
        greatest: largest median of a training image.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    diameter: float = Field(gt=0)
    least: float = Field(gt=0)
    greatest: float = Field(gt=0)

    @classmethod
    def of(cls, images: Iterable[AnyArray]) -> Self:
        """Computes sizes from the areas of the cells of each image; images without cells are ignored."""
        areas = [one for one in images if len(one)]
        medians = [diameter(one) for one in areas]
        return cls(
            diameter=round(diameter(np.concatenate(areas)), 1),
            least=round(min(medians), 1),
            greatest=round(max(medians), 1),
        )


class CellSizes(BaseModel):
    """Sizes of the cells that a model knows.

    Attributes:
        types: size of each cell type by its name.
        microns_per_pixel: pixel size of the training images, None if it is unknown or differs.
        source: origin of ``microns_per_pixel``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    types: dict[str, CellSize] = Field(min_length=1)
    microns_per_pixel: float | None = Field(default=None, gt=0)
    source: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, size in self.types.items():
            if not size.least <= size.greatest:
                raise ValueError(f"{name}: least must not exceed greatest, got {size.least} and {size.greatest}")
        return self

    @property
    def least(self) -> float:
        """Smallest median diameter of a training image."""
        return min(size.least for size in self.types.values())

    @property
    def greatest(self) -> float:
        """Largest median diameter of a training image."""
        return max(size.greatest for size in self.types.values())

    def scale_to_known(self, found: float) -> float:
        """Returns the resize factor for an image with cells of this median diameter.

        1 within the range of the training images; otherwise the factor to the size of the nearest type.
        """
        if self.least <= found <= self.greatest:
            return 1.0
        nearest = min((size.diameter for size in self.types.values()), key=lambda known: abs(math.log(known / found)))
        return nearest / found

    def text(self) -> str:
        """Returns one line, such as ``cort 16 pixels (12 to 24), 20 um``."""
        microns = self.microns_per_pixel
        return "; ".join(
            f"{name} {size.diameter:.0f} pixels ({size.least:.0f} to {size.greatest:.0f} in images)"
            + (f", {size.diameter * microns:.0f} um" if microns else "")
            for name, size in self.types.items()
        )


@dataclass(frozen=True, slots=True)
class SizedData:
    """A dataset whose cells are measured.

    Attributes:
        dataset: the dataset, of which labelled images are used.
        names: new names of its classes; others are kept.
        scale: factor by which its images are enlarged in training.
    """

    dataset: Dataset
    names: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0


def measured_sizes(data: Iterable[SizedData], most: int = 1000) -> CellSizes | None:
    """Measures the cells of labelled images by type, with ``unknown`` for no class; None if there are none.

    Args:
        data: training data of a model.
        most: maximum number of images that are read per dataset, evenly spread.
    """
    areas: dict[str, list[AnyArray]] = {}
    for one in data:
        labelled = [place for place, info in enumerate(one.dataset.infos) if info.is_labelled]
        for place in labelled[:: -(-len(labelled) // most) or 1]:
            cells = one.dataset.instances(place)
            if cells is None:
                continue
            for index in np.unique(cells.classes):
                name = cells.class_names[index] if index >= 0 else UNKNOWN
                of_class = cells.areas[cells.classes == index] * one.scale**2
                areas.setdefault(one.names.get(name, name), []).append(of_class)
    return CellSizes(types={name: CellSize.of(images) for name, images in sorted(areas.items())}) if areas else None
