"""Shape and grey levels of every cell, in one compiled pass over its runs."""

from __future__ import annotations

import numpy as np

from cytotome.data.normalise import to_channels
from cytotome.errors import DataError
from cytotome.measurement.hull import convex_hull, hull_area, hull_diameter
from cytotome.ops.kernels import kernel
from cytotome.types import AnyArray, FloatArray, Image, Instances

SHAPES = (
    "centroid_y",
    "centroid_x",
    "area",
    "perimeter",
    "major_axis",
    "minor_axis",
    "largest_diameter",
    "eccentricity",
    "orientation",
    "solidity",
    "circularity",
)
INTENSITIES = ("intensity_mean", "intensity_deviation", "intensity_lowest", "intensity_highest")

# Weights of perimeter pixels by their neighbourhood (Benkrid and Crookes, "Design and FPGA implementation of a
# perimeter estimator", 2000), as in skimage.measure.perimeter.
_PERIMETER_WEIGHTS = np.zeros(64)
_PERIMETER_WEIGHTS[[5, 7, 15, 17, 25, 27]] = 1.0
_PERIMETER_WEIGHTS[[21, 33]] = np.sqrt(2)
_PERIMETER_WEIGHTS[[13, 23]] = (1 + np.sqrt(2)) / 2


def measure_cells(instances: Instances, image: Image | None = None) -> dict[str, AnyArray]:
    """Returns one value per cell for each column, ``(N,)``; lengths and areas in pixels.

    ``area``, ``centroid_*``, ``perimeter``, ``*_axis``, ``eccentricity``, ``orientation`` (radians, of the major axis
    against the rows' axis) and ``solidity`` are as in :func:`skimage.measure.regionprops`, for complete masks: a shared
    pixel counts for each of its cells. ``largest_diameter`` is the longest distance between two points of the convex
    hull of the pixels' edge midpoints; ``circularity`` is ``4 pi area / perimeter ** 2``, at most 1.

    Args:
        instances: N cells, which may overlap.
        image: adds ``intensity_*`` of its grey levels: the luminance of RGB, the mean of five or more channels; an
            alpha channel is dropped.

    Raises:
        DataError: if the size of the image differs.
    """
    shapes = _measure_shapes(instances.runs, instances.offsets, instances.boxes, _PERIMETER_WEIGHTS)
    columns: dict[str, AnyArray] = dict(zip(SHAPES, shapes.T, strict=True))
    columns["area"] = instances.areas
    if image is not None:
        if image.shape != instances.shape:
            raise DataError(
                f"{image.source}: the image has shape {image.shape}, the cells have shape {instances.shape}; "
                "give the cells of this image"
            )
        levels = _measure_levels(instances.runs, instances.offsets, grey_levels(image))
        columns |= dict(zip(INTENSITIES, levels.T, strict=True))
    return columns


def grey_levels(image: Image) -> AnyArray:
    """``(H, W)`` in the image's dtype; for colours the luminance, for 5 or more channels the mean, as float32."""
    pixels = image.pixels
    if pixels.ndim == 2 or pixels.shape[2] <= 4:
        return np.ascontiguousarray(to_channels(pixels, 1, image.source)[:, :, 0])
    mean: FloatArray = pixels.mean(axis=2, dtype=np.float32)
    return mean


@kernel
def _measure_shapes(runs: AnyArray, offsets: AnyArray, boxes: AnyArray, weights: AnyArray) -> AnyArray:
    """``(N, 11)`` float64, columns as in ``SHAPES``; zeros for an empty mask."""
    result = np.zeros((len(offsets) - 1, 11))
    for i in range(len(offsets) - 1):
        own = runs[offsets[i] : offsets[i + 1]]
        if len(own) == 0:
            continue
        row = result[i]
        area, y, x, yy, yx, xx = _moments(own, boxes[i])
        row[0], row[1], row[2] = boxes[i, 0] + y, boxes[i, 1] + x, area
        row[3] = _perimeter(own, boxes[i], weights)
        mean, half = (yy + xx) / 2, np.sqrt(((yy - xx) / 2) ** 2 + yx**2)
        larger, smaller = mean + half, max(mean - half, 0.0)
        row[4], row[5] = 4 * np.sqrt(larger), 4 * np.sqrt(smaller)
        hull = convex_hull(own)
        row[6] = hull_diameter(hull)
        row[7] = np.sqrt(1 - smaller / larger) if larger > 0 else 0.0
        row[8] = 0.5 * np.arctan2(2 * yx, yy - xx)
        row[9] = area / hull_area(hull, boxes[i, 0], boxes[i, 2])
        row[10] = min(1.0, 4 * np.pi * area / row[3] ** 2) if row[3] > 0 else 1.0
    return result


