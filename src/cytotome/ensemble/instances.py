"""Fusion of the instances of one image from several models, or from one model on several views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cytotome.ops.boxes import weighted_boxes_fusion
from cytotome.ops.stack import Stack, stack
from cytotome.ops.suppression import best_first, cluster_nms, iou_graph, nms, soft_nms
from cytotome.ops.voting import cluster_instances, merge_clusters
from cytotome.types import AnyArray, Instances, IntArray

Method = Literal["vote", "boxes", "nms", "soft_nms", "cluster_nms"]


class InstanceFusion(BaseModel):
    """Settings of the fusion of instances from several models.

    Attributes:
        method: ``vote`` averages the masks of instances that overlap across models; ``boxes`` does so for the clusters
            of weighted boxes fusion; ``nms``, ``soft_nms`` and ``cluster_nms`` select from the existing masks.
        overlap: IoU of masks or of boxes (``boxes`` only supports boxes).
        threshold: instances with a higher IoU are the same cell.
        mask_threshold: pixels with a higher mean over the cluster's masks belong to the cell.
        unconfirmed: exponent of the share of the models (by weight) that found a cell, by which its score is
            multiplied: 0 leaves the score unchanged, 1 yields the mean over all models, with 0 for those that did not
            find it.
        sigma: softness of ``soft_nms`` (gaussian) and ``cluster_nms``; None for hard ``cluster_nms`` and linear
            ``soft_nms``.
        min_score, min_area: instances below these limits are dropped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "vote"
    overlap: Literal["mask", "box"] = "mask"
    threshold: float = Field(default=0.5, ge=0, lt=1)
    mask_threshold: float = Field(default=0.5, ge=0, lt=1)
    unconfirmed: float = Field(default=1.0, ge=0, le=4)
    sigma: float | None = Field(default=None, gt=0)
    min_score: float = Field(default=0.0, ge=0, le=1)
    min_area: int = Field(default=1, ge=1)

    search: ClassVar[dict[str, tuple[float, ...]]] = {
        "threshold": (0.3, 0.4, 0.5, 0.6, 0.7),
        "mask_threshold": (0.3, 0.4, 0.5, 0.6),
        "unconfirmed": (0.0, 0.5, 1.0, 1.5),
        "min_score": (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
        "min_area": (1, 15, 30, 45, 60, 80, 100, 130, 160),
    }


def fuse_instances(
    predictions: Sequence[Instances], settings: InstanceFusion, weights: Sequence[float] | None = None
) -> Instances:
    """Fuses the instances of M models to one set, best score first, with ids 1 to N.

    Scores should be comparable between models; see :mod:`cytotome.ensemble.calibration`. Soft masks are averaged if
    models predict them; the result has none.

    Args:
        predictions: predictions for one image.
        settings: method and thresholds.
        weights: weights of the models; 1 by default.

    Raises:
        ConfigError: if there is no prediction or the weights are invalid.
        DataError: if sizes differ.
    """
    stacked = stack(predictions, weights)
    fused = METHODS[settings.method](stacked, settings)
    keep = (fused.scores >= settings.min_score) & (fused.areas >= settings.min_area)
    fused = fused.select(np.flatnonzero(keep)[best_first(fused.scores[keep])])
    return fused.renumbered()


def _vote(stacked: Stack, settings: InstanceFusion) -> Instances:
    found = stacked.instances
    weighted = found.scores * stacked.weights[stacked.models]
    graph = iou_graph(found, settings.overlap)
    return _merged(stacked, cluster_instances(weighted, stacked.models, graph, settings.threshold), settings)


def _boxes(stacked: Stack, settings: InstanceFusion) -> Instances:
    found = stacked.instances
    one_class = np.zeros(len(found), np.int32)
    fused = weighted_boxes_fusion(
        found.boxes, found.scores, one_class, stacked.models, stacked.weights, threshold=settings.threshold
    )
    return _merged(stacked, fused.cluster, settings)


def _merged(stacked: Stack, cluster: IntArray, settings: InstanceFusion) -> Instances:
    return merge_clusters(stacked, cluster, mask_threshold=settings.mask_threshold, unconfirmed=settings.unconfirmed)


def _suppressed(lower: Callable[[AnyArray, Instances, InstanceFusion], AnyArray]) -> Callable[..., Instances]:
    def fuse(stacked: Stack, settings: InstanceFusion) -> Instances:
        found = stacked.instances
        weighted = found.scores * stacked.weights[stacked.models] / stacked.weights.max()
        lowered = lower(weighted, found, settings)
        kept = replace(found, scores=np.clip(lowered, 0, 1).astype(np.float32), soft=None)
        return kept.select(np.flatnonzero(lowered > 0))

    return fuse


def _nms(scores: AnyArray, found: Instances, settings: InstanceFusion) -> AnyArray:
    return np.where(nms(scores, iou_graph(found, settings.overlap), settings.threshold), scores, 0)


def _soft_nms(scores: AnyArray, found: Instances, settings: InstanceFusion) -> AnyArray:
    graph = iou_graph(found, settings.overlap)
    if settings.sigma is None:
        return soft_nms(scores, graph, decay="linear", threshold=settings.threshold)
    return soft_nms(scores, graph, sigma=settings.sigma)


def _cluster_nms(scores: AnyArray, found: Instances, settings: InstanceFusion) -> AnyArray:
    return cluster_nms(scores, iou_graph(found, settings.overlap), settings.threshold, sigma=settings.sigma)


METHODS: dict[str, Callable[[Stack, InstanceFusion], Instances]] = {
    "vote": _vote,
    "boxes": _boxes,
    "nms": _suppressed(_nms),
    "soft_nms": _suppressed(_soft_nms),
    "cluster_nms": _suppressed(_cluster_nms),
}
