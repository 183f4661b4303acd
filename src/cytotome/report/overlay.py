"""Pictures of images with the outlines of their cells, with stretched contrast."""

from __future__ import annotations

import os

from cytotome.arrays import ByteArray
from cytotome.errors import DataError
from cytotome.ops.pictures import picture_of_image
from cytotome.report.png import write_png
from cytotome.types import AnyArray, Image, Instances


def draw_overlay(image: Image | AnyArray, instances: Instances) -> ByteArray:
    """Draws the image with stretched contrast and the outline of each cell in its own colour, ``(H, W, 3)`` uint8 RGB.

    The outline is the cell's own outermost pixels (4-neighbourhood), so that touching cells remain separate. Colours
    only depend on ids.

    >>> import numpy as np, cytotome as ct
    >>> image = np.zeros((4, 6), np.uint8)
    >>> cells = ct.from_masks([np.ones((4, 6), bool)])
    >>> picture = ct.draw_overlay(image, cells)
    >>> picture.shape, (picture.max(axis=2) > 0).sum().item()
    ((4, 6, 3), 16)

    Args:
        image: an :class:`~cytotome.types.Image`, or its ``(H, W)`` or ``(H, W, C)`` pixels.
        instances: the cells.

    Raises:
        DataError: if the cells are of an image of another size.
    """
    canvas, palette = _draw(image, instances)
    picture: ByteArray = canvas if palette is None else palette[canvas]
    return picture


def write_overlay(path: str | os.PathLike[str], image: Image | AnyArray, instances: Instances) -> None:
    """Writes :func:`draw_overlay` as PNG, atomically."""
    write_png(path, *_draw(image, instances))


def _draw(image: Image | AnyArray, instances: Instances) -> tuple[ByteArray, ByteArray | None]:
    image = image if isinstance(image, Image) else Image(image)
    if image.shape != instances.shape:
        raise DataError(
            f"{image.source}: the image has shape {image.shape}, the cells have shape {instances.shape}; "
            "give the cells of this image"
        )
    return picture_of_image(image.pixels, instances)
