"""Runs of pixels: creating, merging and intersecting the masks of :class:`~cytotome.types.Instances`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytotome.arrays import AnyArray, BoolArray, Int64Array, IntArray
from cytotome.errors import DataError
from cytotome.ops.kernels import grown, kernel

if TYPE_CHECKING:
    from cytotome.instances import Instances


def merge_runs(runs: AnyArray, owners: AnyArray, count: int) -> tuple[IntArray, Int64Array]:
    """Returns canonical runs: ordered by owner, row and start, with touching and overlapping ones joined.

    Args:
        runs: ``(R, 3)`` of row, start, stop, in any order.
        owners: ``(R,)`` int, the instance of each run, 0 to ``count - 1``.
        count: number of instances.

    Returns:
        ``(runs (R', 3) int32, offsets (count + 1,) int64)``.
    """
    runs = np.asarray(runs, np.int32).reshape(-1, 3)
    owners = np.asarray(owners, np.int64)
    order = np.lexsort((runs[:, 1], runs[:, 0], owners))
    merged, merged_owners = _merge_sorted(runs[order], owners[order])
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(merged_owners, minlength=count), out=offsets[1:])
    return merged, offsets


@kernel
def _merge_sorted(runs: AnyArray, owners: AnyArray) -> tuple[AnyArray, AnyArray]:
    """``(runs (R', 3), owners (R',))`` of runs ``(R, 3)`` sorted by owner ``(R,)``, row and start; touching ones
    joined.
    """
    merged = np.empty_like(runs)
    merged_owners = np.empty_like(owners)
    last = -1
    for index in range(len(runs)):
        row, start, stop = runs[index]
        if last >= 0 and merged_owners[last] == owners[index] and merged[last, 0] == row and start <= merged[last, 2]:
            merged[last, 2] = max(merged[last, 2], stop)
        else:
            last += 1
            merged[last, 0], merged[last, 1], merged[last, 2] = row, start, stop
            merged_owners[last] = owners[index]
    return merged[: last + 1], merged_owners[: last + 1]


def split_flat_runs(
    starts: AnyArray, lengths: AnyArray, owners: AnyArray, shape: tuple[int, int]
) -> tuple[IntArray, AnyArray]:
    """Splits runs of the flattened, row-major image at the ends of rows.

    Args:
        starts: ``(R,)`` first pixel of each run, 0-based.
        lengths: ``(R,)`` number of pixels of each run.
        owners: ``(R,)`` the instance of each run.
        shape: ``(H, W)``.

    Returns:
        ``(runs (R', 3) int32, owners (R',))``, in the order given.

    Raises:
        DataError: if a run is empty or leaves the image.
    """
    starts, lengths = np.asarray(starts, np.int64), np.asarray(lengths, np.int64)
    height, width = shape
    stops = starts + lengths
    if len(starts) and (starts.min() < 0 or lengths.min() < 1 or stops.max() > height * width):
        raise DataError(f"a run exceeds the image of {height}x{width} or is empty; check the image's size")
    first = starts // width
    pieces = (stops - 1) // width - first + 1
    piece = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    row = np.repeat(first, pieces) + piece
    left = np.maximum(np.repeat(starts, pieces), row * width) - row * width
    right = np.minimum(np.repeat(stops, pieces), (row + 1) * width) - row * width
    return np.stack([row, left, right], axis=1).astype(np.int32), np.repeat(np.asarray(owners), pieces)


def joined_flat_runs(
    instances: Instances,
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """``(starts, lengths, owners)`` of the flattened, row-major image; runs continued in the next row are joined."""
    width = instances.shape[1]
    owners = np.repeat(np.arange(len(instances)), np.diff(instances.offsets))
    rows = instances.runs[:, 0].astype(np.int64) * width
    starts, stops = rows + instances.runs[:, 1], rows + instances.runs[:, 2]
    begins = np.ones(len(starts), bool)
    begins[1:] = (starts[1:] != stops[:-1]) | (owners[1:] != owners[:-1])
    heads = np.flatnonzero(begins)
    tails = np.append(heads[1:], len(starts))[: len(heads)] - 1
    return starts[heads], stops[tails] - starts[heads], owners[heads]


def intersections(first: Instances, second: Instances) -> tuple[IntArray, IntArray, Int64Array]:
    """Counts the shared pixels of every overlapping pair.

    Returns:
        ``(i, j, pixels)``, three arrays of equal length, ordered by ``i``; positions in ``first`` and ``second``.

    Raises:
        DataError: if the image sizes differ.
    """
    if first.shape != second.shape:
        raise DataError(f"instances of different images: {first.shape} and {second.shape}; give masks of the same size")
    owners = np.repeat(np.arange(len(second), dtype=np.int32), np.diff(second.offsets))
    order = np.argsort(second.runs[:, 0], kind="stable")
    row_offsets = np.searchsorted(second.runs[order, 0], np.arange(second.shape[0] + 1))
    return _intersect(first.runs, first.offsets, second.runs[order], owners[order], row_offsets, len(second))


@kernel
def _intersect(
    runs: AnyArray, offsets: AnyArray, others: AnyArray, owners: AnyArray, row_offsets: AnyArray, count: int
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """``(i, j, pixels)`` of all pairs that share a pixel, each ``(P,)``.

    Args:
        runs, offsets: ``(R, 3)`` and ``(N + 1,)`` of the first instances.
        others: ``(S, 3)`` runs of the second instances, ordered by row.
        owners: ``(S,)`` int32, the instance of each run.
        row_offsets: ``(H + 1,)``, start of the runs of each row in ``others``.
        count: number of second instances.
    """
    capacity = max(16, 4 * len(offsets))
    left = np.empty(capacity, np.int32)
    right = np.empty(capacity, np.int32)
    pixels = np.empty(capacity, np.int64)
    shared = np.zeros(count, np.int64)
    touched = np.empty(count, np.int32)
    found = 0
    for i in range(len(offsets) - 1):
        number = 0
        for k in range(offsets[i], offsets[i + 1]):
            row, start, stop = runs[k]
            for m in range(row_offsets[row], row_offsets[row + 1]):
                overlap = min(stop, others[m, 2]) - max(start, others[m, 1])
                if overlap > 0:
                    j = owners[m]
                    if shared[j] == 0:
                        touched[number] = j
                        number += 1
                    shared[j] += overlap
        if found + number > capacity:
            capacity = 2 * (found + number)
            left, right, pixels = grown(left, capacity), grown(right, capacity), grown(pixels, capacity)
        for t in range(number):
            j = touched[t]
            left[found], right[found], pixels[found] = i, j, shared[j]
            shared[j] = 0
            found += 1
    return left[:found], right[:found], pixels[:found]


def masks_to_runs(
    masks: Sequence[AnyArray] | AnyArray,
    shape: tuple[int, int] | None = None,
    origins: AnyArray | Sequence[tuple[int, int]] | None = None,
) -> tuple[tuple[int, int], IntArray, Int64Array]:
    """``(shape, runs (R, 3), offsets (N + 1,))`` of N masks, see :meth:`cytotome.types.Instances.from_masks`.

    Raises:
        DataError: if masks are not two-dimensional or differ in size, or if there is neither a mask nor a shape.
    """
    arrays = [np.asarray(mask) for mask in masks]
    if wrong := [mask.shape for mask in arrays if mask.ndim != 2]:
        raise DataError(
            f"masks must be (N, H, W) or a list of (H, W), got a mask of {wrong[0]}; for a single mask, give [mask]"
        )
    if shape is None:
        if not arrays:
            raise DataError("from_masks: give shape=(H, W) if there is no mask")
        shape = (arrays[0].shape[0], arrays[0].shape[1])
    if origins is None and (wrong := [mask.shape for mask in arrays if mask.shape != tuple(shape)]):
        raise DataError(
            f"masks must have the same size, got {wrong[0]} and {tuple(shape)}; for crops, give their origins"
        )
    pieces = [np.zeros((0, 3), np.int32)]
    for index, mask in enumerate(arrays):
        runs = mask_runs(mask != 0)
        if origins is not None:
            y, x = (int(value) for value in origins[index])
            runs = runs + np.array([y, x, x], np.int32)
            inside = (runs[:, 0] >= 0) & (runs[:, 0] < shape[0]) & (runs[:, 2] > 0) & (runs[:, 1] < shape[1])
            runs = runs[inside]
            runs[:, 1:] = runs[:, 1:].clip(0, shape[1])
        pieces.append(runs)
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces[1:]])]).astype(np.int64)
    return shape, np.concatenate(pieces), offsets


def mask_runs(mask: BoolArray) -> IntArray:
    """``(R, 3)`` int32 runs of one ``(H, W)`` bool mask, in row-major order."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)
    stops = np.nonzero(change == -1)[1]
    return np.stack([rows, starts, stops], axis=1).astype(np.int32)


def mask_crop(instances: Instances, index: int) -> tuple[BoolArray, tuple[int, int]]:
    """The mask of one instance inside its box, ``(h, w)`` bool, and the box's origin ``(y, x)``."""
    runs = instances.runs[instances.offsets[index] : instances.offsets[index + 1]]
    if len(runs) == 0:
        return np.zeros((0, 0), bool), (0, 0)
    y0, y1 = int(runs[0, 0]), int(runs[-1, 0]) + 1
    x0, x1 = int(runs[:, 1].min()), int(runs[:, 2].max())
    mask = np.zeros((y1 - y0, x1 - x0), bool)
    paint_runs(mask.view(np.uint8), runs - np.array([y0, x0, x0], np.int32), np.uint8(1))
    return mask, (y0, x0)


@kernel
def paint_runs(canvas: AnyArray, runs: AnyArray, value: int | np.uint8) -> None:
    """Sets the pixels of ``runs`` ``(R, 3)`` in ``canvas`` ``(H, W)`` to ``value``, in place."""
    for index in range(len(runs)):
        canvas[runs[index, 0], runs[index, 1] : runs[index, 2]] = value
