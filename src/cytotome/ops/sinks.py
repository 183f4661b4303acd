"""Following a flow field, and labelling pixels whose paths end together."""

from __future__ import annotations

import numpy as np

from cytotome.arrays import AnyArray
from cytotome.ops.kernels import kernel

MAX_STEPS = 400
STILL = 0.03
STAY = 12


@kernel(fastmath=True)
def follow_flows(flow: AnyArray, mask: AnyArray, max_steps: int = MAX_STEPS) -> AnyArray:
    """Finds the end of the path of each pixel along the flow.

    Steps are at most one pixel long, along the mean of the flow and of the previous step, so that a path does not
    oscillate across a thin branch. A path that reaches a pixel whose end is known takes over that end, so the total
    cost is little more than one step per pixel.

    Args:
        flow: ``(2, H, W)`` float32, y and x in pixels per step; longer vectors count as unit vectors.
        mask: ``(H, W)`` bool; only these pixels move, and a path that would leave the mask slides along its border.
        max_steps: maximum number of steps of a path.

    Returns:
        ``(H, W)`` int32, flat index of the end pixel, -1 outside the mask.
    """
    height, width = mask.shape
    ends = np.full((height, width), -1, np.int32)
    visit = np.full((height, width), -1, np.int32)
    path = np.empty(max_steps + 2, np.int32)
    for y in range(height):
        for x in range(width):
            if mask[y, x] and ends[y, x] < 0:
                length, end = _walk(flow, mask, ends, visit, path, y, x, max_steps)
                for k in range(length):
                    ends[path[k] // width, path[k] % width] = end
    return ends


@kernel(fastmath=True)
def _walk(
    flow: AnyArray, mask: AnyArray, ends: AnyArray, visit: AnyArray, path: AnyArray, py: int, px: int, max_steps: int
) -> tuple[int, int]:
    """Follows one path from pixel py, px; returns its number of pixels and the flat index of its end.

    Args:
        flow: ``(2, H, W)`` float32, y and x.
        mask: ``(H, W)`` bool.
        ends: ``(H, W)`` int32, flat index of the end of each pixel, -1 if not known.
        visit: ``(H, W)`` int32, start of the last path through each pixel; changed in place.
        path: ``(max_steps + 2,)`` int32, filled with the flat indices of the path's pixels.
        py, px: its start.
        max_steps: maximum number of steps.
    """
    height, width = mask.shape
    start = py * width + px
    y, x = float(py), float(px)
    my, mx = flow[0, py, px], flow[1, py, px]
    path[0] = start
    visit[py, px] = start
    length, stay = 1, 0
    for _ in range(max_steps):
        vy, vx = _velocity(flow, mask, y, x)
        my, mx = 0.5 * (vy + my), 0.5 * (vx + mx)
        norm = np.sqrt(my * my + mx * mx)
        if norm < STILL:
            break
        if norm > 1.0:
            my, mx = my / norm, mx / norm
        y = min(max(y + my, 0.0), height - 1.0)
        x = min(max(x + mx, 0.0), width - 1.0)
        qy, qx = int(y + 0.5), int(x + 0.5)
        if qy == py and qx == px:
            stay += 1
            if stay > STAY:
                break
            continue
        if not mask[qy, qx] or visit[qy, qx] == start:
            if mask[qy, qx]:
                qy, qx = _slide(flow, mask, visit, start, qy, qx)
            else:
                qy, qx = _slide(flow, mask, visit, start, py, px)
            if qy < 0:
                break
            y, x = float(qy), float(qx)
            my, mx = flow[0, qy, qx], flow[1, qy, qx]
        stay = 0
        py, px = qy, qx
        if ends[py, px] >= 0:
            return length, ends[py, px]
        visit[py, px] = start
        path[length] = py * width + px
        length += 1
    return length, py * width + px


@kernel(fastmath=True)
def _velocity(flow: AnyArray, mask: AnyArray, y: float, x: float) -> tuple[float, float]:
    """The flow ``(2, H, W)`` at a point, as ``(vy, vx)``, interpolated linearly between pixels of the mask."""
    iy, ix = int(y), int(x)
    jy, jx = min(iy + 1, mask.shape[0] - 1), min(ix + 1, mask.shape[1] - 1)
    fy, fx = y - iy, x - ix
    vy, vx = 0.0, 0.0
    for v, u, weight in (
        (iy, ix, (1 - fy) * (1 - fx)),
        (iy, jx, (1 - fy) * fx),
        (jy, ix, fy * (1 - fx)),
        (jy, jx, fy * fx),
    ):
        if mask[v, u]:
            vy += weight * flow[0, v, u]
            vx += weight * flow[1, v, u]
    return vy, vx


@kernel(fastmath=True)
def _slide(flow: AnyArray, mask: AnyArray, visit: AnyArray, start: int, y: int, x: int) -> tuple[int, int]:
    """The pixel ``(y, x)`` next to y, x that is closest to the direction of its flow, in the mask and not visited; -1,
    -1 for none.

    Args:
        flow, mask, visit: ``(2, H, W)``, ``(H, W)`` and ``(H, W)`` as in :func:`_walk`.
        start: of the path.
        y, x: the pixel.
    """
    best, by, bx = 0.1, -1, -1
    for v in range(max(0, y - 1), min(mask.shape[0], y + 2)):
        for u in range(max(0, x - 1), min(mask.shape[1], x + 2)):
            if mask[v, u] and visit[v, u] != start:
                along = (v - y) * flow[0, y, x] + (u - x) * flow[1, y, x]
                if v != y and u != x:
                    along *= 0.70710678
                if along > best:
                    best, by, bx = along, v, u
    return by, bx


@kernel
def label_sinks(ends: AnyArray, radius: int, least: int) -> tuple[AnyArray, int]:
    """Labels the pixels whose paths end together.

    Ends are processed by decreasing number of pixels, counted together with their neighbours. An end without a sink
    starts one with all ends within ``radius`` pixels (Chebyshev distance); an end that belongs to a sink adds its
    neighbours to it.

    Args:
        ends: ``(H, W)`` int32, as returned by :func:`follow_flows`.
        radius: reach of a sink in pixels.
        least: sinks of fewer pixels become background.

    Returns:
        ``(labels (H, W) int32, count)``.
    """
    height, width = ends.shape
    counts = np.zeros((height, width), np.int32)
    for end in ends.ravel():
        if end >= 0:
            counts[end // width, end % width] += 1
    places = np.flatnonzero(counts)
    fullness = np.empty(len(places), np.float64)
    for k in range(len(places)):
        y, x = places[k] // width, places[k] % width
        near = counts[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        fullness[k] = near.sum() + 1e-3 * counts[y, x]
    sinks = np.zeros((height, width), np.int32)
    totals = np.zeros(len(places) + 1, np.int64)
    number = 0
    for k in np.argsort(-fullness):
        y, x = places[k] // width, places[k] % width
        if sinks[y, x] == 0:
            number += 1
            totals[number] += _claim(counts, sinks, number, y, x, radius)
        else:
            totals[sinks[y, x]] += _claim(counts, sinks, sinks[y, x], y, x, 1)
    return _large_sinks(ends, sinks, totals[: number + 1], least)


@kernel
def _claim(counts: AnyArray, sinks: AnyArray, sink: int, y: int, x: int, radius: int) -> int:
    """Adds the free ends near y, x to a sink; returns the number of pixels that end there.

    Args:
        counts: ``(H, W)`` int32, number of pixels that end at each pixel.
        sinks: ``(H, W)`` int32, sink of each end, 0 for none; changed in place.
        sink, y, x, radius: the sink, and the square whose ends it gets.
    """
    claimed = 0
    for v in range(max(0, y - radius), min(counts.shape[0], y + radius + 1)):
        for u in range(max(0, x - radius), min(counts.shape[1], x + radius + 1)):
            if counts[v, u] > 0 and sinks[v, u] == 0:
                sinks[v, u] = sink
                claimed += counts[v, u]
    return claimed


@kernel
def _large_sinks(ends: AnyArray, sinks: AnyArray, totals: AnyArray, least: int) -> tuple[AnyArray, int]:
    """``(labels (H, W) int32, count)`` of the sinks of at least ``least`` pixels, numbered without gaps.

    Args:
        ends: ``(H, W)`` int32, flat index of the end of each pixel, -1 for none.
        sinks: ``(H, W)`` int32, sink of each end.
        totals: ``(S + 1,)`` int64, number of pixels of each sink.
        least: smaller sinks become background.
    """
    names = np.zeros(len(totals), np.int32)
    count = 0
    for sink in range(1, len(totals)):
        if totals[sink] >= least:
            count += 1
            names[sink] = count
    height, width = ends.shape
    labels = np.zeros((height, width), np.int32)
    for y in range(height):
        for x in range(width):
            end = ends[y, x]
            if end >= 0:
                labels[y, x] = names[sinks[end // width, end % width]]
    return labels, count