@kernel
def _moments(runs: AnyArray, box: AnyArray) -> tuple[float, float, float, float, float, float]:
    """Area, centroid (relative to the box) and central second moments over the area, from sums over runs."""
    area = sum_y = sum_x = sum_yy = sum_yx = sum_xx = 0.0
    for k in range(len(runs)):
        y = float(runs[k, 0] - box[0])
        first, last = float(runs[k, 1] - box[1]), float(runs[k, 2] - box[1] - 1)
        count = last - first + 1
        along = (first + last) * count / 2
        area += count
        sum_y += y * count
        sum_x += along
        sum_yy += y * y * count
        sum_yx += y * along
        sum_xx += (last * (last + 1) * (2 * last + 1) - (first - 1) * first * (2 * first - 1)) / 6
    y, x = sum_y / area, sum_x / area
    return area, y, x, sum_yy / area - y * y, sum_yx / area - y * x, sum_xx / area - x * x


@kernel
def _perimeter(runs: AnyArray, box: AnyArray, weights: AnyArray) -> float:
    """The length of the outlines of one mask in pixels, as skimage.measure.perimeter with 4 neighbours.

    Args:
        runs: ``(R, 3)`` of the mask.
        box: ``(4,)`` of ``y0, x0, y1, x1``.
        weights: ``(64,)`` by the neighbourhood of an edge pixel.
    """
    height, width = box[2] - box[0], box[3] - box[1]
    mask = np.zeros((height + 2, width + 2), np.uint8)
    edge = np.zeros((height + 2, width + 2), np.uint8)
    for k in range(len(runs)):
        mask[runs[k, 0] - box[0] + 1, runs[k, 1] - box[1] + 1 : runs[k, 2] - box[1] + 1] = 1
    for k in range(len(runs)):
        y = runs[k, 0] - box[0] + 1
        for x in range(runs[k, 1] - box[1] + 1, runs[k, 2] - box[1] + 1):
            inside = mask[y - 1, x] & mask[y + 1, x] & mask[y, x - 1] & mask[y, x + 1]
            edge[y, x] = 1 - inside
    total = 0.0
    for k in range(len(runs)):
        y = runs[k, 0] - box[0] + 1
        for x in range(runs[k, 1] - box[1] + 1, runs[k, 2] - box[1] + 1):
            if edge[y, x]:
                near = edge[y - 1, x] + edge[y + 1, x] + edge[y, x - 1] + edge[y, x + 1]
                far = edge[y - 1, x - 1] + edge[y - 1, x + 1] + edge[y + 1, x - 1] + edge[y + 1, x + 1]
                total += weights[1 + 2 * near + 10 * far]
    return total


@kernel
def _measure_levels(runs: AnyArray, offsets: AnyArray, grey: AnyArray) -> AnyArray:
    """``(N, 4)`` float64: mean, standard deviation, minimum and maximum grey level of each mask."""
    result = np.zeros((len(offsets) - 1, 4))
    for i in range(len(offsets) - 1):
        if offsets[i + 1] == offsets[i]:
            continue
        count = 0
        mean = spread = 0.0
        lowest, highest = np.inf, -np.inf
        for k in range(offsets[i], offsets[i + 1]):
            for x in range(runs[k, 1], runs[k, 2]):
                value = float(grey[runs[k, 0], x])
                count += 1
                step = value - mean
                mean += step / count
                spread += step * (value - mean)
                lowest, highest = min(lowest, value), max(highest, value)
        result[i, 0], result[i, 1] = mean, np.sqrt(spread / count)
        result[i, 2], result[i, 3] = lowest, highest
    return result
