"""Weighted boxes fusion against the paper's steps; ``benchmarks/peers`` compares with the package."""

from __future__ import annotations

import numpy as np
import pytest

from cytotome.errors import DataError
from cytotome.ops.boxes import weighted_boxes_fusion
from cytotome.types import AnyArray


def overlap(a: AnyArray, b: AnyArray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def reference(boxes: AnyArray, scores: AnyArray, classes: AnyArray, models: AnyArray, weights: AnyArray, limit: float):
    """Section 3 of arXiv 1910.13302, step by step, with lists."""
    ranked = sorted(range(len(boxes)), key=lambda i: -scores[i] * weights[models[i]])
    clusters: list[list[int]] = []
    fused: list[AnyArray] = []
    for i in ranked:
        ious = [
            overlap(box, boxes[i]) if classes[c[0]] == classes[i] else -1
            for box, c in zip(fused, clusters, strict=True)
        ]
        if ious and max(ious) > limit:
            best = int(np.argmax(ious))
            clusters[best].append(i)
            share = np.array([scores[k] * weights[models[k]] for k in clusters[best]])
            fused[best] = (boxes[clusters[best]] * share[:, None]).sum(axis=0) / share.sum()
        else:
            clusters.append([i])
            fused.append(boxes[i])
    final = [
        np.mean([scores[k] * weights[models[k]] for k in c]) * min(len(weights), len(c)) / sum(weights)
        for c in clusters
    ]
    order = np.argsort(-np.array(final), kind="stable")
    return np.array(fused)[order], np.array(final)[order], [clusters[k] for k in order]


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_paper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = np.repeat(rng.uniform(0, 80, (30, 2)), 4, axis=0) + rng.normal(0, 2, (120, 2))
    boxes = np.hstack([corners, corners + rng.uniform(8, 14, (120, 2))])
    scores, classes = rng.random(120), rng.integers(0, 2, 120)
    models, weights = np.sort(rng.integers(0, 3, 120)), np.array([1.0, 2.0, 0.5])
    expected = reference(boxes, scores, classes, models, weights, 0.5)
    found = weighted_boxes_fusion(boxes, scores, classes, models, weights, threshold=0.5)
    np.testing.assert_allclose(found.boxes, expected[0], rtol=1e-12)
    np.testing.assert_allclose(found.scores, expected[1], rtol=1e-12)
    assert [sorted(np.flatnonzero(found.cluster == k)) for k in range(len(found.boxes))] == [
        sorted(c) for c in expected[2]
    ]
    assert all(classes[c[0]] == found.classes[k] for k, c in enumerate(expected[2]))


def test_a_box_without_area_takes_no_part() -> None:
    found = weighted_boxes_fusion([[0, 0, 4, 4], [2, 2, 2, 9]], [0.9, 0.8], [0, 0], [0, 0], [1.0], threshold=0.5)
    assert found.cluster.tolist() == [0, -1]
    assert len(found.boxes) == 1


def test_wrong_lengths_and_weights_are_named() -> None:
    with pytest.raises(DataError, match="one score, class and model per box"):
        weighted_boxes_fusion(np.zeros((2, 4)), [1.0], [0, 0], [0, 0], [1.0], threshold=0.5)
    with pytest.raises(DataError, match="weights must be positive"):
        weighted_boxes_fusion(np.zeros((1, 4)), [1.0], [0], [0], [0.0], threshold=0.5)
