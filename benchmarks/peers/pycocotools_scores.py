"""Measures COCO AP and AR of masks with pycocotools. Runs in the peers' environment.

    benchmarks/peers/run pycocotools_scores TRUTH RESULTS [--json FILE]

``TRUTH`` and ``RESULTS`` are COCO files. The figures are named as those of ``cytotome.metrics.coco.CocoScores``, for at
most 100 and 1,000 detections per image; reading the files is not timed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from samples import write_json

MAX_DETECTIONS = (100, 1000)


def mean(values: np.ndarray) -> float:
    """Mean of what is not -1, which says that there is no truth."""
    return float(values[values > -1].mean())


def main() -> None:
    """Scores one pair of files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth")
    parser.add_argument("results")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(options.truth)
        results = truth.loadRes(options.results)
        start = time.perf_counter()
        evaluation = COCOeval(truth, results, "segm")
        evaluation.params.maxDets = list(MAX_DETECTIONS)
        evaluation.evaluate()
        evaluation.accumulate()
        seconds = time.perf_counter() - start
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    scores = {
        str(limit): {
            "ap": mean(precision[..., 0, k]),
            "ap50": mean(precision[0, ..., 0, k]),
            "ap75": mean(precision[5, ..., 0, k]),
            "ap_small": mean(precision[..., 1, k]),
            "ap_medium": mean(precision[..., 2, k]),
            "ap_large": mean(precision[..., 3, k]),
            "ar": mean(recall[..., 0, k]),
        }
        for k, limit in enumerate(MAX_DETECTIONS)
    }
    write_json(options.json, {"seconds": seconds, "scores": scores})


if __name__ == "__main__":
    main()
