"""Panoptic quality (Kirillov et al. 2019) of one image's instances."""

from __future__ import annotations

from dataclasses import dataclass

from cytotome.ops.matching import Overlaps, best_matching


@dataclass(frozen=True, slots=True)
class PanopticQuality:
    """Panoptic quality and its two factors.

    Attributes:
        quality: PQ, ``segmentation * recognition``.
        segmentation: SQ, mean IoU of the matched pairs; 0 if there are none.
        recognition: RQ, TP / (TP + FP / 2 + FN / 2): the F1 of the matched pairs.
    """

    quality: float
    segmentation: float
    recognition: float


def panoptic_quality(overlaps: Overlaps, threshold: float = 0.5) -> PanopticQuality:
    """Panoptic quality of one image.

    Kirillov's matching is unique because panoptic segments do not overlap. If masks do, the matching with the most
    pairs and, among those, the largest sum of IoU is used.

    Args:
        overlaps: overlaps of one image.
        threshold: a pair can match if its IoU is strictly greater.

    Returns:
        1 for all three if there is neither truth nor prediction.
    """
    if overlaps.both_empty:
        return PanopticQuality(1.0, 1.0, 1.0)
    matched = best_matching(overlaps, threshold)
    if len(matched) == 0:
        return PanopticQuality(0.0, 0.0, 0.0)
    segmentation = float(overlaps.iou[matched].mean())
    recognition = 2 * len(matched) / (len(overlaps.truth_areas) + len(overlaps.prediction_areas))
    return PanopticQuality(segmentation * recognition, segmentation, recognition)
