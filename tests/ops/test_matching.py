from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from cytotome.errors import DataError
from cytotome.metrics.challenge import image_score
from cytotome.ops.matching import THRESHOLDS, Overlaps, best_matching, count_matches, mean_precision
from cytotome.types import Instances


def made_of(iou) -> Overlaps:
    """Overlaps whose IoU are whole percents, given as ``(truths, predictions)`` integers."""
    iou = np.asarray(iou)
    truth, prediction = np.nonzero(iou)
    return Overlaps(
        truth.astype(np.int32),
        prediction.astype(np.int32),
        iou[truth, prediction].astype(np.int64),
        np.full(len(truth), 100),
        np.full(iou.shape[0], 100),
        np.full(iou.shape[1], 100),
    )


def test_thresholds_are_the_doubles_of_their_decimal_text():
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@pytest.mark.parametrize("seed", range(30))
def test_overlaps_equal_those_of_dense_masks(seed, random_pair, dense_iou):
    predictions, truth = random_pair(seed)
    found = predictions.overlaps(truth)
    iou = np.zeros((len(truth), len(predictions)))
    iou[found.truth, found.prediction] = found.iou
    np.testing.assert_allclose(iou, dense_iou(predictions, truth), atol=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_counts_equal_an_assignment_of_dense_masks(seed, random_pair, dense_iou):
    predictions, truth = random_pair(seed)
    iou = dense_iou(predictions, truth)
    expected = [(iou > t)[linear_sum_assignment(iou > t, maximize=True)].sum() for t in THRESHOLDS]
    assert count_matches(predictions.overlaps(truth)).tolist() == expected


def test_counts_equal_an_assignment_of_real_masks(real_pairs, dense_iou):
    for predictions, truth in real_pairs.values():
        iou = dense_iou(predictions, truth)
        expected = [(iou > t)[linear_sum_assignment(iou > t, maximize=True)].sum() for t in THRESHOLDS]
        assert count_matches(predictions.overlaps(truth)).tolist() == expected


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
def test_counts_equal_hopcroft_karp_on_tangled_graphs(density):
    generator = np.random.default_rng(3)
    iou = generator.integers(1, 101, (90, 70)) * (generator.random((90, 70)) < density)
    sizes = count_matches(made_of(iou), (0.2, 0.9, 0.5))
    for threshold, size in zip((20, 90, 50), sizes, strict=True):
        assert size == (maximum_bipartite_matching(csr_array(iou > threshold)) >= 0).sum()


def test_a_chain_is_followed_to_its_free_end():
    """Greedy by IoU pairs each truth with the prediction that the one before needs; only one long path frees them."""
    length = 200
    chain = np.zeros((length, length), int)
    chain[np.arange(length), np.arange(length)] = 60
    chain[np.arange(1, length), np.arange(length - 1)] = 80
    assert count_matches(made_of(chain), (0.5, 0.7)).tolist() == [length, length - 1]


def test_iou_equal_to_a_threshold_is_no_match():
    truth, prediction = np.zeros((1, 5, 5), bool), np.zeros((1, 5, 5), bool)
    truth[0].flat[:20] = True
    for pixels in range(10, 20):
        prediction[:] = False
        prediction[0].flat[:pixels] = True  # IoU is pixels / 20, a threshold
        sizes = count_matches(Instances.from_masks(prediction).overlaps(Instances.from_masks(truth)))
        assert sizes.tolist() == [int(pixels > step) for step in range(10, 20)]


def test_two_truths_share_two_predictions_though_one_fits_both():
    """The large prediction fits both truths, the small one fits the second alone; each counts once."""
    assert count_matches(made_of([[70, 0], [80, 60]]), (0.5,)).tolist() == [2]
    assert count_matches(made_of([[70], [80]]), (0.5,)).tolist() == [1]


def brute_force_best(iou, threshold):
    """Greatest (pairs, sum of IoU) over all ways to pair truths with predictions."""
    small = iou if iou.shape[0] <= iou.shape[1] else iou.T
    best = (0, 0.0)
    for columns in permutations(range(small.shape[1]), small.shape[0]):
        values = small[np.arange(small.shape[0]), list(columns)]
        values = values[values > threshold * 100]
        best = max(best, (len(values), values.sum() / 100))
    return best


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5))
def test_best_matching_equals_brute_force(seed, truths, predictions):
    generator = np.random.default_rng(seed)
    iou = generator.integers(1, 101, (truths, predictions)) * (generator.random((truths, predictions)) < 0.7)
    overlaps = made_of(iou)
    pairs = best_matching(overlaps)
    assert len(np.unique(overlaps.truth[pairs])) == len(np.unique(overlaps.prediction[pairs])) == len(pairs)
    count, total = brute_force_best(iou, 0.5)
    assert len(pairs) == count == count_matches(overlaps, (0.5,))[0]
    assert overlaps.iou[pairs].sum() == pytest.approx(total, abs=1e-12)


def test_nothing_against_nothing_and_against_something():
    nothing, something = Instances.empty((4, 6)), Instances.from_masks(np.ones((2, 4, 6), bool))
    for predictions, truth in [(nothing, nothing), (nothing, something), (something, nothing)]:
        overlaps = predictions.overlaps(truth)
        assert count_matches(overlaps).tolist() == [0] * 10
        assert len(best_matching(overlaps)) == 0
        assert overlaps.both_empty == (predictions is truth)
    assert count_matches(something.overlaps(something), ()).tolist() == []


def test_images_of_different_size_are_refused():
    with pytest.raises(DataError, match=r"\(4, 7\) and \(4, 6\)"):
        Instances.empty((4, 6)).overlaps(Instances.empty((4, 7)))


@pytest.mark.parametrize("seed", range(10))
def test_the_mean_precision_is_the_challenges_score(seed, random_pair):
    predictions, truth = random_pair(seed)
    assert mean_precision(predictions.overlaps(truth)) == pytest.approx(image_score(predictions, truth))


def test_nothing_found_where_nothing_is_has_a_mean_precision_of_one():
    nothing = Instances.empty((8, 8))
    assert mean_precision(nothing.overlaps(nothing)) == 1.0


@pytest.mark.parametrize("seed", range(10))
def test_the_best_truth_of_each_prediction_is_that_of_dense_masks(seed, random_pair, dense_iou):
    predictions, truth = random_pair(seed)
    best, place = predictions.overlaps(truth).best_truths()
    iou = dense_iou(predictions, truth)
    expected = iou.max(axis=0, initial=0)
    np.testing.assert_allclose(best, expected)
    assert ((place >= 0) == (expected > 0)).all()
    hit = np.flatnonzero(place >= 0)
    np.testing.assert_allclose(iou[place[hit], hit], expected[hit])


@pytest.mark.parametrize("seed", range(10))
def test_overlaps_of_selected_predictions_are_those_of_these_alone(seed, random_pair):
    predictions, truth = random_pair(seed)
    keep = np.random.default_rng(seed).random(len(predictions)) < 0.6
    selected = predictions.overlaps(truth).select_predictions(keep)
    alone = predictions.select(keep).overlaps(truth)
    for name in ("truth", "prediction", "intersection", "union", "truth_areas", "prediction_areas"):
        np.testing.assert_array_equal(getattr(selected, name), getattr(alone, name))
