"""Soft masks: grids of probabilities over boxes that are pasted into images, cropped from images, moved and resized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cytotome.arrays import AnyArray, FloatArray, IntArray
from cytotome.ops.kernels import grown, kernel
from cytotome.soft import SoftMasks

if TYPE_CHECKING:
    from cytotome.types import Instances


def from_grids(grids: AnyArray, boxes: AnyArray) -> SoftMasks:
    """Creates soft masks from ``(N, rows, columns)`` probabilities over ``(N, 4)`` boxes of y0, x0, y1, x1."""
    sizes = np.broadcast_to(np.array(grids.shape[1:], np.int32), (len(grids), 2))
    return SoftMasks(
        np.ascontiguousarray(grids, np.float32).reshape(-1),
        np.ascontiguousarray(sizes),
        np.ascontiguousarray(boxes, np.float32).reshape(-1, 4),
    )


def from_crops(crops: Sequence[AnyArray], origins: AnyArray) -> SoftMasks:
    """Creates soft masks from N crops ``(h, w)`` of an image, each with its upper left corner y, x."""
    sizes = np.array([crop.shape for crop in crops], np.int32).reshape(-1, 2)
    corners = np.asarray(origins, np.float32).reshape(-1, 2)
    parts = [np.asarray(crop, np.float32).reshape(-1) for crop in crops]
    values = np.concatenate([*parts, np.zeros(0, np.float32)])
    return SoftMasks(values, sizes, np.hstack([corners, corners + sizes]).astype(np.float32))


def pixel_crop(soft: SoftMasks, index: int, shape: tuple[int, int]) -> tuple[FloatArray, tuple[int, int]]:
    """Returns the probabilities of one instance at the pixels that its box reaches, and their origin y, x.

    Pixels are interpolated linearly between the centres of the grid's cells, with zeros beyond the grid, so pixels up
    to half a cell outside the box are not 0.

    Returns:
        ``(h, w)`` float32 and ``(y, x)``; of shape (0, 0) if the box is outside the image.
    """
    window = pixel_windows(soft, shape)[index]
    crop = np.zeros((max(0, window[2] - window[0]), max(0, window[3] - window[1])), np.float32)
    _sample(soft.grid(index), soft.boxes[index], window[0], window[1], crop)
    return crop, (int(window[0]), int(window[1]))


def pixel_windows(soft: SoftMasks, shape: tuple[int, int]) -> IntArray:
    """``(N, 4)`` int32 of y0, x0, y1, x1, half open: the window of each mask outside which it is 0."""
    half = (soft.boxes[:, 2:] - soft.boxes[:, :2]) / (2 * np.maximum(soft.sizes, 1))
    limit = np.array(shape, np.float32)
    low = np.clip(np.floor(soft.boxes[:, :2] - half), 0, limit)
    high = np.clip(np.ceil(soft.boxes[:, 2:] + half), 0, limit)
    return np.hstack([low, high]).astype(np.int32)


def paste(
    soft: SoftMasks, shape: tuple[int, int], threshold: float = 0.5
) -> tuple[IntArray, npt.NDArray[np.int64], FloatArray]:
    """Runs of the pixels of each mask whose probability is above ``threshold``, without any full-size mask.

    Args:
        soft: N masks.
        shape: ``(H, W)`` of the image; pixels outside are left out.
        threshold: in [0, 1).

    Returns:
        ``(runs (R, 3) int32, offsets (N + 1,) int64, means (N,) float32)``: canonical runs as in
        :class:`~cytotome.types.Instances`, and the mean probability over the pixels of each mask, 0 for an empty one.
    """
    offsets = soft.offsets
    windows = pixel_windows(soft, shape)
    runs, counts, means = _paste(soft.values, offsets, soft.sizes, soft.boxes, windows, np.float32(threshold))
    return runs, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), means


@kernel
def _axis(start: int, stop: int, low: np.float32, high: np.float32, cells: int) -> tuple[AnyArray, AnyArray]:
    """For pixels ``start`` to ``stop``: the cell before each, ``(K,)`` int64, and the weight of the cell after it,
    ``(K,)``.

    Args:
        start, stop: pixels, half open.
        low, high: ends of the box along this axis, in pixels.
        cells: of the grid along this axis.
    """
    before = np.empty(max(0, stop - start), np.int64)
    weight = np.empty(max(0, stop - start), np.float32)
    size = max(high - low, np.float32(1e-6))
    for k in range(stop - start):
        place = (np.float32(start + k) + np.float32(0.5) - low) * np.float32(cells) / size - np.float32(0.5)
        floor = np.floor(place)
        before[k] = int(floor)
        weight[k] = place - floor
    return before, weight


@kernel
def _at(grid: AnyArray, y: int, x: int, down: np.float32, right: np.float32) -> np.float32:
    """Interpolates between four cells of a grid ``(rows, columns)``, zero outside it; ``down`` and ``right`` are
    weights in [0, 1].
    """
    rows, columns = grid.shape
    total = np.float32(0)
    one = np.float32(1)
    if 0 <= y < rows:
        if 0 <= x < columns:
            total += (one - down) * (one - right) * grid[y, x]
        if 0 <= x + 1 < columns:
            total += (one - down) * right * grid[y, x + 1]
    if 0 <= y + 1 < rows:
        if 0 <= x < columns:
            total += down * (one - right) * grid[y + 1, x]
        if 0 <= x + 1 < columns:
            total += down * right * grid[y + 1, x + 1]
    return total


@kernel
def _sample(grid: AnyArray, box: AnyArray, top: int, left: int, crop: AnyArray) -> None:
    """Fills ``crop`` ``(h, w)``, whose upper left pixel is top, left, from a grid ``(rows, columns)`` over ``box``
    ``(4,)``.
    """
    rows, down = _axis(top, top + crop.shape[0], box[0], box[2], grid.shape[0])
    columns, right = _axis(left, left + crop.shape[1], box[1], box[3], grid.shape[1])
    for i in range(crop.shape[0]):
        for j in range(crop.shape[1]):
            crop[i, j] = _at(grid, rows[i], columns[j], down[i], right[j])


@kernel
def _paste(
    values: AnyArray, offsets: AnyArray, sizes: AnyArray, boxes: AnyArray, windows: AnyArray, threshold: np.float32
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Returns the runs of each mask where it is above the threshold.

    Args:
        values, offsets, sizes, boxes: of :class:`~cytotome.soft.SoftMasks`.
        windows: ``(N, 4)`` int32, the window of each mask in the image.
        threshold: in [0, 1).

    Returns:
        ``(runs (R, 3) int32, counts (N,) int64, means (N,) float32)``: number of runs and mean probability of each.
    """
    count = len(sizes)
    counts = np.zeros(count, np.int64)
    means = np.zeros(count, np.float32)
    runs = np.empty((max(64, 32 * count), 3), np.int32)
    used = 0
    for n in range(count):
        grid = values[offsets[n] : offsets[n + 1]].reshape(sizes[n, 0], sizes[n, 1])
        y0, x0, y1, x1 = windows[n]
        rows, down = _axis(y0, y1, boxes[n, 0], boxes[n, 2], sizes[n, 0])
        columns, right = _axis(x0, x1, boxes[n, 1], boxes[n, 3], sizes[n, 1])
        first, pixels, total = used, 0, 0.0
        for i in range(y1 - y0):
            if used + (x1 - x0) > len(runs):
                runs = grown(runs, 2 * len(runs) + (x1 - x0))
            begin = -1
            for j in range(x1 - x0):
                value = _at(grid, rows[i], columns[j], down[i], right[j])
                if value > threshold:
                    pixels += 1
                    total += float(value)
                    if begin < 0:
                        begin = x0 + j
                elif begin >= 0:
                    runs[used, 0], runs[used, 1], runs[used, 2] = y0 + i, begin, x0 + j
                    used += 1
                    begin = -1
            if begin >= 0:
                runs[used, 0], runs[used, 1], runs[used, 2] = y0 + i, begin, x1
                used += 1
        counts[n] = used - first
        if pixels > 0:
            means[n] = total / pixels
    return runs[:used].copy(), counts, means


