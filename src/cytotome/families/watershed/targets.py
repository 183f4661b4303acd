"""Training targets of the three stages, and the maps that perfect networks would give."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from cytotome.families.watershed.config import WatershedConfig
from cytotome.ops.distance import away_from_boundary, boundary_distance, distance_levels
from cytotome.ops.labels import label_positions
from cytotome.types import AnyArray, BoolArray, DenseMaps, FloatArray, Instances, IntArray

BACKGROUND, CELL, WALL = 0, 1, 2
WALL_WINDOW = 5
REFERENCE_AREA = 400.0
"""Pixels of an instance whose pixels weigh as much as the background's, 1."""


def watershed_targets(instances: Instances, config: WatershedConfig) -> dict[str, AnyArray]:
    """Targets of one crop; where instances overlap, the smaller one gets the pixels.

    Returns:
        ``semantic`` ``(1, H, W)`` int64: 0 background, 1 cell, 2 wall;
        ``direction`` ``(2, H, W)`` float32: unit vectors y, x away from the nearest boundary, 0 outside and on ridges;
        ``energy`` ``(1, H, W)`` int64: level of the distance to the boundary, 0 outside;
        ``weight`` ``(1, H, W)`` float32: 1 over the root of the area of the pixel's instance, 1 outside;
        ``cell_type`` ``(1, H, W)`` int64: class of the pixel's instance, -1 outside or where it is unknown.
    """
    labels = label_positions(instances)
    parted = labels if config.distance == "instance" else (labels > 0).astype(np.int32)
    distance = boundary_distance(parted)
    classes = np.concatenate([[-1], instances.classes]).astype(np.int64)
    areas = np.bincount(labels.ravel(), minlength=len(instances) + 1)
    weights = np.sqrt(REFERENCE_AREA / np.maximum(areas, 1)).astype(np.float32)
    weights[0] = 1.0
    return {
        "semantic": _semantic(labels, walls(labels))[None],
        "direction": away_from_boundary(parted, distance),
        "energy": distance_levels(distance, np.asarray(config.level_edges, np.float32)).astype(np.int64)[None],
        "weight": weights[labels][None],
        "cell_type": classes[labels][None],
    }


def walls(labels: IntArray) -> BoolArray:
    """``(H, W)`` bool: pixels in whose 5x5 window there are two instances, so that these, dilated, overlap."""
    kernel = np.ones((WALL_WINDOW, WALL_WINDOW), np.uint8)
    if labels.max(initial=0) < 2:
        return np.zeros(labels.shape, bool)
    values = labels.astype(np.float32)  # exact up to 2 ** 24
    greatest = cv2.dilate(values, kernel)
    least = cv2.erode(np.where(labels > 0, values, np.float32(2**24)), kernel)
    found: BoolArray = (greatest > least) & (least > 0)
    return found


def _semantic(labels: IntArray, wall: BoolArray) -> AnyArray:
    classes = np.where(labels > 0, CELL, BACKGROUND)
    classes[wall] = WALL
    return classes.astype(np.int64)


def oracle_maps(targets: Mapping[str, AnyArray], config: WatershedConfig) -> DenseMaps:
    """The dense maps whose networks made no error."""
    maps: dict[str, FloatArray] = {
        "semantic": (targets["semantic"] == np.arange(3)[:, None, None]).astype(np.float32),
        "direction": targets["direction"].astype(np.float32),
        "energy": targets["energy"].astype(np.float32),
    }
    if len(config.class_names) > 1:
        classes = np.arange(len(config.class_names))[:, None, None]
        maps["cell_type"] = (targets["cell_type"] == classes).astype(np.float32)
    return maps
