"""What decoding gives, and the guards that every format shares: absurdly declared sizes and scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cytotome.errors import ImageError
from cytotome.io.units import NO_LENGTH, microns_per
from cytotome.types import AnyArray

MAX_PIXELS = 2**29
"""Most values (height x width x channels) that one image may hold; checked from the header before decoding."""

MICRON_LIMITS = (1e-3, 15.0)
"""Pixel edges in microns that a microscope can have; print resolutions (72 to 1200 dpi) lie above."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Microns per pixel where a file has a real scale; else ``note`` says why not, where a user can help."""

    microns_per_pixel: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """Decoded pixels of any type, ``(H, W)`` grey or ``(H, W, 3)`` RGB, without alpha; and their scale."""

    pixels: AnyArray
    scale: Scale = Scale()


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


def scale_of(across: float, down: float, unit: str, other: str | None = None) -> Scale:
    """The scale of pixels of this width and height, each in its unit; ``other``, of the height, is ``unit`` if None.

    There is none where an edge lies outside :data:`MICRON_LIMITS`, or the edges differ by more than 1 %.
    """
    units = (unit, unit if other is None else other)
    factors = [microns_per(name) for name in units]
    for name, factor in zip(units, factors, strict=True):
        if factor is None:
            known = name.strip().lower() in NO_LENGTH
            return Scale(
                None,
                ""
                if known
                else f"unit of length {name!r} is unknown, so lengths are in pixels only (give microns per pixel)",
            )
    low, high = MICRON_LIMITS
    edges = [edge * (factor or 0) for edge, factor in zip((across, down), factors, strict=True)]
    if not all(low <= edge <= high for edge in edges):
        return Scale()
    if abs(edges[0] / edges[1] - 1) > 0.01:
        return Scale(
            None,
            f"pixels are not square ({edges[0]:g} x {edges[1]:g} microns), so lengths are in pixels only "
            "(resample, or give microns per pixel)",
        )
    return Scale(sum(edges) / 2)


def colours_of(pixels: AnyArray) -> AnyArray:
    """Grey or RGB without alpha: ``(H, W, 1 to 4)`` in the order of PNG (grey, grey and alpha, RGB, RGBA)."""
    if pixels.ndim == 2:
        return pixels
    return pixels[:, :, 0] if pixels.shape[2] <= 2 else pixels[:, :, :3]


def to_native(pixels: AnyArray) -> AnyArray:
    """The array, contiguous and in the machine's byte order."""
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