def moved(soft: SoftMasks, *, by: tuple[float, float] = (0, 0), scale: tuple[float, float] = (1, 1)) -> SoftMasks:
    """Returns the masks with boxes multiplied by ``scale`` (y, x), then shifted by ``by`` (y, x)."""
    boxes = soft.boxes * np.array([*scale, *scale], np.float32) + np.array([*by, *by], np.float32)
    return SoftMasks(soft.values, soft.sizes, boxes.astype(np.float32))


def joined(parts: Sequence[SoftMasks]) -> SoftMasks:
    """Concatenates soft masks."""
    return SoftMasks(
        np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)]),
        np.concatenate([np.zeros((0, 2), np.int32), *(part.sizes for part in parts)]),
        np.concatenate([np.zeros((0, 4), np.float32), *(part.boxes for part in parts)]),
    )


def mask_grids(instances: Instances, boxes: AnyArray, size: int) -> FloatArray:
    """Resamples each mask linearly over its box to ``size`` x ``size`` cells; the inverse of :func:`paste`.

    If a cell is larger than a pixel, its value is the mean of ``ceil(pixels per cell)`` samples per axis.

    Args:
        instances: N masks.
        boxes: ``(N, 4)`` of y0, x0, y1, x1 in pixels; parts of a mask outside its box are ignored.
        size: number of cells along each axis.

    Returns:
        ``(N, size, size)`` float32 in [0, 1].
    """
    grids = np.zeros((len(instances), size, size), np.float32)
    _resample(instances.runs, instances.offsets, instances.boxes, np.asarray(boxes, np.float32).reshape(-1, 4), grids)
    return grids


