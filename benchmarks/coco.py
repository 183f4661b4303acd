"""Measures COCO AP and AR of models on folds they were not trained on, and updates the table in docs/accuracy.md.

    python benchmarks/coco.py DATA "rcnn=runs/rcnn/rcnn-r50-small.safetensors:0" "flow=neurons:0"

DATA is a dataset with folds, such as `sartorius/`. Instances with low scores count too (--min-score), as COCO AP
requires. Cell types are ignored, so that a cell of another type counts. Results are stored in
benchmarks/results/coco.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from page import put_table
from rich.progress import track

from cytotome.datasets import open_dataset, splits
from cytotome.inference.model import load_single_model
from cytotome.io.files import atomic_path
from cytotome.metrics.coco import coco_scores
from cytotome.types import Dataset

RESULTS = Path(__file__).parent / "results" / "coco.json"
LIMITS = (100, 300, 1000)


def rows_of(path: str, fold: int, dataset: Dataset, min_score: float) -> list[dict[str, Any]]:
    """One row per cell type and one for all images, for each maximum number of detections."""
    model = load_single_model(path)
    samples = [dataset[i] for i in splits(dataset, fold)[1] if dataset.infos[i].is_scored]
    found = [model.segment(one.image, min_score=min_score) for one in track(samples, path, transient=True)]
    kinds = sorted({one.info.cell_type for one in samples})
    rows = []
    for kind in (*kinds, "all"):
        chosen = [i for i, one in enumerate(samples) if kind in ("all", one.info.cell_type)]
        truths = [truth for i in chosen if (truth := samples[i].instances) is not None]
        rows += [
            {"images": kind, **asdict(one)}
            for one in coco_scores([found[i] for i in chosen], truths, max_detections=LIMITS)
        ]
    return rows


def write_table(kept: dict[str, Any]) -> None:
    """Writes the table to the page, between its two marks."""
    lines = ["| method | images | max detections | AP | AP 50 | AP 75 | AR |", "|" + "---|" * 7]
    for name, rows in kept.items():
        for row in rows:
            figures = (f"{row[key]:.3f}" for key in ("ap", "ap50", "ap75", "ar"))
            lines.append(f"| {name} | {row['images']} | {row['max_detections']} | {' | '.join(figures)} |")
    put_table("coco", lines)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("models", nargs="+", metavar="NAME=PATH:FOLD")
    parser.add_argument("--min-score", type=float, default=0.05)
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    kept: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for text in options.models:
        name, _, place = text.partition("=")
        path, _, fold = place.rpartition(":")
        kept[name] = rows_of(path, int(fold), dataset, options.min_score)
    with atomic_path(RESULTS) as temporary:
        temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    write_table(kept)


if __name__ == "__main__":
    main()
