"""Reading of microscope images, with one clear error for each file that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cytotome.errors import ImageError
from cytotome.io.decode import read_raster, sniff
from cytotome.io.raster import MAX_PIXELS, to_native
from cytotome.io.tiff import tiff_page_count
from cytotome.types import AnyArray, Image

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "page_count", "read_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Suffixes of image files in folders, in lower case."""


def read_image(path: str | os.PathLike[str], *, page: int = 0, blank: bool = False) -> Image:
    """Reads one page of a PNG, JPEG, TIFF or OME-TIFF file.

    8 and 16 bit are kept, 1 bit becomes uint8 and every other type float32. The image is ``(H, W)``, or ``(H, W, 3)``
    if the file declares colours; alpha and axes of length 1 are dropped. An EXIF rotation is not applied, so that masks
    match the stored pixels.

    Args:
        path: the file; its format is detected from its content.
        page: page of a stack, counted over all axes (time, depth, channel) in the order of the file. Channels are
            pages, even if a TIFF stores them as samples of one pixel.
        blank: also read images of one constant value, which can be measured, but not segmented.

    Raises:
        ImageError: if the file is missing, damaged, empty, implausibly large, not finite, or constant.
    """
    raster = read_raster(path, page)
    pixels = _to_image_type(path, to_native(raster.pixels))
    _check_values(path, pixels, blank)
    scale = raster.scale
    return Image(pixels, scale.microns_per_pixel, str(path), (scale.note,) if scale.note else ())


def page_count(path: str | os.PathLike[str]) -> int:
    """Number of pages of an image file, 1 for PNG and JPEG.

    Raises:
        ImageError: if the file cannot be read.
    """
    path = Path(path)
    return tiff_page_count(path) if sniff(path) == "tiff" else 1


def _to_image_type(path: str | os.PathLike[str], pixels: AnyArray) -> AnyArray:
    if pixels.dtype in (np.uint8, np.uint16, np.float32):
        return pixels
    if pixels.dtype == bool:
        return pixels.view(np.uint8)
    if pixels.dtype.kind not in "iuf":
        raise ImageError(f"{path}: pixels of type {pixels.dtype} are not grey levels; export as 8 or 16 bit")
    with np.errstate(over="ignore"):
        return pixels.astype(np.float32)


def _check_values(path: str | os.PathLike[str], pixels: AnyArray, blank: bool) -> None:
    low, high = pixels.min(), pixels.max()  # both propagate NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"{path}: contains values that are not finite; export it again")
    if low == high and not blank:
        raise ImageError(f"{path}: every pixel has the value {low:g}; there is nothing to segment")
