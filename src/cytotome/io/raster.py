"""Decoded pixels, and the checks shared by all formats: implausible sizes and scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cytotome.errors import ImageError
from cytotome.io.units import NO_LENGTH, microns_per
from cytotome.types import AnyArray

MAX_PIXELS = 2**29
"""Maximum number of values (height x width x channels) of an image; checked from the header before decoding."""

MICRON_LIMITS = (1e-3, 15.0)
"""Plausible pixel sizes of a microscope in microns; print resolutions (72 to 1200 dpi) are larger."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Microns per pixel, if a file has a plausible scale; otherwise ``note`` may tell the user why not."""

    microns_per_pixel: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """Decoded pixels of any type, ``(H, W)`` grey or ``(H, W, 3)`` RGB, without alpha, and their scale."""

    pixels: AnyArray
    scale: Scale = Scale()


def check_size(source: object, shape: tuple[int, ...]) -> None:
    """Refuses images that are empty or larger than :data:`MAX_PIXELS`, before decoding.

    Raises:
        ImageError: with the declared size.
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
    """The scale of pixels of this width (in ``unit``) and height (in ``other``, by default the same unit).

    There is none if a side is outside :data:`MICRON_LIMITS`, or if the sides differ by more than 1 %.
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
    """Returns grey or RGB without alpha, of ``(H, W, 1 to 4)`` in the order of PNG (grey, grey and alpha, RGB,
    RGBA).
    """
    if pixels.ndim == 2:
        return pixels
    return pixels[:, :, 0] if pixels.shape[2] <= 2 else pixels[:, :, :3]


def to_native(pixels: AnyArray) -> AnyArray:
    """Returns the array, contiguous and in native byte order."""
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
