"""Neurites and beads: compiled painters of optical phase."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cytotome.ops.kernels import kernel
from cytotome.types import AnyArray, FloatArray

Points = npt.NDArray[np.float64]
STEP = 3.0


def paint_neurites(
    phase: FloatArray,
    starts: Points,
    angles: Points,
    lengths: Points,
    widths: Points,
    height: float,
    random: np.random.Generator,
    wander: float = 0.07,
) -> None:
    """Adds neurites that grow from ``starts``, taper, bend and swell in places.

    Args:
        phase: ``(H, W)`` float32, changed in place.
        starts: ``(K, 2)`` of x, y.
        angles: ``(K,)`` initial direction in radians, from x to y.
        lengths: ``(K,)`` in pixels.
        widths: ``(K,)`` half width at the start.
        height: phase at the start, in radians.
        random: random number generator.
        wander: standard deviation of the change of direction per step, in radians.
    """
    if not len(starts):
        return
    steps = max(2, int(lengths.max() / STEP))
    drift = random.normal(0, 0.012, (len(starts), 1))
    headings = angles[:, None] + np.cumsum(random.normal(0, wander, (len(starts), steps)) + drift, axis=1)
    moves = STEP * np.stack([np.cos(headings), np.sin(headings)], axis=2)
    points = np.concatenate([starts[:, None], starts[:, None] + np.cumsum(moves, axis=1)], axis=1)
    swell = 1 + 0.9 * (random.random((len(starts), steps + 1)) < 0.05)
    layer = np.zeros_like(phase)
    tops = height * random.uniform(0.5, 1.3, len(starts))
    _paint(layer, points, np.maximum(lengths / STEP, 1.0), widths, swell, tops)
    phase += layer


@kernel
def _paint(
    layer: AnyArray, points: AnyArray, counts: AnyArray, widths: AnyArray, swell: AnyArray, heights: AnyArray
) -> None:
    """Paints each path as a chain of capsules with a Gaussian profile; each pixel keeps the maximum.

    Args:
        layer: ``(H, W)`` float, changed in place.
        points: ``(K, S, 2)`` x and y of the points of each path.
        counts: ``(K,)`` number of segments to draw of each.
        widths: ``(K,)`` width in pixels at the start.
        swell: ``(K, S)`` factor of the width along the path.
        heights: ``(K,)`` value in the middle at the start.
    """
    rows, columns = layer.shape
    for k in range(len(points)):
        for s in range(min(int(counts[k]), points.shape[1] - 1)):
            rest = 1 - s / counts[k]
            root = 1 + 1.6 * np.exp(-s * 0.6)
            width = max(0.5, widths[k] * (0.45 + 0.55 * rest) * swell[k, s] * root)
            top = heights[k] * (0.3 + 0.7 * rest) * min(1.0, widths[k] + 0.2)
            x0, y0 = points[k, s]
            dx, dy = points[k, s + 1, 0] - x0, points[k, s + 1, 1] - y0
            size = dx * dx + dy * dy
            reach = 2.5 * width + 1
            for y in range(max(0, int(min(y0, y0 + dy) - reach)), min(rows, int(max(y0, y0 + dy) + reach) + 1)):
                for x in range(max(0, int(min(x0, x0 + dx) - reach)), min(columns, int(max(x0, x0 + dx) + reach) + 1)):
                    t = min(1.0, max(0.0, ((x - x0) * dx + (y - y0) * dy) / size))
                    distance = (x - x0 - t * dx) ** 2 + (y - y0 - t * dy) ** 2
                    value = top * np.exp(-distance / (2 * width * width))
                    if value > layer[y, x]:
                        layer[y, x] = value


@kernel
def paint_beads(phase: AnyArray, centres: AnyArray, radii: AnyArray, heights: AnyArray) -> None:
    """Adds spheres of ``radii`` ``(K,)`` at ``centres`` ``(K, 2)`` of x, y, with ``heights`` ``(K,)`` in the middle."""
    rows, columns = phase.shape
    for k in range(len(centres)):
        x0, y0, radius = centres[k, 0], centres[k, 1], radii[k] + 0.5
        for y in range(max(0, int(y0 - radius)), min(rows, int(y0 + radius) + 2)):
            for x in range(max(0, int(x0 - radius)), min(columns, int(x0 + radius) + 2)):
                inside = 1 - ((x - x0) ** 2 + (y - y0) ** 2) / (radius * radius)
                if inside > 0:
                    phase[y, x] = max(phase[y, x], heights[k] * np.sqrt(inside))
