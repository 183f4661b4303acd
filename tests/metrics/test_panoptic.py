from __future__ import annotations

import numpy as np
import pytest

from cytotome.metrics.panoptic import panoptic_quality
from cytotome.types import Instances


def reference(predicted, true):
    """Kirillov's definition on label maps, where a pair above 0.5 is the only one of both."""
    hits = []
    for label in np.unique(true[true > 0]):
        for other in np.unique(predicted[(true == label) & (predicted > 0)]):
            shared = np.sum((true == label) & (predicted == other))
            iou = shared / np.sum((true == label) | (predicted == other))
            hits += [iou] if iou > 0.5 else []
    truths, predictions = len(np.unique(true[true > 0])), len(np.unique(predicted[predicted > 0]))
    false, missed = predictions - len(hits), truths - len(hits)
    return sum(hits) / (len(hits) + false / 2 + missed / 2)


def agrees(predictions, truth):
    predicted, true = predictions.to_label_map(), truth.to_label_map()
    quality = panoptic_quality(Instances.from_label_map(predicted).overlaps(Instances.from_label_map(true)))
    assert quality.quality == pytest.approx(reference(predicted, true), abs=1e-12)
    assert quality.quality == pytest.approx(quality.segmentation * quality.recognition, abs=1e-12)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 7, 8, 9])
def test_random_label_maps_agree_with_the_definition(seed, random_pair):
    agrees(*random_pair(seed))


def test_real_label_maps_agree_with_the_definition(real_pairs):
    for predictions, truth in list(real_pairs.values())[:3]:
        agrees(predictions, truth)


def test_overlapping_masks_take_the_better_of_two_predictions():
    masks = np.zeros((2, 10, 10), bool)
    masks[0, :6], masks[1, :8] = True, True  # IoU 0.6 and 0.8 with the truth, the whole image
    truth = Instances.from_masks(np.ones((1, 10, 10), bool))
    quality = panoptic_quality(Instances.from_masks(masks).overlaps(truth))
    assert quality.segmentation == pytest.approx(0.8)
    assert quality.recognition == pytest.approx(1 / (1 + 0.5))


def test_empty_images():
    nothing, something = Instances.empty((4, 6)), Instances.from_masks(np.ones((1, 4, 6), bool))
    assert panoptic_quality(nothing.overlaps(nothing)).quality == 1.0
    assert panoptic_quality(nothing.overlaps(something)).quality == 0.0
    assert panoptic_quality(something.overlaps(nothing)).recognition == 0.0
