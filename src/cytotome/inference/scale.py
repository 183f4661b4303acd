"""The size at which an image is passed to a model: given by the user, by the pixel size, or by a first pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from cytotome.errors import ConfigError
from cytotome.models.cell_size import CellSizes, diameter
from cytotome.ops.runs import mask_crop
from cytotome.ops.scores import are_hits
from cytotome.ops.soft_masks import from_crops, moved, paste
from cytotome.types import Image, Instances

SAME_PIXELS = 1.25
"""Pixel sizes that differ from those of the training images by a smaller factor are treated as equal: training varies
sizes by more."""

LARGEST = 32.0
"""Maximum factor by which an image is resized, and the inverse of the minimum."""

REDUCED = (0.35, 0.25)
"""Relative sizes of the image at which cells larger than the known ones are searched, the second only if the first
finds any.

They cost an eighth and a sixteenth of a pass. At smaller sizes, dense cells merge into clumps that look the same at
both sizes.
"""

ENLARGED = 2.0
"""Relative size of the image at which cells smaller than the known ones are searched."""

NEAR = 1.15
"""The decoder drops cells that are too small, so the median of the others may exceed the minimum known size by this
factor."""

FEW = 5
"""Minimum number of cells for an estimate of their size."""

AGREEMENT = 0.6
"""Minimum F1 at IoU 0.5 between results at two sizes of the image, if cells and not clumps were found."""

GROWTH = 1.2
"""Maximum ratio of the median diameter at the smaller size to that at the larger one; clumps grow as the image
shrinks."""

EVIDENCE = 0.5
"""Minimum fraction of the plain pass's evidence at a reduced size, see :func:`evidence`."""


@dataclass(frozen=True, slots=True)
class CellScale:
    """Information of the user about the size of the cells.

    Attributes:
        scale: factor by which images are resized before prediction; 1 for their own size.
        diameter: typical diameter of the cells in pixels of the images.

    Raises:
        ConfigError: if both are given, or one is out of range.
    """

    scale: float | None = None
    diameter: float | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and self.diameter is not None:
            raise ConfigError("scale and diameter: give only one of them")
        if self.scale is not None and not 1 / LARGEST <= self.scale <= LARGEST:
            raise ConfigError(f"scale: expected a factor from {1 / LARGEST:g} to {LARGEST:g}, got {self.scale:g}")
        if self.diameter is not None and not 0 < self.diameter < float("inf"):
            raise ConfigError(f"diameter: expected a positive number of pixels, got {self.diameter:g}")

    def known(self, image: Image, sizes: CellSizes | None) -> float | None:
        """Returns the factor for an image without a first pass; None if it is unknown.

        Args:
            image: its microns per pixel are used if the user gives nothing.
            sizes: sizes that the model knows.

        Raises:
            ConfigError: if a diameter is given and the model's card has no sizes.
        """
        if self.scale is not None:
            return self.scale
        if self.diameter is not None:
            if sizes is None:
                raise ConfigError("diameter: the model's card states no cell size; use scale instead")
            return _bounded(sizes.scale_to_known(self.diameter))
        if sizes is None:
            return 1.0
        if image.microns_per_pixel is None or sizes.microns_per_pixel is None:
            return None
        factor = image.microns_per_pixel / sizes.microns_per_pixel
        return 1.0 if 1 / SAME_PIXELS <= factor <= SAME_PIXELS else _bounded(factor)


def estimate_scale(cells: Instances, image: Image, sizes: CellSizes, segment: Callable[[Image], Instances]) -> float:
    """Estimates the resize factor of an image from results at several sizes; 1 for most images.

    A model splits cells that are too large into pieces of a known size, so its results at one size are not conclusive.
    At two reduced sizes, such an image yields the same cells, while one with cells of known size yields hardly any, or
    clumps that depend on the size. Cells that are too small are found at the lower end of the known sizes, and an
    enlarged image yields more of them.

    Args:
        cells: cells found at the image's own size.
        image: the image.
        sizes: sizes that the model knows.
        segment: segments an image without any estimate of the size.
    """
    if len(cells) < FEW:
        return 1.0
    if diameter(cells.areas) < NEAR * sizes.least:
        found = _size_of_small(cells, image, segment)
        return _bounded(sizes.scale_to_known(found)) if found < sizes.least else 1.0
    found = _size_of_large(cells, image, sizes, segment)
    return _bounded(sizes.scale_to_known(found)) if found > sizes.greatest else 1.0


