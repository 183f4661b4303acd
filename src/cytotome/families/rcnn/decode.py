"""Decoding of detections with soft masks to instances: thresholds of the image's cell type, rescoring, suppression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import logit

from cytotome.arrays import Float64Array
from cytotome.families.rcnn.config import RcnnParameters
from cytotome.ops.scores import fit_score_weights, score_instances
from cytotome.ops.soft_masks import paste
from cytotome.ops.suppression import iou_graph, nms
from cytotome.types import AnyArray, Instances, Sample

EDGE = 1e-4
"""Scores are kept this far from 0 and 1, so that their log odds are finite."""


def decode_detections(found: Instances, parameters: RcnnParameters, class_names: Sequence[str]) -> Instances:
    """Converts the detections of one image to instances, best first, with their soft masks.

    The score is computed from the box score times the mean probability inside the mask, which distinguishes good masks
    from bad ones (after Huang et al. 2019, Mask Scoring R-CNN, arXiv 1903.00241), and calibrated.

    Args:
        found: detections with soft masks.
        parameters: decoder parameters; those in ``by_class`` for the image's cell type take precedence.
        class_names: class names of the model.
    """
    parameters = of_image(found, parameters, class_names)
    masked, table = features(found, parameters)
    masked = score_instances(masked, table, parameters, masked.areas > 0)
    kept = masked.select(nms(masked.scores, iou_graph(masked), parameters.nms_iou))
    ordered = kept.select(np.argsort(-kept.scores, kind="stable"))
    return replace(ordered.renumbered(), class_names=tuple(class_names))


def of_image(found: Instances, parameters: RcnnParameters, class_names: Sequence[str]) -> RcnnParameters:
    """The parameters for the majority cell type of the detections, weighted by score."""
    if len(found) == 0 or not parameters.by_class:
        return parameters
    votes = np.bincount(found.classes.clip(0), found.scores * (found.classes >= 0), minlength=len(class_names))
    return parameters.of_type(class_names[int(votes.argmax())])


def features(found: Instances, parameters: RcnnParameters) -> tuple[Instances, Float64Array]:
    """Returns the detections with thresholded masks, and the features of their scores, ``(N, 3)`` float64.

    The columns are the log odds of box score times mean mask probability, the logarithm of the area, and 1.
    """
    masked, means = _cut(found, parameters.mask_threshold)
    table = np.ones((len(found), 3))
    table[:, 0] = logit(np.clip(found.scores.astype(np.float64) * means, EDGE, 1 - EDGE))
    table[:, 1] = np.log(np.maximum(masked.areas, 1))
    return masked, table


def _cut(found: Instances, threshold: float) -> tuple[Instances, AnyArray]:
    if found.soft is None:
        return found, np.ones(len(found), np.float32)
    runs, offsets, means = paste(found.soft, found.shape, threshold)
    return replace(found, runs=runs, offsets=offsets), means


def fit_scores(
    pairs: Sequence[tuple[Instances, Sample]], parameters: RcnnParameters, class_names: Sequence[str]
) -> RcnnParameters:
    """Fits score weights with :func:`~cytotome.ops.scores.fit_score_weights` on the detections after suppression."""

    def describe(found: Instances) -> tuple[Instances, Float64Array]:
        used = of_image(found, parameters, class_names)
        masked, table = features(found, used)
        kept = nms(table[:, 0], iou_graph(masked), used.nms_iou) & (masked.areas >= used.min_area)
        return masked.select(kept), table[kept]

    return fit_score_weights(pairs, parameters, describe)
