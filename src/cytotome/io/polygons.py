"""Polygons: COCO's lists of corners to instances by COCO's own pixel rule, and outlines of instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cytotome.errors import DataError
from cytotome.io.rle import CocoRle, from_coco_rle
from cytotome.types import AnyArray, Instances

Polygon = Sequence[float]
"""Corners ``x0, y0, x1, y1, ...`` in pixels, pixel edges at whole numbers, as in COCO."""


def from_polygons(polygons: Sequence[Sequence[Polygon]], shape: tuple[int, int], **attributes: Any) -> Instances:
    """Instances of polygons, rasterised by the rule of COCO's own ``rleFrPoly``.

    Args:
        polygons: for each instance the polygons of its parts; parts are united. What leaves the image is cut off, a
            part of fewer than three corners has no pixel.
        shape: ``(H, W)`` of the image.
        **attributes: as in :func:`cytotome.ops.runs.make_instances`.

    Raises:
        DataError: for an odd count of coordinates or one that is not a finite number.
    """
    return from_coco_rle(polygon_rles(polygons, shape), shape, **attributes)


def polygon_rles(polygons: Sequence[Sequence[Polygon]], shape: tuple[int, int]) -> list[CocoRle]:
    """COCO run lengths of polygons, one an instance; see :func:`from_polygons`."""
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
    if corners.ndim != 1 or len(corners) % 2 or not np.isfinite(corners).all():
        raise DataError(f"polygon of instance {index}: expected finite x, y pairs; the annotation is damaged")
    return corners
