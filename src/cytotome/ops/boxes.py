"""Weighted boxes fusion (Solovyev, Wang and Gabruseva 2021, arXiv 1910.13302)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cytotome.arrays import AnyArray, Float64Array, IntArray
from cytotome.errors import DataError
from cytotome.ops.kernels import kernel


@dataclass(frozen=True, slots=True, eq=False)
class FusedBoxes:
    """Result of :func:`weighted_boxes_fusion` of N boxes: K clusters, by decreasing score.

    Attributes:
        boxes: ``(K, 4)`` float64, in the coordinate order of the input.
        scores: ``(K,)`` float64.
        classes: ``(K,)`` int32.
        cluster: ``(N,)`` int32, the cluster of each box, -1 for a box without area.
    """

    boxes: Float64Array
    scores: Float64Array
    classes: IntArray
    cluster: IntArray


def weighted_boxes_fusion(
    boxes: AnyArray, scores: AnyArray, classes: AnyArray, models: AnyArray, weights: AnyArray, *, threshold: float
) -> FusedBoxes:
    """Clusters and averages the boxes of several models, as the package ``ensemble-boxes`` does by default.

    In decreasing order of weighted score, a box joins the cluster of its class whose average box has the highest IoU
    with it, if that is above the threshold. A cluster's box is the mean of its boxes, weighted by weighted score; its
    score is the mean weighted score times the number of its boxes (at most the number of models) divided by the sum of
    weights, which lowers the scores of boxes found by few models.

    Args:
        boxes: ``(N, 4)``, two opposite corners, in any unit.
        scores: ``(N,)``.
        classes: ``(N,)`` int; boxes of different classes are never fused.
        models: ``(N,)`` int, the model of each box.
        weights: ``(M,)`` weights of the models, positive.
        threshold: IoU threshold.

    Raises:
        DataError: if lengths differ or a weight is not positive.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    weights = np.asarray(weights, np.float64)
    lengths = {len(boxes), len(scores), len(classes), len(models)}
    if len(lengths) > 1 or (len(boxes) and int(np.max(models)) >= len(weights)):
        raise DataError("weighted_boxes_fusion: one score, class and model per box and one weight per model are needed")
    if not (weights > 0).all():
        raise DataError(f"weighted_boxes_fusion: weights must be positive, got {weights.tolist()}")
    weighted = np.asarray(scores, np.float64) * weights[np.asarray(models, np.int64)]
    order = np.argsort(-weighted, kind="stable")
    sides = boxes[:, 2:] - boxes[:, :2]
    order = order[sides[order].min(axis=1, initial=np.inf) > 0]
    fused, cluster, sizes = _fuse(boxes, weighted, np.asarray(classes, np.int32), order, threshold)
    means = np.zeros(len(sizes))
    np.divide(np.bincount(cluster[order], weighted[order], len(sizes)), sizes, out=means, where=sizes > 0)
    final = means * np.minimum(len(weights), sizes) / weights.sum()
    ranked = np.argsort(-final, kind="stable")
    place = np.full(len(ranked) + 1, -1, np.int32)
    place[ranked] = np.arange(len(ranked))
    leaders = np.full(len(ranked), -1, np.int64)
    leaders[cluster[order][::-1]] = order[::-1]
    found = np.asarray(classes, np.int32)[leaders[ranked]]
    return FusedBoxes(fused[ranked], final[ranked], found, place[cluster])


@kernel
def _fuse(
    boxes: AnyArray, weighted: AnyArray, classes: AnyArray, order: AnyArray, threshold: float
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Clusters boxes greedily; the box of a cluster is the mean of its members, weighted by their scores.

    Args:
        boxes: ``(N, 4)`` float64 of ``y0, x0, y1, x1``.
        weighted: ``(N,)`` float64, scores times weights.
        classes: ``(N,)`` int32; all boxes of a cluster have one class.
        order: ``(M,)`` positions by decreasing score.
        threshold: IoU above which a box joins the cluster that it overlaps most.

    Returns:
        ``(means (K, 4), cluster (N,) int32, sizes (K,) int64)``; -1 for a box that is not in ``order``.
    """
    cluster = np.full(len(boxes), -1, np.int32)
    means = np.zeros((len(order), 4))
    sums = np.zeros((len(order), 4))
    totals = np.zeros(len(order))
    kinds = np.zeros(len(order), np.int32)
    sizes = np.zeros(len(order), np.int64)
    count = 0
    for i in order:
        best, best_iou = -1, threshold
        area = (boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1])
        for c in range(count):
            if kinds[c] != classes[i]:
                continue
            height = min(boxes[i, 2], means[c, 2]) - max(boxes[i, 0], means[c, 0])
            width = min(boxes[i, 3], means[c, 3]) - max(boxes[i, 1], means[c, 1])
            if height <= 0 or width <= 0:
                continue
            shared = height * width
            iou = shared / (area + (means[c, 2] - means[c, 0]) * (means[c, 3] - means[c, 1]) - shared)
            if iou > best_iou:
                best, best_iou = c, iou
        if best < 0:
            best = count
            count += 1
            kinds[best] = classes[i]
        cluster[i] = best
        sizes[best] += 1
        totals[best] += weighted[i]
        for axis in range(4):
            sums[best, axis] += weighted[i] * boxes[i, axis]
            alone = sizes[best] == 1 or totals[best] <= 0  # not rounded, so that equal IoUs stay equal
            means[best, axis] = boxes[i, axis] if alone else sums[best, axis] / totals[best]
    return means[:count], cluster, sizes[:count]
