"""The size at which an image is shown to a model: as given, by the size of its pixels, or by a first pass."""

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
"""Pixels that differ by less from those of the training images are taken as the same: training varies sizes by more."""

LARGEST = 32.0
"""Largest factor by which an image is resized, and the inverse of the least."""

REDUCED = (0.35, 0.25)
"""Cells larger than the model knows are looked for at these sizes of the image, the second where the first gives any.

They cost an eighth and a sixteenth of a pass. Still smaller sizes join dense cells into clumps that look alike twice.
"""

ENLARGED = 2.0
"""Cells smaller than the model knows are looked for at this size of the image."""

NEAR = 1.15
"""The decoder drops cells that are too small, so that the median of the rest may lie so much above the minimum size."""

FEW = 5
"""Fewer cells tell nothing of the size of cells."""

AGREEMENT = 0.6
"""Least F1, at IoU 0.5, between what is found at two sizes of the image where cells have been found and not clumps."""

GROWTH = 1.2
"""By how much more the median diameter may be at the smaller of the two sizes; clumps grow as the image shrinks."""

EVIDENCE = 0.5
"""Least part of the plain pass's evidence that is there at a reduced size, see :func:`evidence`."""


@dataclass(frozen=True, slots=True)
class CellScale:
    """What a user says of the size of the cells.

    Attributes:
        scale: factor by which images are resized before the model sees them; 1 for their own size.
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
        """The factor for an image that needs no first pass; None if nothing is known.

        Args:
            image: its microns per pixel count where the user gives nothing.
            sizes: those that the model knows.

        Raises:
            ConfigError: if a diameter is given and the model states no size.
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
    """By how much an image is to be resized, from what a model finds in it at several sizes; 1 in most images.

    A model cuts cells that are too large for it into pieces of a size that it knows, so what it finds at one size means
    nothing. At two reduced sizes, such an image gives the same cells, while one of known cells gives next to nothing,
    or clumps that depend on the size. Cells that are too small are found at the lower end of the known sizes, and an
    enlarged image gives more of them.

    Args:
        cells: found at the image's own size.
        image: the image.
        sizes: those that the model knows.
        segment: the cells of an image as the model sees it, without any estimate.
    """
    if len(cells) < FEW:
        return 1.0
    if diameter(cells.areas) < NEAR * sizes.least:
        found = _size_of_small(cells, image, segment)
        return _bounded(sizes.scale_to_known(found)) if found < sizes.least else 1.0
    found = _size_of_large(cells, image, sizes, segment)
    return _bounded(sizes.scale_to_known(found)) if found > sizes.greatest else 1.0


def _size_of_large(cells: Instances, image: Image, sizes: CellSizes, segment: Callable[[Image], Instances]) -> float:
    """Median diameter of cells that both reduced sizes agree on; 0 where they do not."""
    found = []
    for factor in REDUCED:
        seen = segment(resized_image(image, factor))
        large = diameter(seen.areas) / factor > sizes.greatest
        if not large or len(seen) < FEW or evidence(seen) < EVIDENCE * evidence(cells):
            return 0.0
        found.append(resized_instances(seen, image.shape))
    return diameter(found[0].areas) if _agree(found[0], found[1]) else 0.0


def _agree(first: Instances, second: Instances) -> bool:
    """Whether two passes found the same cells; the second saw the image at the smaller size."""
    if diameter(second.areas) > GROWTH * diameter(first.areas):
        return False
    matched = int(are_hits(first, second).sum())
    return 2 * matched >= AGREEMENT * (len(first) + len(second))


def _size_of_small(cells: Instances, image: Image, segment: Callable[[Image], Instances]) -> float:
    """Median diameter of the cells of the enlarged image, where they explain more of it; infinite where not."""
    seen = segment(resized_image(image, ENLARGED))
    better = evidence(seen) > evidence(cells) and len(seen) >= FEW
    return diameter(seen.areas) / ENLARGED if better else float("inf")


def evidence(cells: Instances) -> float:
    """The part of an image that lies in cells, each weighted by its score: in [0, 1] without overlaps."""
    return float((cells.scores * cells.areas).sum()) / (cells.shape[0] * cells.shape[1])


def resized_image(image: Image, scale: float) -> Image:
    """The image at ``scale`` times its size, with the size of its pixels."""
    if scale == 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    microns = None if image.microns_per_pixel is None else image.microns_per_pixel / scale
    return replace(
        image, pixels=cv2.resize(image.pixels, (width, height), interpolation=method), microns_per_pixel=microns
    )


def resized_instances(cells: Instances, shape: tuple[int, int]) -> Instances:
    """Cells of a resized image in the image of this shape; outlines are interpolated, cells that vanish left out."""
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
    """One line for the user where cells are of a size that the model was not trained on; else empty.

    Args:
        image: where the cells were found.
        cells: in the image's own pixels.
        sizes: those that the model knows.
        size: what the user said.
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
