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
"""Diameter of a circle whose area has a root of 1."""


def diameter(areas: AnyArray) -> float:
    """Median diameter in pixels, of circles as large as the cells; 0 without cells.

    Args:
        areas: ``(N,)`` pixels of each cell.
    """
    return PER_SIDE * float(np.median(np.sqrt(areas))) if len(areas) else 0.0


class CellSize(BaseModel):
    """The cells of one type in the training images; diameters of circles as large as the cells, in pixels.

    Attributes:
        diameter: of the median cell.
        least: smallest median of a training image.
        greatest: largest median of a training image.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    diameter: float = Field(gt=0)
    least: float = Field(gt=0)
    greatest: float = Field(gt=0)

    @classmethod
    def of(cls, images: Iterable[AnyArray]) -> Self:
        """From the areas of the cells of each image; images without cells do not count."""
        areas = [one for one in images if len(one)]
        medians = [diameter(one) for one in areas]
        return cls(
            diameter=round(diameter(np.concatenate(areas)), 1),
            least=round(min(medians), 1),
            greatest=round(max(medians), 1),
        )


class CellSizes(BaseModel):
    """The cells that a model knows.

    Attributes:
        types: size of each cell type by its name.
        microns_per_pixel: of the training images, None if it is unknown or differs.
        source: where ``microns_per_pixel`` is from.
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
        """By how much to resize an image of cells of this median diameter.

        1 where it lies within the range of the training images; else what brings it to the type of the nearest size.
        """
        if self.least <= found <= self.greatest:
            return 1.0
        nearest = min((size.diameter for size in self.types.values()), key=lambda known: abs(math.log(known / found)))
        return nearest / found

    def text(self) -> str:
        """One line, such as ``cort 16 pixels (12 to 24), 20 um``."""
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
        dataset: its labelled images count.
        names: new names of its classes; those not named keep theirs.
        scale: by which its images are enlarged in training.
    """

    dataset: Dataset
    names: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0


def measured_sizes(data: Iterable[SizedData], most: int = 1000) -> CellSizes | None:
    """The cells of labelled images, by type, those of no class as ``unknown``; None if there are none.

    Args:
        data: what a model is trained on.
        most: images of a dataset that are read, evenly spread over it.
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
