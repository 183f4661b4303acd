"""Flow fields of instances, and instances of flow fields.

The field of an instance points, at each of its pixels, uphill on a potential that has one maximum: the instance's
centre. Following it from any pixel therefore ends in one place, also on branched cells. The potential is the steady
state of a diffusion that starts at the centre, is absorbed outside the mask and decays on its way (a screened Poisson
equation); it falls off along the branches and towards the border, as the heat of Stringer et al. 2021 (Cellpose,
doi:10.1038/s41592-020-01018-x) does, but needs few sweeps whatever the length of the cell.
"""

from __future__ import annotations

import edt
import numpy as np
import numpy.typing as npt
from numba import njit

from cytotome.types import FloatArray, IntArray

SWEEPS = 8
MAX_STEPS = 400
STILL = 0.03
ABSORBED = 0.1


def flow_field(labels: IntArray, *, sweeps: int = SWEEPS) -> FloatArray:
    """Unit vectors ``(2, H, W)`` float32, in the order y, x, that lead to the centre of each label; 0 on background.

    Args:
        labels: ``(H, W)`` int32, values 0 to N, best without gaps.
        sweeps: pairs of forward and backward sweeps of the solver.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    count = int(labels.max(initial=0))
    field = np.zeros((2, *labels.shape), np.float32)
    if count == 0:
        return field
    depth = edt.edt(labels, black_border=False, parallel=1)
    boxes = label_boxes(labels, count)
    _fill_flow_field(labels, depth, boxes, sweeps, field)
    return field


@njit(cache=True, nogil=True)
def label_boxes(labels, count):  # type: ignore[no-untyped-def]
    """``(count + 1, 4)`` int32 half-open boxes ``y0, x0, y1, x1`` of labels 1 to ``count``; empty ones have y1 = 0."""
    boxes = np.zeros((count + 1, 4), np.int32)
    boxes[:, 0] = labels.shape[0]
    boxes[:, 1] = labels.shape[1]
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label > 0:
                box = boxes[label]
                box[0] = min(box[0], y)
                box[1] = min(box[1], x)
                box[2] = max(box[2], y + 1)
                box[3] = max(box[3], x + 1)
    return boxes


@njit(cache=True, nogil=True, fastmath=True)
def _centre(labels, depth, label, y0, x0, y1, x1):  # type: ignore[no-untyped-def]
    """The thick pixel nearest to the centroid weighted by squared depth; and the greatest depth."""
    weight, cy, cx, deepest = 0.0, 0.0, 0.0, 0.0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if labels[y, x] == label:
                w = depth[y, x] * depth[y, x]
                weight += w
                cy += w * y
                cx += w * x
                deepest = max(deepest, depth[y, x])
    cy, cx = cy / weight, cx / weight
    best, by, bx = 1e30, y0, x0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if labels[y, x] == label and depth[y, x] >= 0.5 * deepest:
                distance = (y - cy) ** 2 + (x - cx) ** 2
                if distance < best:
                    best, by, bx = distance, y, x
    return by, bx, deepest


@njit(cache=True, nogil=True, fastmath=True)
def _fill_flow_field(labels, depth, boxes, sweeps, field):  # type: ignore[no-untyped-def]
    for label in range(1, len(boxes)):
        y0, x0, y1, x1 = boxes[label]
        if y1 == 0:
            continue
        cy, cx, deepest = _centre(labels, depth, label, y0, x0, y1, x1)
        height, width = y1 - y0 + 2, x1 - x0 + 2
        inside = np.zeros((height, width), np.bool_)
        for y in range(y0, y1):
            for x in range(x0, x1):
                inside[y - y0 + 1, x - x0 + 1] = labels[y, x] == label
        sy, sx = cy - y0 + 1, cx - x0 + 1
        reach = max(1.5, 0.5 * deepest)
        potential = _solve(inside, sy, sx, reach, sweeps)
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if inside[y, x]:
                    dy, dx = 0.0, 0.0
                    for v in range(-1, 2):
                        for u in range(-1, 2):
                            rise = -ABSORBED * potential[y, x]
                            if inside[y + v, x + u]:
                                rise = potential[y + v, x + u] - potential[y, x]
                            if v != 0 and u != 0:
                                rise *= 0.5
                            dy += v * rise
                            dx += u * rise
                    norm = np.sqrt(dy * dy + dx * dx)
                    if norm > 0.0:
                        field[0, y + y0 - 1, x + x0 - 1] = dy / norm
                        field[1, y + y0 - 1, x + x0 - 1] = dx / norm


@njit(cache=True, nogil=True, fastmath=True)
def _neighbours(values, y, x):  # type: ignore[no-untyped-def]
    """Sum of the eight neighbours, those across a corner counted half."""
    straight = values[y - 1, x] + values[y + 1, x] + values[y, x - 1] + values[y, x + 1]
    across = values[y - 1, x - 1] + values[y - 1, x + 1] + values[y + 1, x - 1] + values[y + 1, x + 1]
    return straight + 0.5 * across


@njit(cache=True, nogil=True, fastmath=True)
def _solve(inside, sy, sx, reach, sweeps):  # type: ignore[no-untyped-def]
    """Gauss-Seidel on ``(4 + 1 / reach^2) u = sum of the four neighbours``, u = 1 at the source, 0 outside.

    The start is exp(-geodesic distance / reach) by four sweeps of a chamfer distance, so that little remains to do.
    """
    height, width = inside.shape
    far = 1e9
    distance = np.full((height, width), far)
    distance[sy, sx] = 0.0
    diagonal = 1.4142135
    changed, rounds = True, 0
    while changed and rounds < 32:
        changed = False
        rounds += 1
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if inside[y, x]:
                    best = min(distance[y - 1, x], distance[y, x - 1]) + 1.0
                    best = min(best, min(distance[y - 1, x - 1], distance[y - 1, x + 1]) + diagonal)
                    if best < distance[y, x] - 1e-6:
                        distance[y, x] = best
                        changed = True
        for y in range(height - 2, 0, -1):
            for x in range(width - 2, 0, -1):
                if inside[y, x]:
                    best = min(distance[y + 1, x], distance[y, x + 1]) + 1.0
                    best = min(best, min(distance[y + 1, x - 1], distance[y + 1, x + 1]) + diagonal)
                    if best < distance[y, x] - 1e-6:
                        distance[y, x] = best
                        changed = True
    potential = np.zeros((height, width))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if inside[y, x] and distance[y, x] < far:
                potential[y, x] = np.exp(-distance[y, x] / reach)
    weight = np.zeros((height, width))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if inside[y, x]:
                near = 0.0
                for v in range(-1, 2):
                    for u in range(-1, 2):
                        if v != 0 or u != 0:
                            share = 1.0 if v == 0 or u == 0 else 0.5
                            near += share if inside[y + v, x + u] else ABSORBED * share
                weight[y, x] = 1.0 / (near + 1.0 / (reach * reach))
    for _ in range(sweeps):
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if inside[y, x]:
                    potential[y, x] = _neighbours(potential, y, x) * weight[y, x]
        potential[sy, sx] = 1.0
        for y in range(height - 2, 0, -1):
            for x in range(width - 2, 0, -1):
                if inside[y, x]:
                    potential[y, x] = _neighbours(potential, y, x) * weight[y, x]
        potential[sy, sx] = 1.0
    return potential


@njit(cache=True, nogil=True, fastmath=True)
def _slide(flow, mask, visit, start, y, x):  # type: ignore[no-untyped-def]
    """The new neighbour in the mask that lies best along the flow of pixel y, x; -1, -1 where none lies ahead."""
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


@njit(cache=True, nogil=True, fastmath=True)
def follow_flows(flow, mask, max_steps=MAX_STEPS):  # type: ignore[no-untyped-def]
    """Where each pixel ends when it follows the flow.

    A path that reaches a pixel whose end is known takes over that end, so that the whole costs little more than one
    step a pixel.

    Args:
        flow: ``(2, H, W)`` float32, y and x in pixels a step; longer vectors count as unit vectors.
        mask: ``(H, W)`` bool; only these pixels move, and a path that leaves the mask ends where it left.

    Returns:
        ``(H, W)`` int32, flat index of the end pixel, -1 outside the mask.
    """
    height, width = mask.shape
    ends = np.full((height, width), -1, np.int32)
    visit = np.full((height, width), -1, np.int32)
    stack = np.empty(max_steps + 2, np.int32)
    for y0 in range(height):
        for x0 in range(width):
            if not mask[y0, x0] or ends[y0, x0] >= 0:
                continue
            start = y0 * width + x0
            y, x = float(y0), float(x0)
            py, px = y0, x0
            my, mx = flow[0, y0, x0], flow[1, y0, x0]
            stay = 0
            stack[0] = start
            visit[y0, x0] = start
            depth = 1
            end = -1
            for _ in range(max_steps):
                iy, ix = int(y), int(x)
                jy, jx = min(iy + 1, height - 1), min(ix + 1, width - 1)
                fy, fx = y - iy, x - ix
                a, b, c, d = (1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx
                if not mask[iy, ix]:
                    a = 0.0
                if not mask[iy, jx]:
                    b = 0.0
                if not mask[jy, ix]:
                    c = 0.0
                if not mask[jy, jx]:
                    d = 0.0
                vy = a * flow[0, iy, ix] + b * flow[0, iy, jx] + c * flow[0, jy, ix] + d * flow[0, jy, jx]
                vx = a * flow[1, iy, ix] + b * flow[1, iy, jx] + c * flow[1, jy, ix] + d * flow[1, jy, jx]
                vy, vx = 0.5 * (vy + my), 0.5 * (vx + mx)
                norm = np.sqrt(vy * vy + vx * vx)
                if norm < STILL:
                    break
                if norm > 1.0:
                    vy, vx = vy / norm, vx / norm
                my, mx = vy, vx
                y = min(max(y + vy, 0.0), height - 1.0)
                x = min(max(x + vx, 0.0), width - 1.0)
                qy, qx = int(y + 0.5), int(x + 0.5)
                if qy == py and qx == px:
                    stay += 1
                    if stay > 12:
                        break
                    continue
                if not mask[qy, qx]:
                    qy, qx = _slide(flow, mask, visit, start, py, px)
                elif visit[qy, qx] == start:
                    qy, qx = _slide(flow, mask, visit, start, qy, qx)
                if qy < 0:
                    break
                if qy != int(y + 0.5) or qx != int(x + 0.5):
                    y, x = float(qy), float(qx)
                    my, mx = flow[0, qy, qx], flow[1, qy, qx]
                stay = 0
                py, px = qy, qx
                if ends[py, px] >= 0:
                    end = ends[py, px]
                    break
                visit[py, px] = start
                stack[depth] = py * width + px
                depth += 1
            if end < 0:
                end = py * width + px
            for k in range(depth):
                ends[stack[k] // width, stack[k] % width] = end
            if ends[end // width, end % width] < 0:
                ends[end // width, end % width] = end
    return ends


@njit(cache=True, nogil=True)
def label_sinks(ends, radius, least):  # type: ignore[no-untyped-def]
    """Label map of the pixels that end together.

    Ends within ``radius`` pixels of each other (Chebyshev) are one sink; chains of ends are joined from the fullest
    end outwards: an end belongs to the fullest end it is near to.

    Args:
        ends: ``(H, W)`` int32 as :func:`follow_flows` gives.
        radius: reach of a sink in pixels.
        least: sinks with fewer pixels are background.

    Returns:
        ``(labels (H, W) int32, count)``.
    """
    height, width = ends.shape
    counts = np.zeros(height * width, np.int32)
    for y in range(height):
        for x in range(width):
            if ends[y, x] >= 0:
                counts[ends[y, x]] += 1
    places = np.flatnonzero(counts)
    smooth = np.zeros(len(places), np.float64)
    for k in range(len(places)):
        y, x = places[k] // width, places[k] % width
        for v in range(max(0, y - 1), min(height, y + 2)):
            for u in range(max(0, x - 1), min(width, x + 2)):
                smooth[k] += counts[v * width + u]
        smooth[k] += 1e-3 * counts[places[k]]
    order = np.argsort(-smooth)
    sink = np.full(height * width, -1, np.int32)
    total = np.zeros(len(places) + 1, np.int64)
    number = 0
    for k in order:
        place = places[k]
        y, x = place // width, place % width
        if sink[place] < 0:
            number += 1
            for v in range(max(0, y - radius), min(height, y + radius + 1)):
                for u in range(max(0, x - radius), min(width, x + radius + 1)):
                    other = v * width + u
                    if counts[other] > 0 and sink[other] < 0:
                        sink[other] = number
                        total[number] += counts[other]
        else:
            own = sink[place]
            for v in range(max(0, y - 1), min(height, y + 2)):
                for u in range(max(0, x - 1), min(width, x + 2)):
                    other = v * width + u
                    if counts[other] > 0 and sink[other] < 0:
                        sink[other] = own
                        total[own] += counts[other]
    renamed = np.zeros(number + 1, np.int32)
    kept = 0
    for s in range(1, number + 1):
        if total[s] >= least:
            kept += 1
            renamed[s] = kept
    labels = np.zeros((height, width), np.int32)
    for y in range(height):
        for x in range(width):
            if ends[y, x] >= 0:
                labels[y, x] = renamed[sink[ends[y, x]]]
    return labels, kept


def flow_errors(
    labels: IntArray, count: int, flow: FloatArray, *, sweeps: int = SWEEPS // 2
) -> npt.NDArray[np.float32]:
    """``(count + 1,)`` float32: mean squared difference between ``flow`` and the field of each label; 0 at 0.

    An instance whose own field is unlike the network's was put together wrongly (the check of Cellpose).
    """
    expected = flow_field(labels, sweeps=sweeps)
    errors: npt.NDArray[np.float32] = _squared_errors(labels, expected, flow, count)
    errors[0] = 0
    return errors


@njit(cache=True, nogil=True)
def _squared_errors(labels, expected, flow, count):  # type: ignore[no-untyped-def]
    sums = np.zeros(count + 1)
    pixels = np.zeros(count + 1)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label > 0:
                dy = expected[0, y, x] - flow[0, y, x]
                dx = expected[1, y, x] - flow[1, y, x]
                sums[label] += dy * dy + dx * dx
                pixels[label] += 1.0
    return (sums / np.maximum(pixels, 1.0)).astype(np.float32)


@njit(cache=True, nogil=True)
def flow_lengths(labels, flow, count):  # type: ignore[no-untyped-def]
    """``(count + 1,)`` float64: mean length of the vectors of each label; 0 at 0 and for labels without pixels."""
    sums = np.zeros(count + 1)
    pixels = np.zeros(count + 1)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label > 0:
                sums[label] += np.sqrt(flow[0, y, x] ** 2 + flow[1, y, x] ** 2)
                pixels[label] += 1.0
    return sums / np.maximum(pixels, 1.0)
