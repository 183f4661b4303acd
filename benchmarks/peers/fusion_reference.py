"""Compares weighted boxes fusion and mask IoU with ensemble-boxes and pycocotools, on exported cases.

    python benchmarks/fusion.py --export cases.npz --data sartorius/
    benchmarks/peers/run fusion_reference cases.npz

Fails if they differ by more than the 32-bit arithmetic of ensemble-boxes allows.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import numpy as np
from ensemble_boxes import weighted_boxes_fusion
from pycocotools import mask as coco


def worst_box(case: dict[str, np.ndarray]) -> float:
    """Largest difference of a box or a score."""
    models = range(len(case["weights"]))
    lists = [[case[name][case["models"] == m] for m in models] for name in ("boxes", "scores")]
    labels = [np.zeros(len(scores)) for scores in lists[1]]
    boxes, scores, _ = weighted_boxes_fusion(*lists, labels, weights=case["weights"], iou_thr=0.5503)
    if len(boxes) != len(case["fused"]):
        raise SystemExit(f"ensemble-boxes has {len(boxes)} boxes, cytotome {len(case['fused'])}")
    theirs = np.column_stack([boxes, scores])
    ours = np.column_stack([case["fused"], case["fused_scores"]])
    distance = np.abs(theirs[:, None] - ours).max(axis=2)  # ties may come in any order
    return float(max(distance.min(axis=0).max(), distance.min(axis=1).max()))


def worst_iou(case: dict[str, np.ndarray]) -> float:
    """Largest difference of an IoU of two masks."""
    codes = []
    for first, last in zip(case["offsets"][:-1], case["offsets"][1:], strict=True):
        mask = np.zeros(case["shape"], np.uint8, order="F")
        for row, start, stop in case["runs"][first:last]:
            mask[row, start:stop] = 1
        codes.append(coco.encode(mask))
    expected = np.asarray(coco.iou(codes, codes, [0] * len(codes)))
    np.fill_diagonal(expected, 0)
    ours = np.zeros_like(expected)
    ours[np.repeat(np.arange(len(codes)), np.diff(case["graph"])), case["neighbours"]] = case["iou"]
    return float(np.abs(ours - expected).max())


def main() -> None:
    cases: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for name, values in np.load(sys.argv[1]).items():
        image, _, field = name.rpartition("/")
        cases[image][field] = values
    boxes = max(worst_box(case) for case in cases.values())
    iou = max(worst_iou(case) for case in cases.values())
    count = sum(len(case["scores"]) for case in cases.values())
    print(f"{len(cases)} images, {count} instances: largest difference of boxes {boxes:.2e}, of mask IoU {iou:.2e}")
    if boxes > 1e-5 or iou > 1e-12:
        raise SystemExit("they differ")


if __name__ == "__main__":
    main()
