"""Training targets of the three stages, and the maps of perfect networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cytotome.families.watershed.config import WatershedConfig
from cytotome.ops.borders import contact_border, square
from cytotome.ops.cell_types import class_plane, one_hot
from cytotome.ops.distance import away_from_boundary, boundary_distance, distance_levels
from cytotome.ops.labels import label_positions
from cytotome.types import AnyArray, BoolArray, DenseMaps, FloatArray, Instances, IntArray

BACKGROUND, CELL, WALL = 0, 1, 2
WALL_WIDTH = 2
"""A pixel is wall if two instances are within this number of rows and columns, so that they overlap if dilated."""
REFERENCE_AREA = 400.0
"""Number of pixels of an instance whose pixels have the same weight as the background, 1."""


def watershed_targets(instances: Instances, config: WatershedConfig) -> dict[str, AnyArray]:
    """Computes the targets of one crop; where instances overlap, the smaller one gets the pixels.

    Returns:
        ``semantic`` ``(1, H, W)`` int64: 0 background, 1 cell, 2 wall; ``direction`` ``(2, H, W)`` float32: unit
        vectors y, x away from the nearest boundary, 0 outside and on ridges; ``energy`` ``(1, H, W)`` int64: level of
        the distance to the boundary, 0 outside; ``weight`` ``(1, H, W)`` float32: inversely proportional to the square
        root of the area of the pixel's instance, 1 outside; ``cell_type`` ``(1, H, W)`` int64: class of the pixel's
        instance, -1 outside or if unknown.
    """
    labels = label_positions(instances)
    parted = labels if config.distance == "instance" else (labels > 0).astype(np.int32)
    distance = boundary_distance(parted)
    areas = np.bincount(labels.ravel(), minlength=len(instances) + 1)
    weights = np.sqrt(REFERENCE_AREA / np.maximum(areas, 1)).astype(np.float32)
    weights[0] = 1.0
    return {
        "semantic": _semantic(labels, contact_border(labels, square(WALL_WIDTH)))[None],
        "direction": away_from_boundary(parted, distance),
        "energy": distance_levels(distance, np.asarray(config.level_edges, np.float32)).astype(np.int64)[None],
        "weight": weights[labels][None],
        "cell_type": class_plane(labels, instances.classes),
    }


def _semantic(labels: IntArray, wall: BoolArray) -> AnyArray:
    classes = np.where(labels > 0, CELL, BACKGROUND)
    classes[wall] = WALL
    return classes.astype(np.int64)


def oracle_maps(targets: Mapping[str, AnyArray], config: WatershedConfig) -> DenseMaps:
    """The dense maps of perfect networks."""
    maps: dict[str, FloatArray] = {
        "semantic": one_hot(targets["semantic"], 3),
        "direction": targets["direction"].astype(np.float32),
        "energy": targets["energy"].astype(np.float32),
    }
    if len(config.class_names) > 1:
        maps["cell_type"] = one_hot(targets["cell_type"], len(config.class_names))
    return maps
