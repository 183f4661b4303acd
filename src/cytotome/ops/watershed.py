"""Watersheds: basins of a relief, by flooding (Vincent and Soille 1991, doi:10.1109/34.87344)."""

from __future__ import annotations

import numpy as np

from cytotome.arrays import AnyArray, BoolArray, FloatArray, IntArray
from cytotome.ops.kernels import kernel

STEPS = 32
"""Number of levels to which one unit of the relief is quantised."""


def watershed(relief: FloatArray, mask: BoolArray, dynamics: float) -> tuple[IntArray, int]:
    """Splits the mask into one basin per marker, from the highest pixels down.

    The markers are the maxima whose dynamics (Grimaud 1992, Proc. SPIE 1769) reach ``dynamics``: the height of a
    maximum above the pass that leads to a higher one. Lower maxima join the basin beyond the pass. On a plateau, basins
    grow from all sides at once.

    Args:
        relief: ``(H, W)`` float32, 0 or more.
        mask: ``(H, W)`` bool.
        dynamics: minimum dynamics in units of the relief, above 0.

    Returns:
        ``(H, W)`` int32 labels, 1 to the count without gaps, 0 outside the mask; and the count.
    """
    heights = np.where(mask, np.clip(relief, 0, 1023) * STEPS, -1).astype(np.int32)
    labels, count = _flood(heights, max(1, round(dynamics * STEPS)))
    return labels, int(count)


@kernel
def _flood(heights: AnyArray, least: int) -> tuple[AnyArray, int]:
    """Floods level by level; within a level, basins grow from all sides at once, then unreached pixels start new ones.

    Args:
        heights: ``(H, W)`` int32, negative outside the mask.
        least: minimum depth of a basin; shallower ones join a higher one that they meet.

    Returns:
        ``(labels (H, W) int32, count)``.
    """
    height, width = heights.shape
    flat = heights.ravel()
    order = _descending(heights)
    parent = np.full(height * width, -1, np.int32)
    queued = np.zeros(height * width, np.bool_)
    queue = np.empty(len(order), np.int32)
    begin = 0
    while begin < len(order):
        end = begin
        while end < len(order) and flat[order[end]] == flat[order[begin]]:
            end += 1
        tail = 0
        for k in order[begin:end]:
            if _labelled_neighbour(flat, parent, k, height, width) >= 0:
                queue[tail] = k
                queued[k] = True
                tail += 1
        _grow_level(flat, parent, queued, queue, 0, tail, height, width, least)
        for k in order[begin:end]:
            if parent[k] < 0:
                queue[0] = k
                queued[k] = True
                _grow_level(flat, parent, queued, queue, 0, 1, height, width, least)
        begin = end
    return _numbered(parent, order, height, width)


@kernel
def _grow_level(
    flat: AnyArray,
    parent: AnyArray,
    queued: AnyArray,
    queue: AnyArray,
    head: int,
    tail: int,
    height: int,
    width: int,
    least: int,
) -> None:
    """Assigns the pixels of one height in queue order; a pixel without a labelled neighbour starts a new basin.

    Args:
        flat: ``(H * W,)`` int32 heights.
        parent: ``(H * W,)`` int32 forest of basins, -1 for a pixel without one; changed in place.
        queued: ``(H * W,)`` bool, changed in place.
        queue: ``(pixels,)`` int32; ``queue[head:tail]`` are the pixels to begin with.
        head, tail: of the queue.
        height, width: of the image.
        least: as in :func:`_flood`.
    """
    while head < tail:
        k = queue[head]
        head += 1
        y, x = k // width, k % width
        root = k
        near = _labelled_neighbour(flat, parent, k, height, width)
        if near >= 0:
            root = _root(parent, near)
        parent[k] = root
        for v in range(max(0, y - 1), min(height, y + 2)):
            for u in range(max(0, x - 1), min(width, x + 2)):
                other = v * width + u
                if parent[other] >= 0:
                    root = _joined(flat, parent, root, _root(parent, other), k, least)
                elif not queued[other] and flat[other] == flat[k]:
                    queued[other] = True
                    queue[tail] = other
                    tail += 1


@kernel
def _joined(flat: AnyArray, parent: AnyArray, root: int, other: int, k: int, least: int) -> int:
    """The basin of pixel k after it met another: the lower one joins the higher one if it is shallow.

    A basin has the index of its first pixel, which is the highest; ``flat`` and ``parent`` ``(H * W,)`` as in
    :func:`_grow_level`.
    """
    if root == other:
        return root
    higher, lower = (root, other) if flat[root] >= flat[other] else (other, root)
    if flat[lower] - flat[k] < least:
        parent[lower] = higher
        return higher
    return root


@kernel
def _labelled_neighbour(flat: AnyArray, parent: AnyArray, k: int, height: int, width: int) -> int:
    """The highest neighbour of pixel k that has a basin, preferring 4-neighbours among equals; -1 for none.

    ``flat`` and ``parent`` ``(H * W,)`` are as in :func:`_grow_level`.
    """
    y, x = k // width, k % width
    best = np.int64(-1)
    for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)):
        v, u = y + dy, x + dx
        if 0 <= v < height and 0 <= u < width:
            other = v * width + u
            if parent[other] >= 0 and (best < 0 or flat[other] > flat[best]):
                best = np.int64(other)
    return int(best)


@kernel
def _numbered(parent: AnyArray, order: AnyArray, height: int, width: int) -> tuple[AnyArray, int]:
    """``(labels (H, W) int32, count)`` of a forest ``(H * W,)``, numbered by first occurrence in ``order``
    ``(pixels,)``.
    """
    labels = np.zeros(height * width, np.int32)
    count = 0
    for k in order:
        root = _root(parent, k)
        if labels[root] == 0:
            count += 1
            labels[root] = count
        labels[k] = labels[root]
    return labels.reshape(height, width), count


@kernel
def _root(parent: AnyArray, k: int) -> int:
    """Returns the root of ``k`` in a forest of parents ``(H * W,)``, with path compression."""
    root = k
    while parent[root] != root:
        root = parent[root]
    while parent[k] != root:
        parent[k], k = root, parent[k]
    return root


@kernel
def _descending(heights: AnyArray) -> AnyArray:
    """``(pixels,)`` int32 flat indices of the pixels of ``(H, W)`` that are not negative, highest first, with a
    counting sort.
    """
    flat = heights.ravel()
    top = 0
    for value in flat:
        top = max(top, value)
    place = np.zeros(top + 2, np.int64)
    for value in flat:
        if value >= 0:
            place[top - value + 1] += 1
    for value in range(1, top + 2):
        place[value] += place[value - 1]
    order = np.empty(place[top + 1], np.int32)
    for k in range(len(flat)):
        value = flat[k]
        if value >= 0:
            order[place[top - value]] = k
            place[top - value] += 1
    return order
