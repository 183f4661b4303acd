"""Matching of predictions to truth: sparse IoU of all overlapping pairs, and maximum matchings.

Masks of predictions and of truth may overlap, so two predictions can exceed the threshold for one truth. A maximum
matching of the bipartite graph of the pairs above the threshold counts each prediction and each truth once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cytotome.arrays import AnyArray, BoolArray, Float64Array, Int64Array, IntArray
from cytotome.ops.kernels import kernel
from cytotome.ops.runs import intersections

if TYPE_CHECKING:
    from cytotome.types import Instances


THRESHOLDS: tuple[float, ...] = tuple(step / 20 for step in range(10, 20))
"""0.50, 0.55 ... 0.95, each the nearest double, so that an IoU equal to a threshold compares as equal."""


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """All pairs of a truth and a prediction that share a pixel, ordered by truth.

    Attributes:
        truth: ``(P,)`` int32, position of the truth of each pair.
        prediction: ``(P,)`` int32, position of the prediction of each pair.
        intersection: ``(P,)`` int64, number of shared pixels.
        union: ``(P,)`` int64, number of pixels of the union.
        truth_areas: ``(N,)`` int64, number of pixels of each truth.
        prediction_areas: ``(M,)`` int64, number of pixels of each prediction.
    """

    truth: IntArray
    prediction: IntArray
    intersection: Int64Array
    union: Int64Array
    truth_areas: Int64Array
    prediction_areas: Int64Array

    @property
    def iou(self) -> Float64Array:
        """``(P,)`` float64 in (0, 1], intersection over union of each pair."""
        return self.intersection / self.union

    @property
    def both_empty(self) -> bool:
        """Whether there is neither a truth nor a prediction."""
        return len(self.truth_areas) + len(self.prediction_areas) == 0

    def best_truths(self) -> tuple[Float64Array, IntArray]:
        """Returns, for each prediction, its largest IoU with a truth and the position of that truth.

        Returns:
            ``(iou (M,) float64, truth (M,) int32)``; 0 and -1 for predictions that overlap no truth.
        """
        order = np.argsort(self.iou, kind="stable")  # the largest comes last, and stays
        best, truth = np.zeros(len(self.prediction_areas)), np.full(len(self.prediction_areas), -1, np.int32)
        best[self.prediction[order]] = self.iou[order]
        truth[self.prediction[order]] = self.truth[order]
        return best, truth

    def select_pairs(self, keep: BoolArray) -> Overlaps:
        """Returns the overlaps of some of the pairs, given as ``(P,)`` bool; truths and predictions are unchanged."""
        return replace(
            self,
            truth=self.truth[keep],
            prediction=self.prediction[keep],
            intersection=self.intersection[keep],
            union=self.union[keep],
        )

    def select_predictions(self, keep: BoolArray) -> Overlaps:
        """Returns the overlaps of the predictions selected by ``keep``, ``(M,)`` bool."""
        position = np.cumsum(keep, dtype=np.int32) - np.int32(1)
        kept = self.select_pairs(keep[self.prediction])
        return replace(kept, prediction=position[kept.prediction], prediction_areas=self.prediction_areas[keep])


def find_overlaps(predictions: Instances, truth: Instances) -> Overlaps:
    """Finds the pairs of predictions and truths that share a pixel.

    Raises:
        DataError: if the image sizes differ.
    """
    i, j, shared = intersections(truth, predictions)
    truth_areas, prediction_areas = truth.areas, predictions.areas
    union = truth_areas[i] + prediction_areas[j] - shared
    return Overlaps(i, j, shared, union, truth_areas, prediction_areas)


def mean_precision(overlaps: Overlaps, thresholds: Sequence[float] = THRESHOLDS) -> float:
    """Mean over the thresholds of TP / (TP + FP + FN), the challenge's score of one image; 1 if both are empty."""
    if overlaps.both_empty:
        return 1.0
    hits = count_matches(overlaps, thresholds)
    return float((hits / (len(overlaps.truth_areas) + len(overlaps.prediction_areas) - hits)).mean())


def count_matches(overlaps: Overlaps, thresholds: Sequence[float] = THRESHOLDS) -> Int64Array:
    """Size of the maximum matching of the pairs with an IoU strictly above each threshold.

    The pairs above a threshold include those above any higher one, so one matching is grown from the highest threshold
    to the lowest by augmenting paths (Berge 1957; Kuhn 1955).

    Returns:
        ``(len(thresholds),)`` int64.
    """
    levels = np.asarray(thresholds, np.float64)
    falling = np.argsort(-levels, kind="stable")
    iou = overlaps.iou
    kept = np.flatnonzero(iou > levels.min()) if len(levels) else np.zeros(0, np.int64)
    kept = kept[np.lexsort((-iou[kept], overlaps.truth[kept]))]
    offsets = np.zeros(len(overlaps.truth_areas) + 1, np.int64)
    np.cumsum(np.bincount(overlaps.truth[kept], minlength=len(overlaps.truth_areas)), out=offsets[1:])
    sizes = np.zeros(len(levels), np.int64)
    predictions = len(overlaps.prediction_areas)
    sizes[falling] = _grow_matching(offsets, overlaps.prediction[kept], iou[kept], levels[falling], predictions)
    return sizes


