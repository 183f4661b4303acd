"""Polygons: conversion of COCO polygons to instances by COCO's own rule, and outlines of instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cytotome.errors import DataError
from cytotome.io.rle import CocoRle, from_coco_rle
from cytotome.ops.kernels import kernel
from cytotome.ops.runs import mask_crop
from cytotome.types import AnyArray, Instances

FARTHEST = 2**20
"""Largest coordinate accepted, in pixels: COCO's rule walks along every edge, even outside the image."""

Polygon = Sequence[float]
"""Corners ``x0, y0, x1, y1, ...`` in pixels, with pixel edges at integers, as in COCO."""


def from_polygons(polygons: Sequence[Sequence[Polygon]], shape: tuple[int, int], **attributes: Any) -> Instances:
    """Creates instances from polygons, rasterised by the rule of COCO's own ``rleFrPoly``.

    Args:
        polygons: for each instance, the polygons of its parts, which are merged. Pixels outside the image are cut off;
            a part of fewer than three corners is empty.
        shape: ``(H, W)`` of the image.
        **attributes: as in :meth:`cytotome.types.Instances.from_runs`.

    Raises:
        DataError: if the number of coordinates is odd, or one is not a number or beyond :data:`FARTHEST`.
    """
    return from_coco_rle(polygon_rles(polygons, shape), shape, **attributes)


def polygon_rles(polygons: Sequence[Sequence[Polygon]], shape: tuple[int, int]) -> list[CocoRle]:
    """COCO run lengths of polygons, one per instance; see :func:`from_polygons`."""
    from hotcoco import mask as coco_mask

    height, width = shape
    rles: list[CocoRle] = []
    for index, parts in enumerate(polygons):
        usable = [corners for corners in (_checked(part, index) for part in parts) if len(corners) >= 6]
        if not usable:
            rles.append({"size": [height, width], "counts": [height * width]})
            continue
        pieces = [coco_mask.fr_poly(corners.tolist(), height, width) for corners in usable]
        merged = pieces[0] if len(pieces) == 1 else coco_mask.merge(pieces)
        rles.append({"size": [height, width], "counts": merged["counts"]})
    return rles


def _checked(part: Polygon, index: int) -> AnyArray:
    try:
        corners = np.asarray(part, np.float64)
    except (TypeError, ValueError):
        corners = np.zeros((1, 1))
    if corners.ndim != 1 or len(corners) % 2 or not (np.abs(corners) <= FARTHEST).all():
        raise DataError(f"polygon of instance {index}: expected x, y pairs in pixels; the annotation is damaged")
    return corners


