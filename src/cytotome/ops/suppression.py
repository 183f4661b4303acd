"""Non-maximum suppression of instances by the IoU of masks or boxes, on the graph of overlapping instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from cytotome.arrays import AnyArray, BoolArray, Float64Array, IntArray
from cytotome.errors import ConfigError
from cytotome.ops.kernels import grown, kernel
from cytotome.ops.runs import intersections

if TYPE_CHECKING:
    from cytotome.types import Instances

Overlap = Literal["mask", "box"]
Decay = Literal["linear", "gaussian"]


@dataclass(frozen=True, slots=True, eq=False)
class IouGraph:
    """The IoU of every pair of N instances that overlap, in both directions, without self-pairs.

    Attributes:
        offsets: ``(N + 1,)`` int64; the neighbours of i are ``neighbours[offsets[i]:offsets[i + 1]]``, increasing.
        neighbours: ``(P,)`` int32.
        iou: ``(P,)`` float64 in (0, 1].
    """

    offsets: npt.NDArray[np.int64]
    neighbours: IntArray
    iou: Float64Array


def iou_graph(instances: Instances, overlap: Overlap = "mask") -> IouGraph:
    """Computes the graph of overlapping instances.

    Args:
        instances: of one image.
        overlap: whether to use the IoU of masks or of boxes; boxes are half open, as :attr:`Instances.boxes`.

    Raises:
        ConfigError: if ``overlap`` is unknown.
    """
    if overlap not in get_args(Overlap):
        raise ConfigError(f"overlap must be one of {', '.join(get_args(Overlap))}, got {overlap!r}")
    if overlap == "box":
        boxes = instances.boxes.astype(np.float64)
        first, second, iou = _box_pairs(boxes, np.argsort(boxes[:, 0], kind="stable"))
        order = np.lexsort((second, first))
        first, second, iou = first[order], second[order], iou[order]
    else:
        first, second, shared = intersections(instances, instances)
        areas = instances.areas
        order = np.lexsort((second, first))
        order = order[first[order] != second[order]]
        first, second, shared = first[order], second[order], shared[order]
        iou = shared / (areas[first] + areas[second] - shared)
    offsets = np.zeros(len(instances) + 1, np.int64)
    np.cumsum(np.bincount(first, minlength=len(instances)), out=offsets[1:])
    return IouGraph(offsets, second, iou)


@kernel
def _box_pairs(boxes: AnyArray, order: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
    """``(i, j, IoU)`` of all boxes ``(N, 4)`` of y0, x0, y1, x1 that overlap; ``order`` sorts them by y0."""
    capacity = max(64, 8 * len(boxes))
    first, second = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    iou = np.empty(capacity, np.float64)
    found = 0
    for a in range(len(order)):
        i = order[a]
        area = (boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1])
        for b in range(a + 1, len(order)):
            j = order[b]
            if boxes[j, 0] >= boxes[i, 2]:
                break
            height = min(boxes[i, 2], boxes[j, 2]) - boxes[j, 0]
            width = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            if height <= 0 or width <= 0:
                continue
            if found + 2 > capacity:
                capacity *= 2
                first, second, iou = grown(first, capacity), grown(second, capacity), grown(iou, capacity)
            shared = height * width
            value = shared / (area + (boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1]) - shared)
            first[found], second[found], iou[found] = i, j, value
            first[found + 1], second[found + 1], iou[found + 1] = j, i, value
            found += 2
    return first[:found].copy(), second[:found].copy(), iou[:found].copy()


def best_first(scores: AnyArray) -> npt.NDArray[np.int64]:
    """Positions by decreasing score; ties keep their order."""
    return np.argsort(-np.asarray(scores, np.float64), kind="stable")


def nms(scores: AnyArray, graph: IouGraph, threshold: float) -> BoolArray:
    """Greedy suppression: by decreasing score, an instance removes those whose IoU with it is above the threshold.

    Returns:
        ``(N,)`` bool, which instances are kept. Among equal scores, the first has priority.
    """
    return _nms(best_first(scores), graph.offsets, graph.neighbours, graph.iou, threshold)


@kernel
def _nms(order: AnyArray, offsets: AnyArray, neighbours: AnyArray, iou: AnyArray, threshold: float) -> AnyArray:
    """``(N,)`` bool, which instances greedy suppression keeps, in ``order`` ``(N,)``; see :class:`IouGraph` for the
    others.
    """
    keep = np.ones(len(order), np.bool_)
    done = np.zeros(len(order), np.bool_)
    for i in order:
        done[i] = True
        if not keep[i]:
            continue
        for k in range(offsets[i], offsets[i + 1]):
            if iou[k] > threshold and not done[neighbours[k]]:
                keep[neighbours[k]] = False
    return keep


def soft_nms(
    scores: AnyArray, graph: IouGraph, *, decay: Decay = "gaussian", threshold: float = 0.5, sigma: float = 0.5
) -> Float64Array:
    """Soft NMS: lowers the scores of instances that overlap better ones (Bodla et al. 2017, arXiv 1704.04503).

    Instances are processed by decreasing current score; each lowers the scores of those not yet processed.

    Args:
        scores: ``(N,)`` in [0, 1].
        graph: of the instances.
        decay: ``linear`` multiplies by 1 - IoU if the IoU is above ``threshold``; ``gaussian`` by exp(-IoU^2 / sigma).
        threshold: of ``linear``.
        sigma: of ``gaussian``, positive.

    Returns:
        ``(N,)`` float64.

    Raises:
        ConfigError: if the decay is unknown or sigma is not positive.
    """
    if decay not in get_args(Decay):
        raise ConfigError(f"decay must be one of {', '.join(get_args(Decay))}, got {decay!r}")
    if not sigma > 0:
        raise ConfigError(f"sigma must be positive, got {sigma}")
    if decay == "linear":
        factors = np.where(graph.iou > threshold, 1 - graph.iou, 1.0)
    else:
        factors = np.exp(-(graph.iou**2) / sigma)
    lowered = np.array(scores, np.float64)
    _soften(lowered, graph.offsets, graph.neighbours, factors)
    return lowered


@kernel
def _soften(scores: AnyArray, offsets: AnyArray, neighbours: AnyArray, factors: AnyArray) -> None:
    """Multiplies scores ``(N,)``, in place, by the factors ``(P,)`` of each better neighbour, best first."""
    taken = np.zeros(len(scores), np.bool_)
    for _ in range(len(scores)):
        best = -1
        for i in range(len(scores)):
            if not taken[i] and (best < 0 or scores[i] > scores[best]):
                best = i
        taken[best] = True
        for k in range(offsets[best], offsets[best + 1]):
            if not taken[neighbours[k]]:
                scores[neighbours[k]] *= factors[k]


def cluster_nms(scores: AnyArray, graph: IouGraph, threshold: float, *, sigma: float | None = None) -> Float64Array:
    """Cluster NMS with score penalty (Zheng et al. 2020, arXiv 2005.03572): scores, 0 where suppressed.

    In each round, all instances are suppressed by those kept in the previous round, until nothing changes; the result
    is that of :func:`nms`. With ``sigma``, nothing is removed: each score is multiplied by exp(-IoU^2 / sigma) for
    every better instance that is kept.

    Returns:
        ``(N,)`` float64.
    """
    kept = _cluster(best_first(scores), graph.offsets, graph.neighbours, graph.iou, threshold)
    values = np.array(scores, np.float64)
    if sigma is None:
        return np.where(kept, values, 0.0)
    if not sigma > 0:
        raise ConfigError(f"sigma must be positive, got {sigma}")
    rank = np.empty(len(values), np.int64)
    rank[best_first(values)] = np.arange(len(values))
    owners = np.repeat(np.arange(len(values)), np.diff(graph.offsets))
    counts = kept[graph.neighbours] & (rank[graph.neighbours] < rank[owners])
    penalty = np.bincount(owners[counts], graph.iou[counts] ** 2, minlength=len(values))
    lowered: Float64Array = values * np.exp(-penalty / sigma)
    return lowered


@kernel
def _cluster(order: AnyArray, offsets: AnyArray, neighbours: AnyArray, iou: AnyArray, threshold: float) -> AnyArray:
    """``(N,)`` bool, which instances cluster NMS keeps, in ``order`` ``(N,)``; see :class:`IouGraph` for the others."""
    count = len(order)
    rank = np.empty(count, np.int64)
    for position in range(count):
        rank[order[position]] = position
    keep = np.ones(count, np.bool_)
    for _ in range(count):
        following = np.ones(count, np.bool_)
        for i in range(count):
            for k in range(offsets[i], offsets[i + 1]):
                j = neighbours[k]
                if keep[j] and rank[j] < rank[i] and iou[k] > threshold:
                    following[i] = False
                    break
        if (following == keep).all():
            break
        keep = following
    return keep
