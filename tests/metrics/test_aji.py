from __future__ import annotations

import numpy as np
import pytest

from cytotome.metrics.aji import aggregated_jaccard_index
from cytotome.types import Instances


def reference(predicted, true):
    """Kumar's algorithm on dense masks: the best prediction of each truth, then what nobody took."""
    shared, union, used = 0, 0, set()
    for mask in true:
        ious = [np.sum(mask & other) / np.sum(mask | other) for other in predicted]
        best = int(np.argmax(ious)) if ious else -1
        if best < 0 or ious[best] == 0:
            union += np.sum(mask)
            continue
        shared += np.sum(mask & predicted[best])
        union += np.sum(mask | predicted[best])
        used.add(best)
    union += sum(np.sum(other) for index, other in enumerate(predicted) if index not in used)
    return shared / union


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 7, 8, 9])
def test_random_masks_agree_with_the_algorithm(seed, random_pair, dense):
    predictions, truth = random_pair(seed)
    found = aggregated_jaccard_index(predictions.overlaps(truth))
    assert found == pytest.approx(reference(dense(predictions), dense(truth)), abs=1e-12)


def test_real_masks_agree_with_the_algorithm(real_pairs, dense):
    predictions, truth = min(real_pairs.values(), key=lambda pair: len(pair[1]))
    found = aggregated_jaccard_index(predictions.overlaps(truth))
    assert found == pytest.approx(reference(dense(predictions), dense(truth)), abs=1e-12)


def test_worked_by_hand():
    """Truths of 20 and 10 pixels; 15 of the first are found, 5 pixels are predicted where nothing is."""
    truth, predictions = np.zeros((2, 10, 10), bool), np.zeros((2, 10, 10), bool)
    truth[0, :2], truth[1, 5] = True, True
    predictions[0].flat[:15], predictions[1, 9, :5] = True, True
    found = aggregated_jaccard_index(Instances.from_masks(predictions).overlaps(Instances.from_masks(truth)))
    assert found == pytest.approx(15 / (20 + 10 + 5))


def test_empty_images():
    nothing, something = Instances.empty((4, 6)), Instances.from_masks(np.ones((1, 4, 6), bool))
    assert aggregated_jaccard_index(nothing.overlaps(nothing)) == 1.0
    assert aggregated_jaccard_index(nothing.overlaps(something)) == 0.0
    assert aggregated_jaccard_index(something.overlaps(nothing)) == 0.0
    assert aggregated_jaccard_index(something.overlaps(something)) == 1.0