@kernel
def _grow_matching(
    offsets: AnyArray, partners: AnyArray, ious: AnyArray, thresholds: AnyArray, prediction_count: int
) -> AnyArray:
    """``(T,)`` int64 sizes of the maximum matchings at decreasing thresholds ``(T,)``.

    Args:
        offsets: ``(N + 1,)``; the pairs of truth i, best first, are ``offsets[i]:offsets[i + 1]``.
        partners: ``(P,)`` int32, the prediction of each pair.
        ious: ``(P,)`` float64.
        thresholds: ``(T,)`` float64, decreasing.
        prediction_count: number of predictions.
    """
    truth_count = len(offsets) - 1
    match_of_truth = np.full(truth_count, -1, np.int64)
    match_of_prediction = np.full(prediction_count, -1, np.int64)
    seen_by = np.full(prediction_count, -1, np.int64)
    reached_from = np.empty(prediction_count, np.int64)
    queue = np.empty(truth_count, np.int64)
    sizes = np.zeros(len(thresholds), np.int64)
    size, search = 0, 0
    for level in range(len(thresholds)):
        for root in range(truth_count):
            if match_of_truth[root] >= 0:
                continue
            end = _free_prediction(
                root,
                offsets,
                partners,
                ious,
                thresholds[level],
                match_of_prediction,
                seen_by,
                search,
                reached_from,
                queue,
            )
            search += 1
            size += end >= 0
            while end >= 0:  # flip the path, from its free prediction back to the root
                truth = reached_from[end]
                previous = match_of_truth[truth]
                match_of_truth[truth], match_of_prediction[end] = end, truth
                end = previous
        sizes[level] = size
    return sizes


@kernel
def _free_prediction(
    root: int,
    offsets: AnyArray,
    partners: AnyArray,
    ious: AnyArray,
    threshold: float,
    match_of_prediction: AnyArray,
    seen_by: AnyArray,
    search: int,
    reached_from: AnyArray,
    queue: AnyArray,
) -> int:
    """Breadth-first search for an unmatched prediction at the end of an augmenting path; -1 if there is none.

    Args:
        root: the truth at the start of the path.
        offsets, partners, ious: ``(N + 1,)``, ``(P,)`` and ``(P,)``, as in :func:`_grow_matching`.
        threshold: pairs with a higher IoU are edges.
        match_of_prediction: ``(M,)`` truth of each prediction, -1 for none.
        seen_by: ``(M,)`` number of the last search that reached each prediction; changed in place.
        search: number of this search.
        reached_from: ``(M,)`` truth from which each prediction was reached; changed in place.
        queue: ``(N,)`` scratch.
    """
    queue[0] = root
    head, tail = 0, 1
    while head < tail:
        truth = queue[head]
        head += 1
        for pair in range(offsets[truth], offsets[truth + 1]):
            if ious[pair] <= threshold:
                break
            prediction: int = partners[pair]
            if seen_by[prediction] == search:
                continue
            seen_by[prediction] = search
            reached_from[prediction] = truth
            if match_of_prediction[prediction] < 0:
                return prediction
            queue[tail] = match_of_prediction[prediction]
            tail += 1
    return -1


def best_matching(overlaps: Overlaps, threshold: float = 0.5) -> Int64Array:
    """The matching with the most pairs above the threshold and, among those, the largest sum of IoU.

    Returns:
        ``(K,)`` int64, positions of its pairs in ``overlaps``, increasing.
    """
    iou = overlaps.iou
    kept = np.flatnonzero(iou > threshold)
    truth, prediction = overlaps.truth[kept], overlaps.prediction[kept]
    degree_of_truth = np.bincount(truth, minlength=len(overlaps.truth_areas))
    degree_of_prediction = np.bincount(prediction, minlength=len(overlaps.prediction_areas))
    alone = (degree_of_truth[truth] == 1) & (degree_of_prediction[prediction] == 1)
    chosen = [kept[alone]]
    chosen += [_assign(overlaps, component) for component in _components(overlaps, kept[~alone])]
    return np.sort(np.concatenate(chosen))


def _components(overlaps: Overlaps, pairs: Int64Array) -> list[Int64Array]:
    """Splits the pairs by connected component of their bipartite graph."""
    if len(pairs) == 0:
        return []
    shift = len(overlaps.truth_areas)
    truth, prediction = overlaps.truth[pairs].astype(np.int64), overlaps.prediction[pairs].astype(np.int64) + shift
    nodes = shift + len(overlaps.prediction_areas)
    _, component = connected_components(coo_array((np.ones(len(pairs)), (truth, prediction)), shape=(nodes, nodes)))
    order = np.argsort(component[truth], kind="stable")
    borders = np.flatnonzero(np.diff(component[truth][order])) + 1
    return np.split(pairs[order], borders)


def _assign(overlaps: Overlaps, pairs: Int64Array) -> Int64Array:
    """Selects the assignment with the most pairs and, among those, the largest sum of IoU."""
    truths, rows = np.unique(overlaps.truth[pairs], return_inverse=True)
    predictions, columns = np.unique(overlaps.prediction[pairs], return_inverse=True)
    position = np.full((len(truths), len(predictions)), -1, np.int64)
    position[rows, columns] = np.arange(len(pairs))
    value = np.zeros(position.shape)
    value[rows, columns] = overlaps.iou[pairs] + min(position.shape)  # one pair more outweighs any sum of IoU
    found: Int64Array = position[linear_sum_assignment(value, maximize=True)]
    chosen: Int64Array = pairs[found[found >= 0]]
    return chosen
