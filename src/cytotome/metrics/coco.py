"""COCO average precision and recall of masks, computed by hotcoco (identical to pycocotools)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hotcoco
import numpy as np

from cytotome.arrays import Int64Array
from cytotome.errors import ConfigError
from cytotome.io.rle import to_coco_rle
from cytotome.types import AnyArray, Instances

MAX_DETECTIONS: tuple[int, ...] = (100, 1000)
"""100 is COCO's default; as images of dense cultures contain more cells, scores are also computed for 1000."""


@dataclass(frozen=True, slots=True)
class CocoScores:
    """COCO's summary for one maximum number of detections per image; NaN if there is no truth of that size.

    Attributes:
        max_detections: maximum number of predictions per image, those with the highest scores.
        ap: average precision, mean over IoU 0.50, 0.55 ... 0.95.
        ap50: average precision at IoU 0.50.
        ap75: average precision at IoU 0.75.
        ap_small: ``ap`` of masks below 32 x 32 pixels.
        ap_medium: ``ap`` of masks up to 96 x 96 pixels.
        ap_large: ``ap`` of larger masks.
        ar: average recall, mean over the same IoU thresholds.
    """

    max_detections: int
    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar: float


def coco_scores(
    predictions: Sequence[Instances],
    truths: Sequence[Instances],
    *,
    max_detections: Sequence[int] = MAX_DETECTIONS,
    by_class: bool = False,
) -> tuple[CocoScores, ...]:
    """COCO AP and AR over several images, one summary for each of ``max_detections``.

    Args:
        predictions: one per image; ranked by their scores.
        truths: true instances, in the same order.
        max_detections: positive, increasing.
        by_class: average over the classes, matched by name, instead of treating all cells as one class.

    Raises:
        ConfigError: if there is not one prediction per image, or ``max_detections`` do not increase.
    """
    if len(predictions) != len(truths) or len(truths) == 0:
        raise ConfigError(f"coco_scores: expected one prediction per image, got {len(predictions)} for {len(truths)}")
    if not max_detections or list(max_detections) != sorted(set(max_detections)) or max_detections[0] < 1:
        raise ConfigError(f"coco_scores: max_detections must be positive and increasing, got {tuple(max_detections)}")
    names = sorted({name for truth in truths for name in truth.class_names}) if by_class else ["cell"]
    truth_file = _truth_file(truths, names, by_class)
    results = [entry for image, found in enumerate(predictions, 1) for entry in _results(image, found, names, by_class)]
    evaluation = hotcoco.COCOeval(truth_file, truth_file.load_res(results), "segm")
    parameters = evaluation.params
    parameters.max_dets = list(max_detections)
    evaluation.params = parameters
    evaluation.evaluate()
    evaluation.accumulate()
    curves = evaluation.eval
    assert curves is not None
    precision, recall = np.asarray(curves["precision"]), np.asarray(curves["recall"])
    return tuple(_summary(precision[..., k], recall[..., k], limit) for k, limit in enumerate(max_detections))


def _truth_file(truths: Sequence[Instances], names: Sequence[str], by_class: bool) -> hotcoco.COCO:
    """The truths as COCO ground truth; images are numbered from 1, classes as in ``names`` from 1."""
    categories = [_categories(truth, names, by_class) for truth in truths]
    known = [truth.select(category > 0) for truth, category in zip(truths, categories, strict=True)]
    boxes = np.concatenate([truth.boxes for truth in known])[:, [1, 0, 3, 2]].astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return hotcoco.COCO.from_arrays(
        [{"id": image, "height": t.shape[0], "width": t.shape[1]} for image, t in enumerate(truths, 1)],
        [{"id": number, "name": name} for number, name in enumerate(names, 1)],
        np.repeat(np.arange(1, len(known) + 1), [len(truth) for truth in known]),
        np.concatenate([category[category > 0] for category in categories]),
        boxes,
        area=np.concatenate([truth.areas for truth in known]).astype(np.float64),
        segmentation=[rle for truth in known for rle in to_coco_rle(truth)],
    )


def _results(image: int, predictions: Instances, names: Sequence[str], by_class: bool) -> list[dict[str, Any]]:
    """The predictions of one image as entries of a COCO results file."""
    categories = _categories(predictions, names, by_class).tolist()
    rows = zip(categories, to_coco_rle(predictions), predictions.scores.tolist(), strict=True)
    return [
        {"image_id": image, "category_id": category, "segmentation": rle, "score": score}
        for category, rle, score in rows
        if category > 0
    ]


def _categories(instances: Instances, names: Sequence[str], by_class: bool) -> Int64Array:
    """``(N,)`` number of each instance's class in ``names``, from 1; 0 if it is not in it."""
    if not by_class:
        return np.ones(len(instances), np.int64)
    number = {name: position for position, name in enumerate(names, 1)}
    table = np.array([*(number.get(name, 0) for name in instances.class_names), 0], np.int64)
    chosen: Int64Array = table[instances.classes]  # class -1, unknown, uses the last entry
    return chosen


def _summary(precision: AnyArray, recall: AnyArray, limit: int) -> CocoScores:
    """Summarises ``(IoU, recall, class, area)`` precision and ``(IoU, class, area)`` recall, -1 without truth."""

    def mean(values: AnyArray) -> float:
        valid = values[values > -1]
        return float(valid.mean()) if len(valid) else float("nan")

    ap, small, medium, large = (mean(precision[..., area]) for area in range(4))
    ap50, ap75 = mean(precision[0, ..., 0]), mean(precision[5, ..., 0])
    return CocoScores(limit, ap, ap50, ap75, small, medium, large, mean(recall[..., 0]))
