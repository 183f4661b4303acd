"""Test-time augmentation of networks that predict instances, which are fused by voting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from cytotome.ops.soft_masks import from_crops, paste, pixel_crop
from cytotome.ops.stack import Stack, stack
from cytotome.ops.suppression import iou_graph
from cytotome.ops.symmetry import undo_symmetry
from cytotome.ops.voting import cluster_instances, merge_clusters
from cytotome.outputs.canvas import resized_detections
from cytotome.outputs.stitching import InstancePredictor
from cytotome.outputs.tta import SYMMETRIES, Tta, scaled_views, transform
from cytotome.types import AnyArray, FloatArray, Instances, IntArray

SAME = 0.5
"""Instances of two views with a higher IoU are the same cell."""


def with_instance_tta(predict: InstancePredictor, tta: Tta, *, stride: int) -> InstancePredictor:
    """Returns a predictor that fuses instances of all views: masks are averaged, scores lowered by views without them.

    Args:
        predict: the network; returns the instances of each image, before filtering.
        tta: the views.
        stride: the sides of images must be multiples of this.
    """
    symmetries = SYMMETRIES if tta.symmetries else SYMMETRIES[:1]

    def predict_voted(images: Tensor) -> list[Instances]:
        size = (int(images.shape[2]), int(images.shape[3]))
        views: list[list[Instances]] = [[] for _ in range(len(images))]
        for view in scaled_views(images, tta, stride):
            seen = (int(view.shape[2]), int(view.shape[3]))
            for symmetry in symmetries:
                for place, found in enumerate(predict(transform(view, symmetry))):
                    back = undo_symmetry(
                        found, transposed=symmetry.transpose, flip_y=symmetry.flip_y, flip_x=symmetry.flip_x
                    )
                    views[place].append(resized_detections(back, seen, size) if seen != size else back)
        return [fuse_views(found) for found in views]

    return predict_voted


def fuse_views(views: Sequence[Instances]) -> Instances:
    """Fuses instances of several views of one image to one set, with averaged soft masks if the views have them.

    Scores are means over all views, with 0 for views that lack the instance.
    """
    stacked = stack(views)
    found = stacked.instances
    cluster = cluster_instances(found.scores, stacked.models, iou_graph(found), SAME)
    fused = merge_clusters(stacked, cluster)
    if found.soft is None:
        return fused.select(fused.areas > 0)
    crops, origins = _mean_crops(stacked, cluster, len(fused))
    soft = from_crops(crops, np.array(origins).reshape(-1, 2))
    runs, offsets, _ = paste(soft, fused.shape)
    fused = replace(fused, runs=runs, offsets=offsets, soft=soft)
    return fused.select(fused.areas > 0)


def _mean_crops(stacked: Stack, cluster: IntArray, count: int) -> tuple[list[FloatArray], list[tuple[int, int]]]:
    """The mean soft mask of each cluster, weighted by score, in its window of the image."""
    found = stacked.instances
    assert found.soft is not None
    members: list[list[tuple[AnyArray, tuple[int, int], float]]] = [[] for _ in range(count)]
    for index in range(len(found)):
        crop, origin = pixel_crop(found.soft, index, found.shape)
        members[cluster[index]].append((crop, origin, float(found.scores[index]) + 1e-9))
    crops, origins = [], []
    for parts in members:
        top, left = (min(origin[axis] for _, origin, _ in parts) for axis in (0, 1))
        bottom, right = (max(origin[axis] + crop.shape[axis] for crop, origin, _ in parts) for axis in (0, 1))
        mean = np.zeros((bottom - top, right - left), np.float32)
        total = sum(weight for _, _, weight in parts)
        for crop, (y, x), weight in parts:
            mean[y - top : y - top + crop.shape[0], x - left : x - left + crop.shape[1]] += crop * (weight / total)
        crops.append(mean)
        origins.append((top, left))
    return crops, origins
