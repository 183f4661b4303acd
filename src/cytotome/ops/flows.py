"""Flow fields of instances, and how well a flow fits instances.

The field of an instance points, at each of its pixels, uphill on a potential that has one maximum: the instance's
centre. Following it from any pixel therefore ends in the same place, even in branched cells. The potential is the
steady state of a diffusion that starts at the centre, is absorbed outside the mask and decays with distance (a screened
Poisson equation). It decreases along branches and towards the border, as the heat of Stringer et al. 2021 (Cellpose,
doi:10.1038/s41592-020-01018-x) does, but needs few sweeps regardless of the length of the cell.
"""

from __future__ import annotations

import edt
import numpy as np
import numpy.typing as npt

from cytotome.arrays import AnyArray, FloatArray, IntArray
from cytotome.ops.kernels import kernel

SWEEPS = 8
ABSORBED = 0.1


def flow_field(labels: IntArray, *, sweeps: int = SWEEPS) -> FloatArray:
    """Unit vectors ``(2, H, W)`` float32, in the order y, x, that lead to the centre of each label; 0 on background.

    Args:
        labels: ``(H, W)`` int32, values 0 to N, preferably without gaps.
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


def flow_maps(labels: IntArray) -> dict[str, FloatArray]:
    """Training targets of a label map: ``flow``, its flow field, and ``cell`` ``(1, H, W)``, 1 inside labels."""
    return {"flow": flow_field(labels), "cell": (labels > 0).astype(np.float32)[None]}


@kernel
def label_boxes(labels: AnyArray, count: int) -> AnyArray:
    """``(count + 1, 4)`` int32 half-open boxes ``y0, x0, y1, x1`` of labels 1 to ``count``; y1 = 0 if there is no such
    label.
    """
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


@kernel(fastmath=True)
def _centre(
    labels: AnyArray, depth: AnyArray, label: int, y0: int, x0: int, y1: int, x1: int
) -> tuple[int, int, float]:
    """The thick pixel nearest to the centroid, which is weighted by squared depth; and the maximum depth.

    Args:
        labels: ``(H, W)`` int32.
        depth: ``(H, W)`` float32 distance to the boundary.
        label: label whose centre is computed.
        y0, x0, y1, x1: its box, half open.

    Returns:
        ``(y, x, depth)``.
    """
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


@kernel(fastmath=True)
def _fill_flow_field(labels: AnyArray, depth: AnyArray, boxes: AnyArray, sweeps: int, field: AnyArray) -> None:
    """Writes the flow field of each label to ``field``.

    Args:
        labels: ``(H, W)`` int32.
        depth: ``(H, W)`` float32 distance to the boundary.
        boxes: ``(count + 1, 4)`` int32 of ``y0, x0, y1, x1``, y1 = 0 if there is no such label.
        sweeps: of the solver.
        field: ``(2, H, W)`` float32, y and x.
    """
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


@kernel(fastmath=True)
def _neighbours(values: AnyArray, y: int, x: int) -> float:
    """Sum of the eight neighbours of a pixel of ``(H, W)`` values, diagonal ones counted half."""
    straight = values[y - 1, x] + values[y + 1, x] + values[y, x - 1] + values[y, x + 1]
    across = values[y - 1, x - 1] + values[y - 1, x + 1] + values[y + 1, x - 1] + values[y + 1, x + 1]
    total: float = straight + 0.5 * across
    return total


@kernel(fastmath=True)
def _solve(inside: AnyArray, sy: int, sx: int, reach: float, sweeps: int) -> AnyArray:
    """Gauss-Seidel on ``(4 + 1 / reach^2) u = sum of the four neighbours``, u = 1 at the source, 0 outside.

    It starts from exp(-geodesic distance / reach), by four sweeps of a chamfer distance, which is close to the
    solution.
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


def flow_statistics(
    labels: IntArray, count: int, flow: FloatArray, *, sweeps: int = SWEEPS // 2
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How well a flow fits labels, and how confident it is there.

    Args:
        labels: ``(H, W)`` int32, values 0 to ``count``.
        count: largest label.
        flow: ``(2, H, W)`` float32, y and x.
        sweeps: of the solver, for the field of the labels; few are enough.

    Returns:
        ``(errors, lengths)``, each ``(count + 1,)`` float64, 0 for the background: the mean squared difference between
        the flow and the field of each label (the check of Cellpose: if they differ, the instance was assembled
        wrongly), and the mean length of the flow.
    """
    return _statistics(labels, flow_field(labels, sweeps=sweeps), flow, count)


@kernel
def _statistics(labels: AnyArray, expected: AnyArray, flow: AnyArray, count: int) -> tuple[AnyArray, AnyArray]:
    """``(errors, lengths)``, each ``(count + 1,)``, see :func:`flow_statistics`; ``expected`` and ``flow`` are ``(2, H,
    W)``.
    """
    errors, lengths, pixels = np.zeros(count + 1), np.zeros(count + 1), np.zeros(count + 1)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label > 0:
                vy, vx = flow[0, y, x], flow[1, y, x]
                errors[label] += (expected[0, y, x] - vy) ** 2 + (expected[1, y, x] - vx) ** 2
                lengths[label] += np.sqrt(vy * vy + vx * vx)
                pixels[label] += 1.0
    pixels = np.maximum(pixels, 1.0)
    return errors / pixels, lengths / pixels