def to_polygons(instances: Instances) -> list[list[list[float]]]:
    """Outlines along pixel edges: for each instance, one polygon per 4-connected part.

    Holes are joined to the outline of their part by cuts of zero width, so that :func:`from_polygons` restores exactly
    the same pixels.
    """
    return [_outlines(instances, index) for index in range(len(instances))]


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One cell of a file of outlines.

    Attributes:
        parts: for each part its rings ``(K, 2)`` of x, y in pixels, closed or not; a pixel is inside by the even-odd
            rule.
        name: the number of the cell, or any other text.
        kind: name of its class, empty if unknown.
        score: in [0, 1]; others count as 1.
    """

    parts: Sequence[Sequence[AnyArray]]
    name: str
    kind: str
    score: float


def from_outlines(outlines: Sequence[Outline], shape: tuple[int, int]) -> Instances:
    """Instances of outlines; what leaves the image is cut off.

    Ids are the names if all are different numbers, else 1 to N. Classes are in the order of their first cell.

    Args:
        outlines: one per instance.
        shape: ``(H, W)`` of the image.

    Raises:
        DataError: if a coordinate is not a number, or beyond :data:`FARTHEST`.
    """
    known = tuple(dict.fromkeys(one.kind for one in outlines if one.kind))
    return from_polygons(
        [[even_odd_path(rings).astype(float).ravel().tolist() for rings in one.parts] for one in outlines],
        shape,
        ids=_numbers([one.name for one in outlines]),
        classes=[known.index(one.kind) if one.kind else -1 for one in outlines],
        scores=[one.score if 0 <= one.score <= 1 else 1.0 for one in outlines],
        class_names=known,
    )


def _numbers(names: Sequence[str]) -> list[int] | None:
    """The names as ids if they are different positive integers, else None."""
    if not all(name.isascii() and name.isdecimal() and 0 < int(name) < 2**31 for name in names):
        return None
    numbers = [int(name) for name in names]
    return numbers if len(set(numbers)) == len(numbers) else None


def cell_rings(instances: Instances) -> Iterator[tuple[int, list[list[AnyArray]]]]:
    """Yields the position and the :func:`simple_rings` of each instance that is not empty."""
    for index in np.flatnonzero(instances.areas).tolist():
        yield index, simple_rings(instances, index)


def simple_rings(instances: Instances, index: int) -> list[list[AnyArray]]:
    """Outlines along the pixels' edges of one instance: valid polygons by the rules of OGC (shapely, QuPath, GIS).

    Returns:
        For each 4-connected part its outer ring and the rings of its holes, each ``(K, 2)`` int64 of x, y in pixels,
        not closed. No ring touches itself; a hole may touch its part's ring in single points.
    """
    parts = []
    for rings in _part_rings(instances, index):
        simple = [one for ring in rings for one in _split_at_touching_points(ring)]
        simple.sort(key=_doubled_area, reverse=True)
        parts.append(simple)
    return parts


def even_odd_path(rings: Sequence[AnyArray]) -> AnyArray:
    """One closed path ``(K, 2)`` through all rings, whose inside by the even-odd rule is that of the rings together.

    Args:
        rings: each ``(K, 2)`` of x, y, closed or not.
    """
    return _joined([np.concatenate([ring, ring[:1]]) if (ring[0] != ring[-1]).any() else ring for ring in rings])


def _doubled_area(ring: AnyArray) -> int:
    """Twice the area inside, positive for outer rings and negative for holes."""
    x, y = ring[:, 0], ring[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _split_at_touching_points(ring: AnyArray) -> list[AnyArray]:
    """The rings without a repeated corner that a closed ring consists of, each without its last corner."""
    ring = ring[:-1]
    if len(np.unique(ring[:, 0] << 32 | ring[:, 1])) == len(ring):
        return [ring]
    found: list[AnyArray] = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for x, y in ring.tolist():
        corner = (x, y)
        if corner in place:
            start = place[corner]
            found.append(np.array(path[start:]))
            for gone in path[start + 1 :]:
                del place[gone]
            del path[start + 1 :]
        else:
            place[corner] = len(path)
            path.append(corner)
    return [*found, np.array(path)]


def _outlines(instances: Instances, index: int) -> list[list[float]]:
    return [_joined(rings).ravel().astype(float).tolist() for rings in _part_rings(instances, index)]


def _part_rings(instances: Instances, index: int) -> list[list[AnyArray]]:
    """For each 4-connected part its rings ``(K, 2)`` of x, y, the outer one first; they may touch themselves."""
    import cv2

    mask, (top, left) = mask_crop(instances, index)
    if mask.size == 0:
        return []
    padded = np.pad(mask.view(np.uint8), 1)
    count, parts = cv2.connectedComponents(padded, connectivity=4)
    origin = np.array([left - 1, top - 1])
    found = []
    for part in range(1, count):
        corners, ends = _trace(parts == part)
        found.append(np.split(corners + origin, ends[:-1]))
    return found


def _joined(rings: Sequence[AnyArray]) -> AnyArray:
    """One closed path ``(K, 2)`` of x, y through the outer ring and, by axis-aligned cuts, each hole."""
    outer = rings[0]
    x, y = outer[0]
    path = [outer]
    for hole in rings[1:]:
        hole_x, hole_y = hole[0]
        path.append(np.array([[x, y], [hole_x, y]]))
        path.append(hole)
        path.append(np.array([[hole_x, hole_y], [hole_x, y]]))
    return np.concatenate(path)


@kernel
def _trace(mask: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Corners ``(K, 2)`` of x, y of all rings around a padded mask, inside on the right, and the end of each ring.

    The first ring is the outer one of a 4-connected mask, since it starts at the first pixel in reading order.
    """
    height, width = mask.shape
    visited = np.zeros((height, width), np.bool_)
    corners = np.empty((4 * (mask.sum() + 1), 2), np.int64)
    ends = np.empty(mask.sum() + 1, np.int64)
    found, rings = 0, 0
    for begin_y in range(1, height):
        for begin_x in range(1, width):
            if not mask[begin_y, begin_x] or mask[begin_y - 1, begin_x] or visited[begin_y, begin_x]:
                continue
            y, x, direction, turn = begin_y, begin_x, 0, 1
            while True:
                if turn:
                    corners[found, 0], corners[found, 1] = x, y
                    found += 1
                if direction == 0:
                    if visited[y, x]:
                        break
                    visited[y, x] = True
                    x += 1
                    left, right = mask[y - 1, x], mask[y, x]
                elif direction == 1:
                    y += 1
                    left, right = mask[y, x], mask[y, x - 1]
                elif direction == 2:
                    x -= 1
                    left, right = mask[y, x - 1], mask[y - 1, x - 1]
                else:
                    y -= 1
                    left, right = mask[y - 1, x - 1], mask[y - 1, x]
                turn = 1 if not right else (-1 if left else 0)
                direction = (direction + turn) % 4
            ends[rings] = found
            rings += 1
    return corners[:found], ends[:rings]
