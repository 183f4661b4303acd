"""What decoding gives, and the guards that every format shares: absurdly declared sizes and scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cytotome.errors import ImageError
from cytotome.types import AnyArray

MAX_PIXELS = 2**29
"""Most values (height x width x channels) that one image may hold; checked from the header before decoding."""

MICRON_LIMITS = (1e-3, 15.0)
"""Pixel edges in microns that a microscope can have; print resolutions (72 to 1200 dpi) lie above."""


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """Decoded pixels ``(H, W)`` or ``(H, W, C)`` of any type, and microns per pixel where the file has a real scale."""

    pixels: AnyArray
    microns_per_pixel: float | None = None


def check_size(source: object, shape: tuple[int, ...]) -> None:
    """Refuses an image that is empty or larger than :data:`MAX_PIXELS`, before anything is decoded.

    Raises:
        ImageError: saying the declared size.
    """
    declared = "x".join(str(length) for length in shape)
    values = 1
    for length in shape:
        values *= int(length)
    if values <= 0:
        raise ImageError(f"{source}: declares an empty image of {declared}; remove it or export it again")
    if values > MAX_PIXELS:
        raise ImageError(
            f"{source}: declares {declared} values, more than the {MAX_PIXELS} that are read at once; "
            "the file is damaged, or must be cut into tiles first"
        )


def real_scale(microns_x: float, microns_y: float) -> float | None:
    """Microns per pixel, or None where the two edges differ or lie outside :data:`MICRON_LIMITS`."""
    low, high = MICRON_LIMITS
    if not (low <= microns_x <= high and low <= microns_y <= high) or abs(microns_x / microns_y - 1) > 0.01:
        return None
    return (microns_x + microns_y) / 2


def to_native(pixels: AnyArray) -> AnyArray:
    """The array without axes of length 1 beyond height and width, in the machine's byte order."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
