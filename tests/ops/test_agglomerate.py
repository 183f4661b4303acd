"""Clustering of pixels beside SciPy's average linkage, brute force, and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from cytotome.ops.agglomerate import (
    absorb_small,
    connected_clusters,
    distinct_pairs,
    grow_pieces,
    join_across_gaps,
    merge_neighbours,
    near_pairs,
    neighbour_pairs,
    number_pixels,
)
from cytotome.ops.grow import grow_labels
from cytotome.ops.linkage import cluster_vectors


def _same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = len(np.unique(np.stack([first.ravel(), second.ravel()]), axis=1).T)
    return len(np.unique(first)) == len(np.unique(second)) == pairs


def _unit(rng: np.random.Generator, count: int, dimensions: int = 5) -> np.ndarray:
    vectors = rng.standard_normal((count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(0, 10_000), st.integers(2, 60), st.floats(-0.9, 0.95))
def test_clusters_of_all_pairs_are_those_of_scipy(seed: int, count: int, threshold: float) -> None:
    vectors = _unit(np.random.default_rng(seed), count)
    tree = linkage(vectors.astype(np.float64), method="average", metric="cosine")
    if np.abs(tree[:, 2] - (1 - threshold)).min() < 1e-5:
        return  # the cut falls on a merge, where the last digit decides
    theirs = fcluster(tree, 1 - threshold, criterion="distance")
    assert _same_partition(cluster_vectors(vectors, threshold), theirs)


@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(-0.9, 0.95))
def test_neighbours_that_all_know_each_other_cluster_as_in_scipy(seed: int, count: int, threshold: float) -> None:
    vectors = _unit(np.random.default_rng(seed), count)
    tree = linkage(vectors.astype(np.float64), method="average", metric="cosine")
    if np.abs(tree[:, 2] - (1 - threshold)).min() < 1e-4 or np.diff(tree[:, 2]).min(initial=1) < 1e-6:
        return
    pairs = np.stack(np.triu_indices(count, 1), axis=1).astype(np.int32)
    parent, _ = merge_neighbours(vectors.copy(), np.ones(count, np.float32), pairs, np.float32(threshold))
    assert _same_partition(parent, fcluster(tree, 1 - threshold, criterion="distance"))


def _rounds(vectors: np.ndarray, pairs: np.ndarray, threshold: float) -> np.ndarray:
    """Couples that are each other's most similar neighbour, all of a round at once, by brute force."""
    member = np.arange(len(vectors))
    while True:
        best: dict[int, tuple[float, int]] = {}
        for x, y in {tuple(pair) for pair in member[pairs].tolist() if pair[0] != pair[1]}:
            similarity = float(vectors[member == x].mean(axis=0) @ vectors[member == y].mean(axis=0))
            if similarity > threshold:
                best[x] = max(best.get(x, (-2.0, -1)), (similarity, y))
                best[y] = max(best.get(y, (-2.0, -1)), (similarity, x))
        couples = [(a, b) for a, (_, b) in best.items() if a < b and best[b][1] == a]
        if not couples:
            return member
        for a, b in couples:
            member[member == b] = a


@pytest.mark.parametrize("seed", range(6))
def test_neighbours_merge_in_rounds_of_mutual_couples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers, count = number_pixels(rng.random((7, 9)) < 0.85)
    vectors = _unit(rng, count, 3)
    pairs = neighbour_pairs(numbers)
    expected = _rounds(vectors.astype(np.float64), pairs, 0.3)
    parent, edges = merge_neighbours(vectors.copy(), np.ones(count, np.float32), pairs.copy(), np.float32(0.3))
    assert _same_partition(parent, expected)
    assert (parent[edges[:, 0]] != parent[edges[:, 1]]).all()


def test_pairs_touch_by_edges_and_by_lone_corners() -> None:
    mask = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 0]], bool)
    numbers, count = number_pixels(mask)
    assert count == 4
    assert {tuple(sorted(pair)) for pair in neighbour_pairs(numbers).tolist()} == {(0, 1), (1, 2)}
    full, _ = number_pixels(np.ones((2, 2), bool))
    assert {tuple(sorted(pair)) for pair in neighbour_pairs(full).tolist()} == {(0, 1), (2, 3), (0, 2), (1, 3)}


