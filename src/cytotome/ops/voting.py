"""Mask voting: instances of several models that show the same cell are averaged to one mask."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cytotome.arrays import AnyArray, IntArray
from cytotome.ops.kernels import grown, kernel
from cytotome.ops.soft_masks import _sample as sample
from cytotome.ops.soft_masks import pixel_windows
from cytotome.ops.stack import Stack
from cytotome.ops.suppression import IouGraph
from cytotome.soft import SoftMasks

if TYPE_CHECKING:
    from cytotome.types import Instances


def cluster_instances(scores: AnyArray, models: AnyArray, graph: IouGraph, threshold: float) -> IntArray:
    """Clusters N instances, with at most one instance of each model per cluster.

    By decreasing score, an instance joins the cluster whose first, and thus best, instance overlaps it most, if the IoU
    is above the threshold and the cluster has no instance of the same model; else it starts a cluster. Ties are ordered
    by the position within the model, so that copies of one model are paired correctly.

    Args:
        scores: ``(N,)``.
        models: ``(N,)`` int, increasing.
        graph: graph of the instances.
        threshold: IoU threshold.

    Returns:
        ``(N,)`` int32, the cluster of each instance, 0 to K - 1, numbered by their first instance.
    """
    models = np.asarray(models, np.int64)
    counts = np.bincount(models, minlength=1)
    within = np.arange(len(models)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.lexsort((models, within, -np.asarray(scores, np.float64)))
    return _cluster(order, models, len(counts), graph.offsets, graph.neighbours, graph.iou, threshold)


@kernel
def _cluster(
    order: AnyArray,
    models: AnyArray,
    model_count: int,
    offsets: AnyArray,
    neighbours: AnyArray,
    iou: AnyArray,
    threshold: float,
) -> AnyArray:
    """``(N,)`` int32 clusters, see :func:`cluster_instances`.

    Args:
        order: ``(N,)`` positions, best first.
        models: ``(N,)`` int64, 0 to ``model_count - 1``.
        model_count: number of models.
        offsets, neighbours, iou: of :class:`~cytotome.ops.suppression.IouGraph`.
        threshold: IoU threshold.
    """
    cluster = np.full(len(order), -1, np.int32)
    led = np.full(len(order), -1, np.int32)
    has = np.zeros((len(order), model_count), np.bool_)
    count = 0
    for i in order:
        best, best_iou = -1, threshold
        for k in range(offsets[i], offsets[i + 1]):
            c = led[neighbours[k]]
            if c >= 0 and iou[k] > best_iou and not has[c, models[i]]:
                best, best_iou = c, iou[k]
        if best < 0:
            best = count
            led[i] = count
            count += 1
        cluster[i] = best
        has[best, models[i]] = True
    return cluster


def merge_clusters(
    stacked: Stack, cluster: IntArray, *, mask_threshold: float = 0.5, unconfirmed: float = 1.0
) -> Instances:
    """Merges each cluster to one instance: voted mask, mean score, lowered if models lack it, and the class of most
    weight.

    Args:
        stacked: N instances of M models.
        cluster: ``(N,)`` int, 0 to K - 1; instances of -1 are ignored.
        mask_threshold: pixels with a higher mean belong to the mask, see :func:`vote_masks`.
        unconfirmed: exponent of the share of the models, by weight, that have an instance in the cluster; the score is
            multiplied by this power.
    """
    found = stacked.instances
    weighted = found.scores * stacked.weights[stacked.models]
    runs, offsets = vote_masks(found, cluster, weighted, mask_threshold)
    count = len(offsets) - 1
    member = cluster >= 0
    of, weights = cluster[member], stacked.weights[stacked.models][member]
    mean = np.bincount(of, weighted[member], count) / np.bincount(of, weights, count)
    seen = np.zeros((count, len(stacked.weights)))
    seen[of, stacked.models[member]] = 1
    share = seen @ stacked.weights / stacked.weights.sum()
    return replace(
        found,
        runs=runs,
        offsets=offsets,
        scores=np.clip(mean * share**unconfirmed, 0, 1).astype(np.float32),
        classes=_classes(found.classes[member], of, weighted[member], count, len(found.class_names)),
        ids=np.arange(1, count + 1, dtype=np.int32),
        soft=None,
    )


def _classes(classes: IntArray, cluster: IntArray, weighted: AnyArray, count: int, names: int) -> IntArray:
    votes = np.zeros((count, names + 1))
    np.add.at(votes, (cluster, classes), weighted + 1e-12)  # class -1 is the last column
    chosen = votes.argmax(axis=1).astype(np.int32)
    return np.where(chosen == names, -1, chosen).astype(np.int32)


def vote_masks(
    instances: Instances, cluster: AnyArray, weights: AnyArray, threshold: float
) -> tuple[IntArray, npt.NDArray[np.int64]]:
    """Computes the mask of each cluster: pixels where the weighted mean of its members' masks is above the threshold.

    Soft masks are averaged if instances have them, else masks of 0 and 1.

    Args:
        instances: N instances.
        cluster: ``(N,)`` int, 0 to K - 1; instances of -1 are ignored.
        weights: ``(N,)``, not negative; in a cluster of zero total weight, all members have the same weight.
        threshold: in [0, 1).

    Returns:
        ``(runs (R, 3) int32, offsets (K + 1,) int64)``; a mask may be empty.
    """
    cluster = np.asarray(cluster, np.int64)
    count = int(cluster.max(initial=-1)) + 1
    members = np.argsort(cluster, kind="stable")
    members = members[cluster[members] >= 0]
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(cluster[members], minlength=count), out=offsets[1:])
    weights = np.array(weights, np.float64)
    totals = np.bincount(cluster[members], weights[members], count)
    bare = members[totals[cluster[members]] <= 0]
    weights[bare] = 1.0
    soft = instances.soft or _no_grids(len(instances))
    windows = np.where(soft.sizes.prod(axis=1, keepdims=True) > 0, pixel_windows(soft, instances.shape), -1)
    return _vote(
        (instances.runs, instances.offsets, instances.boxes),
        (soft.values, soft.offsets, soft.sizes, soft.boxes, windows),
        (members, offsets, weights),
        threshold,
        instances.shape,
    )


def _no_grids(count: int) -> SoftMasks:
    return SoftMasks(np.zeros(0, np.float32), np.zeros((count, 2), np.int32), np.zeros((count, 4), np.float32))


@kernel
def _add(
    canvas: AnyArray,
    i: int,
    weight: float,
    hard: tuple[AnyArray, AnyArray, AnyArray],
    soft: tuple[AnyArray, AnyArray, AnyArray, AnyArray, AnyArray],
) -> tuple[int, int, int, int]:
    """Adds mask i times its weight to ``canvas`` ``(H, W)``; returns the window of its pixels.

    Args:
        canvas: float64, changed in place.
        i, weight: the mask and its weight.
        hard: runs ``(R, 3)``, offsets ``(N + 1,)`` and boxes ``(N, 4)``.
        soft: values ``(P,)``, offsets ``(N + 1,)``, sizes ``(N, 2)``, boxes ``(N, 4)`` and windows ``(N, 4)``, -1 if
            there is no soft mask.

    Returns:
        ``(y0, x0, y1, x1)``, half open.
    """
    runs, offsets, boxes = hard
    values, places, sizes, soft_boxes, windows = soft
    if windows[i, 0] < 0:
        for k in range(offsets[i], offsets[i + 1]):
            canvas[runs[k, 0], runs[k, 1] : runs[k, 2]] += weight
        return boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
    y0, x0, y1, x1 = windows[i, 0], windows[i, 1], windows[i, 2], windows[i, 3]
    crop = np.empty((max(0, y1 - y0), max(0, x1 - x0)), np.float32)
    sample(values[places[i] : places[i + 1]].reshape(sizes[i, 0], sizes[i, 1]), soft_boxes[i], y0, x0, crop)
    for y in range(crop.shape[0]):
        for x in range(crop.shape[1]):
            canvas[y0 + y, x0 + x] += weight * crop[y, x]
    return y0, x0, y1, x1


@kernel
def _vote(
    hard: tuple[AnyArray, AnyArray, AnyArray],
    soft: tuple[AnyArray, AnyArray, AnyArray, AnyArray, AnyArray],
    groups: tuple[AnyArray, AnyArray, AnyArray],
    threshold: float,
    shape: tuple[int, int],
) -> tuple[AnyArray, AnyArray]:
    """Returns the runs of each cluster where the weighted sum of its masks is above the threshold.

    Args:
        hard, soft: as in :func:`_add`.
        groups: positions ``(M,)`` by cluster, offsets ``(K + 1,)`` of the clusters, weights ``(N,)``.
        threshold: fraction of the sum of a cluster's weights.
        shape: ``(H, W)``.

    Returns:
        ``(runs (R, 3) int32, offsets (K + 1,) int64)``.
    """
    members, cluster_offsets, weights = groups
    found = np.empty((2 * len(hard[0]) + 16, 3), np.int32)
    found_offsets = np.zeros(len(cluster_offsets), np.int64)
    canvas = np.zeros(shape, np.float64)
    number = 0
    for c in range(len(cluster_offsets) - 1):
        top, left, bottom, right = shape[0], shape[1], 0, 0
        total = 0.0
        for m in range(cluster_offsets[c], cluster_offsets[c + 1]):
            i = members[m]
            total += weights[i]
            y0, x0, y1, x1 = _add(canvas, i, weights[i], hard, soft)
            top, left, bottom, right = min(top, y0), min(left, x0), max(bottom, y1), max(right, x1)
        limit = threshold * total
        for y in range(top, bottom):
            x = left
            while x < right:
                if canvas[y, x] <= limit:
                    x += 1
                    continue
                start = x
                while x < right and canvas[y, x] > limit:
                    x += 1
                if number == len(found):
                    found = grown(found, 2 * number)
                found[number, 0], found[number, 1], found[number, 2] = y, start, x
                number += 1
            canvas[y, left:right] = 0
        found_offsets[c + 1] = number
    return found[:number].copy(), found_offsets
