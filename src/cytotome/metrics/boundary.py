"""Boundary F: agreement of outlines (Martin et al. 2004; Csurka et al. 2013)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cytotome.errors import ConfigError, DataError
from cytotome.ops.kernels import kernel
from cytotome.types import AnyArray, Instances

TOLERANCE = 2.0


def boundary_map(instances: Instances) -> npt.NDArray[np.uint8]:
    """``(H, W)`` uint8, 1 on every pixel of a mask with one of its four neighbours outside of that mask.

    Where masks overlap or touch, the outline of each is drawn. The image's edge is not an outline.
    """
    height, width = instances.shape
    boundary = np.zeros((height, width), np.uint8)
    owner = np.zeros((height, width), np.int32)
    _draw_boundaries(boundary, owner, instances.runs, instances.offsets)
    return boundary


@kernel
def _draw_boundaries(boundary: AnyArray, owner: AnyArray, runs: AnyArray, offsets: AnyArray) -> None:
    """Marks outlines.

    Args:
        boundary: ``(H, W)`` uint8, set to 1 on the outlines.
        owner: ``(H, W)`` int32 zeros, scratch.
        runs, offsets: ``(R, 3)`` and ``(N + 1,)`` of the instances.
    """
    height, width = boundary.shape
    for i in range(len(offsets) - 1):
        for k in range(offsets[i], offsets[i + 1]):
            owner[runs[k, 0], runs[k, 1] : runs[k, 2]] = i + 1
        for k in range(offsets[i], offsets[i + 1]):
            y, start, stop = runs[k]
            if start > 0:
                boundary[y, start] = 1
            if stop < width:
                boundary[y, stop - 1] = 1
            for x in range(start, stop):
                above = y > 0 and owner[y - 1, x] != i + 1
                below = y + 1 < height and owner[y + 1, x] != i + 1
                if above or below:
                    boundary[y, x] = 1


def boundary_f(predictions: Instances, truth: Instances, tolerance: float = TOLERANCE) -> float:
    """F score of the outlines of one image, 0 to 1.

    Precision is the fraction of the predicted outline's pixels within ``tolerance`` of the true outline, recall the
    fraction of the true outline's pixels within ``tolerance`` of the predicted one; F is their harmonic mean.

    Args:
        predictions: predicted instances.
        truth: true instances of the same image.
        tolerance: Euclidean distance between pixel centres, in pixels, inclusive.

    Returns:
        1 if neither has an outline, 0 if only one has.

    Raises:
        DataError: if the image sizes differ.
        ConfigError: if the tolerance is negative.
    """
    if predictions.shape != truth.shape:
        raise DataError(
            f"instances of different images: {predictions.shape} and {truth.shape}; give masks of the same size"
        )
    if not 0 <= tolerance < np.inf:
        raise ConfigError(f"boundary tolerance must be 0 pixels or more, got {tolerance}")
    predicted, true = boundary_map(predictions), boundary_map(truth)
    predicted_size, true_size = int(predicted.sum()), int(true.sum())
    if predicted_size == 0 or true_size == 0:
        return float(predicted_size == true_size)
    precision = int((predicted & _within(true, tolerance)).sum()) / predicted_size
    recall = int((true & _within(predicted, tolerance)).sum()) / true_size
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _within(pixels: npt.NDArray[np.uint8], tolerance: float) -> npt.NDArray[np.uint8]:
    """1 on every pixel within ``tolerance`` of a set pixel: a dilation by a disc."""
    radius = int(tolerance)
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = (y * y + x * x <= tolerance * tolerance).astype(np.uint8)
    return np.asarray(cv2.dilate(pixels, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8)
