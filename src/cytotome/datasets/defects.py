"""Annotation defects in real datasets: found, counted and reported, never repaired silently."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cytotome.ops.kernels import kernel
from cytotome.ops.runs import mask_crop
from cytotome.types import AnyArray, BoolArray, Instances

HOLLOW = 0.1
LOOSE = 0.02
DOUBLE = 0.7
CUT_LENGTH, CUT_PART = 24, 0.4
TINY = 30
MARGIN = 4


@dataclass(frozen=True, slots=True, eq=False)
class Defects:
    """Which instances of one image look wrong; each field is ``(N,)`` bool.

    Attributes:
        hollow: holes are at least 10 % of the filled mask.
        many_parts: at least 2 % of the mask is not connected to its largest part (8-connected).
        double: another mask covers the same cell, with an IoU of at least 0.7.
        cut_straight: a straight edge along a row or column, at least 24 pixels long and 40 % of the mask's box, that is
            not within four pixels of the image border.
        tiny: fewer than 30 pixels.
    """

    hollow: BoolArray
    many_parts: BoolArray
    double: BoolArray
    cut_straight: BoolArray
    tiny: BoolArray


def find_defects(instances: Instances) -> Defects:
    """Checks every mask of one image."""
    count = len(instances)
    hollow, many_parts, cut = (np.zeros(count, bool) for _ in range(3))
    for index in range(count):
        mask, origin = mask_crop(instances, index)
        if not mask.any():
            continue
        hollow[index], many_parts[index] = _holes_and_parts(mask)
        cut[index] = _is_cut(mask, origin, instances.shape)
    return Defects(hollow, many_parts, _doubles(instances), cut, instances.areas < TINY)


def _holes_and_parts(mask: BoolArray) -> tuple[bool, bool]:
    """Whether holes, and whether disconnected parts, are a considerable part of ``(h, w)`` ``mask``."""
    area = np.count_nonzero(mask)
    number, _, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    loose = area - int(statistics[1:, cv2.CC_STAT_AREA].max())
    outside = np.pad(~mask, 1, constant_values=True).view(np.uint8)
    _, _, empty, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    holes = int(empty[2:, cv2.CC_STAT_AREA].sum())
    return bool(holes >= HOLLOW * (area + holes)), bool(number > 2 and loose >= LOOSE * area)


def _is_cut(mask: BoolArray, origin: tuple[int, int], shape: tuple[int, int]) -> bool:
    """Whether an edge of the mask is straight for longer than a cell's can be."""
    at_top, at_left = origin[0] <= MARGIN, origin[1] <= MARGIN
    at_bottom = origin[0] + mask.shape[0] >= shape[0] - MARGIN
    at_right = origin[1] + mask.shape[1] >= shape[1] - MARGIN
    across = _longest_edge(mask, at_top, at_bottom)
    down = _longest_edge(np.ascontiguousarray(mask.T), at_left, at_right)
    height, width = mask.shape
    return bool(across >= max(CUT_LENGTH, CUT_PART * width) or down >= max(CUT_LENGTH, CUT_PART * height))


@kernel
def _longest_edge(mask: AnyArray, first_open: bool, last_open: bool) -> int:
    """Length of the longest run of pixels in one row that are all on the mask's upper, or all on its lower, edge.

    The first (last) row is skipped if ``first_open`` (``last_open``), since the image ends there, not the cell.
    """
    height, width = mask.shape
    longest = 0
    for y in range(height):
        upper, lower = 0, 0
        for x in range(width):
            inside = mask[y, x]
            above = mask[y - 1, x] if y > 0 else first_open
            below = mask[y + 1, x] if y + 1 < height else last_open
            upper = upper + 1 if inside and not above else 0
            lower = lower + 1 if inside and not below else 0
            longest = max(longest, upper, lower)
    return longest


def _doubles(instances: Instances) -> BoolArray:
    pairs = instances.overlaps(instances)
    double = np.zeros(len(instances), bool)
    double[pairs.truth[(pairs.truth != pairs.prediction) & (pairs.iou >= DOUBLE)]] = True
    return double
