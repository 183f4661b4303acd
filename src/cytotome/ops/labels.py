"""Label maps: conversion of instances to and from ``(H, W)`` integer arrays, and resolution of overlaps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from cytotome.arrays import AnyArray, BoolArray, Int64Array, IntArray
from cytotome.errors import DataError
from cytotome.ops.kernels import kernel
from cytotome.ops.runs import merge_runs

if TYPE_CHECKING:
    from cytotome.instances import Instances

OverlapPolicy = Literal["area", "score", "drop"]
OVERLAP_POLICIES: tuple[OverlapPolicy, ...] = ("area", "score", "drop")
MAX_LOSS = 0.2
COUNTED = 2**22
LAYERS = 4
"""Number of layers allocated at first; few images need more."""


def label_runs(labels: AnyArray) -> tuple[IntArray, Int64Array, IntArray]:
    """The runs of each label, see :meth:`cytotome.types.Instances.from_label_map`.

    Args:
        labels: ``(H, W)`` integers, 0 is background; labels may have gaps.

    Returns:
        ``(runs (R, 3) int32, offsets (N + 1,) int64, labels (N,) int32)``, by increasing label.

    Raises:
        DataError: if the array is not two-dimensional, of a float type or has negative labels.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise DataError(f"a label map must be (H, W) integers, got {labels.shape} of {labels.dtype}")
    wide = labels.dtype.itemsize >= 4 and labels.dtype != np.int32 and labels.size > 0
    if wide and int(labels.max()) > np.iinfo(np.int32).max:
        raise DataError("a label map's labels must fit 32 bits; renumber them")
    lowest = int(labels.min()) if wide else 0
    runs, values = _runs_of_rows(np.ascontiguousarray(labels, np.int32))
    if lowest < 0 or (len(values) and int(values.min()) < 0):
        raise DataError("a label map must not contain negative labels; 0 is background")
    ids: AnyArray | None = None
    if len(values) and int(values.max()) > COUNTED:
        ids, values = np.unique(values, return_inverse=True)
        values = (values + 1).astype(np.int32)
    runs, offsets, present = _group_runs(runs, values)
    return runs, offsets, (present if ids is None else ids).astype(np.int32)


