"""Pictures of training targets: vectors on the colour wheel, energy levels, classes, anything else as a map."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from cytotome.arrays import ByteArray
from cytotome.ops.pictures import cell_colours
from cytotome.report.maps import draw_map
from cytotome.types import AnyArray, OutputSpec

FEW = 5
"""Maximum number of integer values that are drawn as classes; more are drawn as levels."""


def draw_target(name: str, values: AnyArray, specs: Mapping[str, OutputSpec]) -> ByteArray:
    """``(H, W, 3)`` uint8 RGB of one target ``(C, H, W)``.

    Args:
        name: name of the target; if the family predicts a map of that name, it is drawn by its kind.
        values: integers of one channel are classes or levels, with the lowest (0 or below) in black; others are drawn
            as maps.
        specs: the maps that the family predicts, by name.
    """
    if values.dtype.kind in "iub" and len(values) == 1:
        numbers = values[0].astype(np.int64)
        numbers = numbers - min(0, int(numbers.min(initial=0)))  # if there is a negative one, it is background
        return draw_classes(numbers) if numbers.max(initial=0) < FEW else draw_levels(numbers)
    spec = specs.get(name)
    if spec is None or spec.channels != len(values):
        spec = OutputSpec(name, len(values), top=max(1.0, float(values.max(initial=0))))
    return draw_map(values.astype(np.float32), spec)


def draw_classes(classes: AnyArray) -> ByteArray:
    """``(H, W, 3)`` uint8 RGB of ``(H, W)`` integers, 0 or more: one colour each, 0 is black."""
    palette = np.concatenate([np.zeros((1, 3), np.uint8), cell_colours(np.arange(max(1, int(classes.max(initial=0)))))])
    picture: ByteArray = palette[classes]
    return picture


def draw_levels(levels: AnyArray) -> ByteArray:
    """``(H, W, 3)`` uint8 RGB of ``(H, W)`` integers: from violet for 1 to yellow for the maximum, 0 is black."""
    top = max(1, int(levels.max(initial=0)))
    greys = np.clip(255 * (levels - 1) / max(1, top - 1), 0, 255).astype(np.uint8)
    coloured = cv2.applyColorMap(greys, cv2.COLORMAP_VIRIDIS)
    picture: ByteArray = np.ascontiguousarray(coloured[:, :, ::-1], np.uint8)
    picture[levels <= 0] = 0
    return picture
