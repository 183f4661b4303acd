"""Conversion of images to the network's input, and of its outputs to maps and instances at an image's size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from cytotome._torch import resize_bilinear
from cytotome.ops.labels import from_layers, to_layers
from cytotome.ops.soft_masks import moved, paste
from cytotome.types import AnyArray, FloatArray, Instances


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """An image resized for the network, in the upper left corner of a canvas.

    Attributes:
        pixels: ``(C, height, width)`` float32, with sides that are multiples of the network's stride.
        content: height and width of the image on the canvas.
    """

    pixels: FloatArray
    content: tuple[int, int]


def to_canvas(planes: FloatArray, scale: float, stride: int, offset: tuple[float, float] = (0.0, 0.0)) -> Canvas:
    """Resizes ``(C, H, W)`` float32 planes linearly and pads them by reflection at the bottom and right.

    Args:
        planes: normalised image.
        scale: resize factor.
        stride: sides are padded to multiples of this.
        offset: the image is sampled this far further down and right, in its pixels; its edge is repeated.
    """
    size = (planes.shape[1], planes.shape[2])
    height, width = (max(1, round(side * scale)) for side in size)
    down, right = -height % stride, -width % stride
    if (height, width) == size and not down and not right and not any(offset):
        return Canvas(planes, size)
    pixels = np.empty((len(planes), height + down, width + right), np.float32)
    for plane, target in zip(planes, pixels, strict=True):
        resized = _resized(plane, (height, width), offset)
        cv2.copyMakeBorder(resized, 0, down, 0, right, cv2.BORDER_REFLECT_101, dst=target)
    return Canvas(pixels, (height, width))


def _resized(plane: FloatArray, size: tuple[int, int], offset: tuple[float, float]) -> AnyArray:
    """A plane resized linearly, sampled from ``offset`` further down and right."""
    if not any(offset):
        return cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
    matrix = np.zeros((2, 3))
    for row, axis in enumerate((1, 0)):
        step = plane.shape[axis] / size[axis]
        matrix[row, row], matrix[row, 2] = step, step / 2 - 0.5 + offset[axis]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(plane, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def resized_maps(maps: Mapping[str, Tensor], canvas: Canvas, size: tuple[int, int]) -> dict[str, Tensor]:
    """Resizes maps of a canvas, of any resolution, to an image's size, with one linear interpolation.

    Args:
        maps: ``(B, C, h, w)`` tensors, each covering the whole canvas.
        canvas: the canvas, or any of the batch, as their geometry must be the same.
        size: rows H and columns W of the result.

    Returns:
        ``(B, C, H, W)`` float32 tensors.
    """
    resized = {}
    for name, values in maps.items():
        values = values.to(torch.float32, memory_format=torch.contiguous_format)
        # Output pixels per map pixel, which define the sampling positions; the padding is not sampled.
        factors = [
            size[axis] * canvas.pixels.shape[1 + axis] / (canvas.content[axis] * values.shape[2 + axis])
            for axis in (0, 1)
        ]
        if factors == [1.0, 1.0]:
            resized[name] = values[:, :, : size[0], : size[1]].contiguous()
        else:
            resized[name] = resize_bilinear(values, size, factors)
    return resized


def resized_detections(instances: Instances, content: tuple[int, int], size: tuple[int, int]) -> Instances:
    """Crops instances of a canvas to its content and resizes them to an image's size, for networks that predict
    instances.

    Soft masks are pasted again at the image's size; other masks are resized with nearest-neighbour interpolation.
    """
    height, width = content
    if instances.soft is not None:
        soft = moved(instances.soft, scale=(size[0] / height, size[1] / width))
        runs, offsets, _ = paste(soft, size)
        sized = replace(instances, shape=size, runs=runs, offsets=offsets, soft=soft)
        return sized.select(sized.areas > 0)
    layers = to_layers(instances)[:, :height, :width]
    if content != size:
        rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(np.int64)
        columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(np.int64)
        layers = layers[:, rows[:, None], columns]
    return replace(from_layers(layers, instances), shape=size)
