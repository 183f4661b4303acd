"""Times and verifies the challenge's metric on 506 annotated images, against peers.

    .venv/bin/python benchmarks/metric.py [--data DIR] [--stardist] [--pycocotools] [--json FILE]

Truth is ``sartorius/annotations_without_images.json.gz``, 40,604 overlapping masks; the predictions are a copy with
each mask shifted by up to two pixels. Times are for one process, after one image that compiles the kernels.
``brute_force_difference`` is the maximum difference of an image's score from one that compares dense masks pair by pair
and solves an assignment at each threshold. ``--stardist`` and ``--pycocotools`` need the peers' environment, see
``benchmarks/peers/setup``; as StarDist takes label maps, cytotome is timed on the same ones too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from answer import give
from scipy.optimize import linear_sum_assignment

from cytotome.io.coco import read_coco, write_coco, write_coco_results
from cytotome.metrics.challenge import image_score, mean_score
from cytotome.metrics.coco import coco_scores
from cytotome.metrics.evaluate import evaluate
from cytotome.ops.runs import mask_crop, merge_runs
from cytotome.types import Instances

REPOSITORY = Path(__file__).resolve().parents[1]
PEERS = REPOSITORY / "benchmarks" / "peers" / "run"
REACH = 2


def jittered(truth: Instances, generator: np.random.Generator) -> Instances:
    """Shifts each mask by up to ``REACH`` pixels along both axes, cut at the image's edge, with a random score."""
    owners = np.repeat(np.arange(len(truth)), np.diff(truth.offsets))
    dy, dx = generator.integers(-REACH, REACH + 1, (2, len(truth)))
    rows = truth.runs[:, 0] + dy[owners]
    starts, stops = (truth.runs[:, 1:] + dx[owners, None]).clip(0, truth.shape[1]).T
    inside = (rows >= 0) & (rows < truth.shape[0]) & (starts < stops)
    runs, offsets = merge_runs(np.stack([rows, starts, stops], axis=1)[inside], owners[inside], len(truth))
    scores = generator.random(len(truth)).astype(np.float32)
    moved = replace(truth, runs=runs, offsets=offsets, scores=scores)
    return moved.select(moved.areas > 0)


def brute_force(predictions: Instances, truth: Instances) -> float:
    """The score computed from dense masks, pair by pair."""
    iou = np.zeros((len(truth), len(predictions)))
    crops, boxes = [mask_crop(predictions, j)[0] for j in range(len(predictions))], predictions.boxes
    for i in range(len(truth)):
        canvas = np.zeros(truth.shape, bool)
        mask, (y, x) = mask_crop(truth, i)
        canvas[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        for j, (y0, x0, y1, x1) in enumerate(boxes):
            shared = np.count_nonzero(canvas[y0:y1, x0:x1] & crops[j])
            iou[i, j] = shared / (np.count_nonzero(mask) + np.count_nonzero(crops[j]) - shared)
    scores = []
    for threshold in (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
        hits = (iou > threshold)[linear_sum_assignment(iou > threshold, maximize=True)].sum()
        scores.append(hits / (len(truth) + len(predictions) - hits))
    return float(np.mean(scores))


def median_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median wall-clock time of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peer(script: str, *arguments: str) -> dict[str, Any]:
    """The result of a script of ``benchmarks/peers``."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        subprocess.run([PEERS, script, *arguments, "--json", answer], check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


def against_stardist(predictions: list[Instances], truths: list[Instances]) -> dict[str, Any]:
    """Times of both on the same label maps, StarDist first."""
    pairs = [(found.to_label_map(), truth.to_label_map()) for found, truth in zip(predictions, truths, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        for index, (found, truth) in enumerate(pairs):
            np.savez_compressed(Path(folder) / f"{index:04}.npz", truth=truth, prediction=found)
        theirs = peer("stardist_matching", folder)

    def ours() -> float:
        return mean_score(
            [Instances.from_label_map(found) for found, _ in pairs],
            [Instances.from_label_map(truth) for _, truth in pairs],
        )

    return {
        "stardist_seconds": theirs["seconds"],
        "stardist_mean_accuracy": theirs["mean_accuracy"],
        "label_map_seconds": median_seconds(ours),
        "label_map_score": ours(),
    }


def against_pycocotools(predictions: list[Instances], truths: list[Instances]) -> dict[str, Any]:
    """Maximum difference of any COCO score, and both times; all cells are one class."""
    images = {
        index: replace(truth, classes=truth.classes * 0, class_names=("cell",)) for index, truth in enumerate(truths)
    }
    found = {
        index: replace(one, classes=one.classes * 0, class_names=("cell",)) for index, one in enumerate(predictions)
    }
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "truth.json", Path(folder) / "results.json"
        write_coco(files[0], images)
        write_coco_results(files[1], found)
        theirs = peer("pycocotools_scores", *map(str, files))
    start = time.perf_counter()
    ours = coco_scores(predictions, truths)
    seconds = time.perf_counter() - start
    differences = [
        abs(getattr(scores, name) - value)
        for scores in ours
        for name, value in theirs["scores"][str(scores.max_detections)].items()
    ]
    return {
        "pycocotools_seconds": theirs["seconds"],
        "coco_seconds": seconds,
        "coco_ap_1000": ours[-1].ap,
        "coco_greatest_difference": max(differences),
    }


def main() -> None:
    """Measures and prints all results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("CYTOTOME_DATA", REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--stardist", action="store_true")
    parser.add_argument("--pycocotools", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    file = read_coco(options.data / "sartorius" / "annotations_without_images.json.gz")
    truths = [file.instances(image.id) for image in file.images]
    generator = np.random.default_rng(0)
    predictions = [jittered(truth, generator) for truth in truths]
    named = [
        {str(image.id): one for image, one in zip(file.images, side, strict=True)} for side in (predictions, truths)
    ]
    evaluate({"first": predictions[0]}, {"first": truths[0]}, coco=False)
    pairs = list(zip(predictions, truths, strict=True))
    result: dict[str, Any] = {
        "images": len(truths),
        "masks": sum(map(len, truths)),
        "score": mean_score(predictions, truths),
        "score_kernel_rule": mean_score(predictions, truths, "kernel"),
        "seconds": median_seconds(lambda: mean_score(predictions, truths)),
        "evaluate_seconds_without_coco": median_seconds(lambda: evaluate(*named, coco=False), 3),
        "brute_force_difference": max(abs(image_score(*pair) - brute_force(*pair)) for pair in pairs),
    }
    if options.stardist:
        result |= against_stardist(predictions, truths)
        result["times_faster_than_stardist"] = result["stardist_seconds"] / result["seconds"]
        result["times_faster_than_stardist_on_label_maps"] = result["stardist_seconds"] / result["label_map_seconds"]
    if options.pycocotools:
        result |= against_pycocotools(predictions, truths)
    give(result, options.json)


if __name__ == "__main__":
    main()