@kernel
def _resample(runs: AnyArray, offsets: AnyArray, extents: AnyArray, boxes: AnyArray, grids: AnyArray) -> None:
    """Fills ``grids`` ``(N, size, size)`` float32 with each mask over its box.

    Args:
        runs, offsets: ``(R, 3)`` and ``(N + 1,)`` of the masks.
        extents: ``(N, 4)`` int32, the box of each mask's pixels.
        boxes: ``(N, 4)`` float32, the box that each grid covers.
        grids: changed in place.
    """
    size = grids.shape[1]
    for n in range(len(grids)):
        top, left, bottom, right = extents[n]
        mask = np.zeros((bottom - top, right - left), np.float32)
        for k in range(offsets[n], offsets[n + 1]):
            mask[runs[k, 0] - top, runs[k, 1] - left : runs[k, 2] - left] = 1
        steps = np.empty(2, np.float32)
        samples = np.empty(2, np.int64)
        for axis in range(2):
            steps[axis] = (boxes[n, axis + 2] - boxes[n, axis]) / size
            samples[axis] = max(1, int(np.ceil(steps[axis])))
        for i in range(size):
            for j in range(size):
                total = np.float32(0)
                for a in range(samples[0]):
                    y = boxes[n, 0] + (i + (a + 0.5) / samples[0]) * steps[0] - top - 0.5
                    for b in range(samples[1]):
                        x = boxes[n, 1] + (j + (b + 0.5) / samples[1]) * steps[1] - left - 0.5
                        total += _at(
                            mask,
                            int(np.floor(y)),
                            int(np.floor(x)),
                            np.float32(y - np.floor(y)),
                            np.float32(x - np.floor(x)),
                        )
                grids[n, i, j] = total / (samples[0] * samples[1])