def _size_of_large(cells: Instances, image: Image, sizes: CellSizes, segment: Callable[[Image], Instances]) -> float:
    """Median diameter of cells on which both reduced sizes agree; 0 if they do not."""
    found = []
    for factor in REDUCED:
        seen = segment(resized_image(image, factor))
        large = diameter(seen.areas) / factor > sizes.greatest
        if not large or len(seen) < FEW or evidence(seen) < EVIDENCE * evidence(cells):
            return 0.0
        found.append(resized_instances(seen, image.shape))
    return diameter(found[0].areas) if _agree(found[0], found[1]) else 0.0


def _agree(first: Instances, second: Instances) -> bool:
    """Whether two passes found the same cells; the second is at the smaller size."""
    if diameter(second.areas) > GROWTH * diameter(first.areas):
        return False
    matched = int(are_hits(first, second).sum())
    return 2 * matched >= AGREEMENT * (len(first) + len(second))


def _size_of_small(cells: Instances, image: Image, segment: Callable[[Image], Instances]) -> float:
    """Median diameter of the cells of the enlarged image if they explain more of it, else infinite."""
    seen = segment(resized_image(image, ENLARGED))
    better = evidence(seen) > evidence(cells) and len(seen) >= FEW
    return diameter(seen.areas) / ENLARGED if better else float("inf")


def evidence(cells: Instances) -> float:
    """Fraction of an image that is covered by cells, each weighted by its score: in [0, 1] without overlaps."""
    return float((cells.scores * cells.areas).sum()) / (cells.shape[0] * cells.shape[1])


def resized_image(image: Image, scale: float) -> Image:
    """Returns the image at ``scale`` times its size, with the pixel size adapted."""
    if scale == 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    microns = None if image.microns_per_pixel is None else image.microns_per_pixel / scale
    return replace(
        image, pixels=cv2.resize(image.pixels, (width, height), interpolation=method), microns_per_pixel=microns
    )


def resized_instances(cells: Instances, shape: tuple[int, int]) -> Instances:
    """Resizes cells of a resized image to this shape; outlines are interpolated, cells that vanish are left out."""
    if cells.shape == shape:
        return cells
    pieces = [mask_crop(cells, index) for index in range(len(cells))]
    masks = from_crops([mask for mask, _ in pieces], np.array([origin for _, origin in pieces]))
    scale = (shape[0] / cells.shape[0], shape[1] / cells.shape[1])
    runs, offsets, _ = paste(moved(masks, scale=scale), shape)
    soft = None if cells.soft is None else moved(cells.soft, scale=scale)
    sized = replace(cells, shape=shape, runs=runs, offsets=offsets, soft=soft)
    return sized.select(sized.areas > 0)


def size_note(image: Image, cells: Instances, sizes: CellSizes | None, size: CellScale) -> str:
    """Returns one line for the user if the cells are of a size that the model was not trained on, else empty.

    Args:
        image: the image of the cells.
        cells: cells in pixels of the image.
        sizes: sizes that the model knows.
        size: information of the user.
    """
    if sizes is None or len(cells) < FEW:
        return ""
    factor = size.known(image, sizes)
    if sizes.least <= diameter(cells.areas) * (factor or 1.0) <= sizes.greatest:
        return ""
    known = f"cells of another size than the model knows ({sizes.least:.0f} to {sizes.greatest:.0f} pixels)"
    if factor is None:
        return f"{known}, so that images were resized where that helped; check the overlays and pass --diameter PIXELS"
    return f"{known} after resizing; check the overlays and pass another --diameter PIXELS"


def _bounded(factor: float) -> float:
    return min(max(factor, 1 / LARGEST), LARGEST)