@kernel
def _group_runs(runs: AnyArray, values: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Sorts runs by their values, with a counting sort.

    Args:
        runs: ``(R, 3)`` int32.
        values: ``(R,)`` int32, above 0.

    Returns:
        ``(runs (R, 3), offsets (N + 1,) int64, values (N,) int32)``: the values that occur, increasing.
    """
    largest = 0
    for value in values:
        largest = max(largest, value)
    place = np.zeros(largest + 2, np.int64)
    for value in values:
        place[value + 1] += 1
    present = 0
    for value in range(1, largest + 1):
        present += place[value + 1] > 0
    ids = np.empty(present, np.int32)
    offsets = np.zeros(present + 1, np.int64)
    present = 0
    for value in range(1, largest + 1):
        if place[value + 1] > 0:
            ids[present] = value
            present += 1
            offsets[present] = offsets[present - 1] + place[value + 1]
        place[value + 1] += place[value]
    grouped = np.empty_like(runs)
    for index in range(len(runs)):
        value = values[index]
        grouped[place[value]] = runs[index]
        place[value] += 1
    return grouped, offsets, ids


@kernel
def _runs_of_rows(labels: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Runs ``(R, 3)`` int32 of equal, non-zero values along the rows of ``(H, W)``, and the value ``(R,)`` of each."""
    height, width = labels.shape
    count = 0
    for y in range(height):
        previous = 0
        for x in range(width):
            value = labels[y, x]
            if value != previous and value != 0:
                count += 1
            previous = value
    runs = np.empty((count, 3), np.int32)
    values = np.empty(count, np.int32)
    count = 0
    for y in range(height):
        x = 0
        while x < width:
            value = labels[y, x]
            if value == 0:
                x += 1
                continue
            start = x
            while x < width and labels[y, x] == value:
                x += 1
            runs[count, 0], runs[count, 1], runs[count, 2] = y, start, x
            values[count] = value
            count += 1
    return runs, values


def to_label_map(instances: Instances, policy: OverlapPolicy = "area") -> IntArray:
    """``(H, W)`` int32 label map of the instances' ids, see :meth:`cytotome.types.Instances.to_label_map`."""
    if policy not in OVERLAP_POLICIES:
        raise DataError(f"overlap policy must be one of {', '.join(OVERLAP_POLICIES)}, got {policy!r}")
    labels = np.zeros(instances.shape, np.int32)
    areas = instances.areas
    first_on_top = np.lexsort((-areas, -instances.scores)) if policy != "area" else np.argsort(areas, kind="stable")
    limit = MAX_LOSS if policy == "drop" else 2.0
    _paint_below(labels, instances.runs, instances.offsets, instances.ids, areas, first_on_top, limit)
    return labels


def label_positions(instances: Instances) -> IntArray:
    """``(H, W)`` int32, position + 1 of the instance at each pixel, 0 for none; smaller instances are on top."""
    return to_label_map(instances.renumbered())


@kernel
def _paint_below(
    labels: AnyArray, runs: AnyArray, offsets: AnyArray, ids: AnyArray, areas: AnyArray, order: AnyArray, limit: float
) -> None:
    """Paints instances in order, each only on free pixels, and leaves out those that lose too many pixels.

    Args:
        labels: ``(H, W)`` int32 zeros, changed in place.
        runs, offsets: ``(R, 3)`` and ``(N + 1,)`` of the instances.
        ids, areas: ``(N,)``, the painted value and the number of pixels of each.
        order: ``(N,)`` positions, topmost first.
        limit: maximum fraction of its pixels that an instance may lose.
    """
    for i in order:
        lost = 0
        for k in range(offsets[i], offsets[i + 1]):
            row = labels[runs[k, 0]]
            for x in range(runs[k, 1], runs[k, 2]):
                lost += row[x] != 0
        if lost > limit * areas[i]:
            continue
        for k in range(offsets[i], offsets[i + 1]):
            row = labels[runs[k, 0]]
            for x in range(runs[k, 1], runs[k, 2]):
                if row[x] == 0:
                    row[x] = ids[i]


def resolve_overlaps(instances: Instances, policy: OverlapPolicy = "area") -> Instances:
    """Returns the instances without overlaps; instances without remaining pixels are left out."""
    runs, offsets, ids = label_runs(to_label_map(instances, policy))
    order = np.argsort(instances.ids, kind="stable")
    kept = instances.select(order[np.searchsorted(instances.ids[order], ids)])
    return replace(kept, runs=runs, offsets=offsets, soft=None)


def to_layers(instances: Instances) -> IntArray:
    """``(L, H, W)`` int32 label maps that together contain every pixel of every mask, including overlaps.

    Each instance is in the first layer where it overlaps no other; values are position + 1. L is at least 1, also
    without instances.
    """
    layers = np.zeros((LAYERS, *instances.shape), np.int32)  # memory pages of empty layers are never touched
    placed, depth = 0, 0
    owner_layer = np.full(len(instances), -1, np.int64)
    while placed < len(instances):
        if depth == len(layers):
            layers = np.concatenate([layers, np.zeros_like(layers)])
        placed += _fill_layer(layers[depth], instances.runs, instances.offsets, owner_layer, depth)
        depth += 1
    return layers[: max(1, depth)]


@kernel
def _fill_layer(layer: AnyArray, runs: AnyArray, offsets: AnyArray, owner_layer: AnyArray, depth: int) -> int:
    """Puts each instance without a layer that overlaps no other into this one; returns their number.

    Args:
        layer: ``(H, W)`` int32, position + 1; changed in place.
        runs, offsets: ``(R, 3)`` and ``(N + 1,)`` of the instances.
        owner_layer: ``(N,)`` int64, the layer of each instance, -1 if not assigned yet; changed in place.
        depth: number of this layer.
    """
    placed = 0
    for i in range(len(offsets) - 1):
        if owner_layer[i] >= 0:
            continue
        free = True
        for k in range(offsets[i], offsets[i + 1]):
            row = layer[runs[k, 0]]
            for x in range(runs[k, 1], runs[k, 2]):
                if row[x] != 0:
                    free = False
                    break
            if not free:
                break
        if not free:
            continue
        for k in range(offsets[i], offsets[i + 1]):
            layer[runs[k, 0], runs[k, 1] : runs[k, 2]] = i + 1
        owner_layer[i] = depth
        placed += 1
    return placed


def from_layers(layers: IntArray, like: Instances) -> Instances:
    """Converts layers of :func:`to_layers` back to instances, after a crop or a warp.

    Args:
        layers: ``(L, H, W)`` int32, values are positions in ``like`` + 1; the size may differ from that of ``like``.
        like: provides scores, classes and ids; instances that are no longer in the image are dropped.
    """
    parts = [_runs_of_rows(np.ascontiguousarray(layer, np.int32)) for layer in layers]
    runs = np.concatenate([part[0] for part in parts])
    owners = np.concatenate([part[1] for part in parts]) - 1
    merged, offsets = merge_runs(runs, owners, len(like))
    whole = replace(like, shape=(layers.shape[1], layers.shape[2]), runs=merged, offsets=offsets, soft=None)
    return whole.select(np.diff(offsets) > 0)


@kernel
def label_means(labels: AnyArray, planes: AnyArray, count: int) -> tuple[AnyArray, AnyArray]:
    """Computes the mean of each plane over each label.

    Args:
        labels: ``(H, W)`` int32, values 0 to ``count``.
        planes: ``(K, H, W)`` float32.
        count: largest label.

    Returns:
        ``(means (count + 1, K) float64, areas (count + 1,) int64)``; means of the background are 0.
    """
    means = np.zeros((count + 1, planes.shape[0]))
    areas = np.zeros(count + 1, np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label > 0:
                areas[label] += 1
                for k in range(planes.shape[0]):
                    means[label, k] += planes[k, y, x]
    for label in range(1, count + 1):
        if areas[label] > 0:
            means[label] /= areas[label]
    return means, areas


def components(mask: BoolArray) -> tuple[IntArray, int]:
    """Connected components (8 neighbours) as an int32 label map, and their number.

    Masks of thin branches are often connected only by corners.
    """
    number, found = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    labels: IntArray = np.asarray(found, np.int32)
    return labels, number - 1