def test_pieces_stay_in_their_squares_and_hold_like_vectors() -> None:
    rng = np.random.default_rng(0)
    planes = np.repeat(np.repeat(rng.standard_normal((4, 5, 6)), 5, axis=1), 5, axis=2).astype(np.float32)
    numbers, count = number_pixels(rng.random((25, 30)) < 0.9)
    vectors = planes[:, numbers >= 0].T.copy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pieces, sums, sizes = grow_pieces(vectors, numbers, np.float32(0.99), 8)
    np.testing.assert_array_equal(np.bincount(pieces), sizes)
    for piece in range(len(sizes)):
        ys, xs = np.nonzero(numbers >= 0)
        own = pieces == piece
        assert len({(y // 8, x // 8) for y, x in zip(ys[own], xs[own], strict=True)}) == 1
        np.testing.assert_allclose(vectors[own].sum(axis=0), sums[piece], atol=1e-4)
        assert np.ptp(vectors[own], axis=0).max() < 1e-6
    assert len(sizes) < count / 4


def test_distinct_pairs_name_each_couple_once() -> None:
    pieces = np.array([0, 0, 1, 2, 1], np.int32)
    pairs = np.array([[0, 1], [1, 2], [4, 0], [2, 3], [3, 4]], np.int32)
    assert distinct_pairs(pieces, pairs).tolist() == [[0, 1], [1, 2]]


def test_small_clusters_go_to_their_most_similar_neighbour() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    parent = np.arange(3, dtype=np.int32)
    sums, sizes = vectors * np.array([[10], [2], [10]], np.float32), np.array([10, 2, 10], np.float32)
    absorb_small(parent, sums, sizes, np.array([[0, 1], [1, 2]], np.int32), 3)
    assert parent.tolist() == [0, 0, 2]
    np.testing.assert_allclose(sums[0], [11.6, 1.2])
    lone = np.arange(1, dtype=np.int32)
    absorb_small(lone, sums[:1], np.ones(1, np.float32), np.zeros((0, 2), np.int32), 5)
    assert lone.tolist() == [0]


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2])
def test_a_mosaic_comes_back_from_noisy_vectors(noise: float) -> None:
    rng = np.random.default_rng(3)
    truth = np.arange(1, 49).reshape(6, 8).repeat(16, axis=0).repeat(16, axis=1)
    vectors = _unit(rng, 49, 16)
    planes = vectors[truth].transpose(2, 0, 1) + noise * rng.standard_normal((16, *truth.shape)).astype(np.float32)
    labels, count = connected_clusters(np.ascontiguousarray(planes, np.float32), np.ones(truth.shape, bool), 0.55)
    assert count == 48
    assert np.unique(labels).tolist() == list(range(1, 49))
    joined = np.stack([labels.ravel(), truth.ravel()])
    _, sizes = np.unique(joined, axis=1, return_counts=True)
    assert np.sort(sizes)[-48:].sum() >= 0.995 * truth.size


def test_an_empty_mask_has_no_cluster() -> None:
    labels, count = connected_clusters(np.ones((2, 5, 6), np.float32), np.zeros((5, 6), bool), 0.5)
    assert count == 0
    assert not labels.any()


def test_parts_are_joined_across_what_hides_them() -> None:
    labels = np.zeros((9, 20), np.int32)
    labels[2:7, :8], labels[:, 8:11], labels[2:7, 11:] = 1, 2, 3
    means = np.array([[0, 0], [0.5, 0], [0, 1], [0.7, 0.01]], np.float32)
    areas = np.bincount(labels.ravel())
    joined, count = join_across_gaps(labels, means, areas, 0.95, 4)
    assert count == 2
    assert joined[4, 0] == joined[4, 19] != joined[4, 9]
    assert (joined == 0).sum() == (labels == 0).sum()
    apart, count = join_across_gaps(labels, means, areas, 0.95, 3)
    assert count == 3
    assert _same_partition(apart, labels)


def test_near_pairs_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, (12, 15)).astype(np.int32)
    expected = set()
    for y, x in np.ndindex(labels.shape):
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            if y + dy < 12 and 0 <= x + dx < 15:
                a, b = int(labels[y, x]), int(labels[y + dy, x + dx])
                if a and b and a != b:
                    expected.add((min(a, b), max(a, b)))
    assert {tuple(sorted(pair)) for pair in near_pairs(labels, 1).tolist()} == expected


def test_labels_grow_by_the_way_within_the_mask() -> None:
    mask = np.ones((5, 9), bool)
    mask[:4, 4] = False
    labels = np.zeros((5, 9), np.int32)
    labels[0, 3], labels[0, 8] = 1, 2
    grown = labels.copy()
    grow_labels(grown, mask, 100)
    assert (grown[mask] > 0).all()
    assert not grown[~mask].any()
    assert (grown[0, 5:] == 2).all()
    grow_labels(labels, mask, 1)
    assert np.argwhere(labels == 1).tolist() == [[0, 2], [0, 3], [1, 3]]
