"""Conversion of inputs to one or several images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from cytotome.errors import ImageError
from cytotome.io.images import read_image
from cytotome.types import IMAGE_DTYPES, AnyArray, Image, Sample

ImageLike: TypeAlias = "Image | Sample | AnyArray | str | os.PathLike[str]"

MOST_COLOURS = 4
"""A last axis of at most this length is always treated as channels."""


def is_one(images: object) -> bool:
    """Whether the input is one image; several images are any other iterable."""
    return _is_array(images) or isinstance(images, Image | Sample | str | os.PathLike) or not _is_iterable(images)


def several(images: Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Returns the images after checking that iterating over them yields images.

    Raises:
        ImageError: if it is one image, which would yield rows or characters, or a mapping, which would yield keys.
    """
    if isinstance(images, Mapping):
        raise ImageError(f"images: got a {type(images).__name__}, of which only the keys would be read; give .values()")
    shape = _shape(images)
    if is_one(images) and (len(shape) < 3 or (len(shape) == 3 and shape[2] <= MOST_COLOURS)):
        raise ImageError(
            f"images: expected several, got {_described(images)}; use segment for one image, or put it into a list"
        )
    return images


def to_image(source: ImageLike) -> Image:
    """Returns the image of a path, a sample or an array; dtypes that :class:`Image` does not support become float32.

    Leading axes of length 1 are dropped. Tensors may also be ``(C, H, W)``, as is common for them.

    Raises:
        ImageError: if it cannot be used, or it is ambiguous which axis contains the channels.
    """
    if isinstance(source, Image):
        return source
    if isinstance(source, Sample):
        return source.image
    if isinstance(source, str | os.PathLike):
        return read_image(source)
    pixels = _channels_last(_numbers(source))
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    elif pixels.dtype not in IMAGE_DTYPES:
        pixels = pixels.astype(np.float32)
    return Image(pixels)


def _numbers(source: object) -> AnyArray:
    try:
        pixels: AnyArray = _of_tensor(source) if isinstance(source, Tensor) else np.asarray(source)
    except (TypeError, ValueError):
        pixels = np.empty(0, object)
    if pixels.dtype.kind not in "biuf":
        raise ImageError(
            f"image: expected an Image, a Sample, a (H, W) or (H, W, C) array of numbers or a path, got "
            f"{_described(source)}; give several images to segment as a list, an iterator or a Dataset of them"
        )
    return pixels


def _of_tensor(tensor: Tensor) -> AnyArray:
    if tensor.ndim == 3 and tensor.shape[0] <= MOST_COLOURS < tensor.shape[2]:
        tensor = tensor.permute(1, 2, 0)
    array: AnyArray = (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().numpy()
    return array


def _channels_last(pixels: AnyArray) -> AnyArray:
    """``(H, W)`` or ``(H, W, C)``: channels are few, and fewer than rows or columns."""
    while pixels.ndim > 2 and pixels.shape[0] == 1 and (pixels.ndim > 3 or pixels.shape[2] > MOST_COLOURS):
        pixels = np.squeeze(pixels, axis=0)
    if pixels.ndim < 3 or (pixels.ndim == 3 and pixels.shape[2] <= MOST_COLOURS):
        return pixels
    if pixels.ndim > 3 or pixels.shape[2] >= min(pixels.shape[:2]):
        raise ImageError(
            f"image: expected (H, W) or (H, W, C), got {pixels.shape}; move channels to the end by "
            "numpy.moveaxis(array, 0, -1), or give the images of a stack to segment as list(array)"
        )
    return pixels


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "__array_interface__")


def _is_iterable(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, bytes)


def _described(value: object) -> str:
    if isinstance(value, str | os.PathLike):
        return f"the path {os.fspath(value)!r}"
    return f"an array of shape {_shape(value)}" if _is_array(value) else f"a {type(value).__name__}"


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(np.shape(value)) if _is_array(value) else ()
