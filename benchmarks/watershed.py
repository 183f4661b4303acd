"""Measures targets and decoders of `watershed` on true masks: ceilings by type, levels and distance; times.

    python benchmarks/watershed.py ceiling DATA [--json FILE]
    python benchmarks/watershed.py speed DATA [--json FILE]
    python benchmarks/watershed.py overfit DATA [--json FILE] [--out FOLDER] [--steps N] [--side 256]
        [--stages NAME ...]

``ceiling`` scores ``decode(oracle(targets(truth)))`` by the challenge's mAP on all images with full masks: for
distances within the instance and over the union of all, for several numbers of levels, for the paper's cut (cells can
be split anywhere) and with walls, and for the watershed. ``speed`` measures the processor time of targets and both
decoders on the image with the most cells, on one thread, without compilation of the kernels, and that of
``skimage.segmentation.watershed`` and ``regionprops`` on the same energy. ``overfit`` trains the recipe ``watershed``
stage by stage, each starting from the previous model, on the densest crops of 256 x 256 pixels of a cort and an astro
image without augmentation, and prints how well each stage fits them: mean angle in degrees, accuracy of the energy
levels, and the challenge's mAP of the instances.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage.measure import regionprops
from skimage.morphology import h_maxima
from skimage.segmentation import watershed as skimage_watershed

import cytotome as ct
from cytotome.data.augment import Augmentation
from cytotome.families import get_family
from cytotome.metrics.challenge import image_score
from cytotome.ops.labels import components, from_layers, to_layers
from cytotome.types import Dataset, Instances, Sample, SampleInfo

REPEATS = 15
STAGES = ("semantic", "direction", "energy", "joint")
EDGES = {
    3: (3.0,),
    5: (2.0, 3.0, 5.0),
    9: (2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 14.0),
    17: (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 17.0, 20.0, 24.0, 28.0, 34.0),
}
DECODERS: dict[str, dict[str, Any]] = {
    "cut, as in the paper": {"decoder": "cut", "wall": 0.0},
    "cut at walls": {"decoder": "cut"},
    "watershed": {"decoder": "watershed", "wall": 0.0},
    "watershed at walls": {"decoder": "watershed"},
}


def ceiling(data: str) -> list[dict[str, Any]]:
    """One row for each distance, number of levels and decoder."""
    family = get_family("watershed")
    dataset = ct.open_dataset(data)
    full = [(dataset.instances(i), info) for i, info in enumerate(dataset.infos) if info.is_scored]
    truths = [(truth, info.cell_type) for truth, info in full if truth is not None]
    rows = []
    for distance in ("instance", "union"):
        for levels, edges in EDGES.items():
            config = family.config(class_names=dataset.class_names, distance=distance, level_edges=edges)
            scores: dict[str, list[tuple[str, float]]] = {name: [] for name in DECODERS}
            for truth, kind in truths:
                maps = family.oracle(family.targets(truth, config), config)
                for name, settings in DECODERS.items():
                    found = family.decode(maps, family.parameters(**settings), dataset.class_names)
                    scores[name].append((kind, image_score(found, truth)))
            for name, pairs in scores.items():
                row: dict[str, Any] = {"distance": distance, "levels": levels, "decoder": name}
                for kind in dict.fromkeys(kind for kind, _ in pairs):
                    row[kind] = round(statistics.fmean(score for other, score in pairs if other == kind), 3)
                row["overall"] = round(statistics.fmean(score for _, score in pairs), 3)
                rows.append(row)
                print(row, flush=True)
    return rows


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of the last run, and the processor time of the fastest of a few runs in milliseconds."""
    spent = []
    work()
    for _ in range(REPEATS):
        start = time.process_time()
        result = work()
        spent.append(time.process_time() - start)
    return result, round(1000 * min(spent), 2)


def plainly(energy: np.ndarray, mask: np.ndarray) -> list[Any]:
    """Markers, watershed and measured regions, implemented with scikit-image."""
    markers, _ = components(h_maxima(energy.astype(np.int32), 1) > 0)
    return list(regionprops(skimage_watershed(-energy, markers, mask=mask)))


def speed(data: str) -> list[dict[str, Any]]:
    """Milliseconds, and ratios to scikit-image."""
    cv2.setNumThreads(1)
    family = get_family("watershed")
    dataset = ct.open_dataset(data)
    config = family.config(class_names=dataset.class_names)
    truths = [truth for i in range(len(dataset)) if (truth := dataset.instances(i)) is not None]
    truth: Instances = max(truths, key=len)
    targets, targets_ms = timed(lambda: family.targets(truth, config))
    maps = family.oracle(targets, config)
    row: dict[str, Any] = {"cells": len(truth), "targets_ms": targets_ms}
    for name in ("cut", "watershed"):
        parameters = family.parameters(decoder=name)
        _, row[f"{name}_ms"] = timed(lambda parameters=parameters: family.decode(maps, parameters, config.class_names))
    energy = maps["energy"][0]
    _, row["skimage_ms"] = timed(lambda: plainly(energy, energy > 0))
    for name in ("cut", "watershed"):
        row[f"{name}_ratio"] = round(row["skimage_ms"] / row[f"{name}_ms"], 1)
    print(row)
    return [row]


class Crops(Dataset):
    """The crop with the most cell pixels of the first image of each of two cell types."""

    def __init__(self, data: str, side: int) -> None:
        source = ct.open_dataset(data)
        self.name, self.class_names = "crops", source.class_names
        self.samples = []
        for kind in ("cort", "astro"):
            index = next(
                i for i, info in enumerate(source.infos) if (info.cell_type, info.mask_quality) == (kind, "full")
            )
            sample = source[index]
            layers = to_layers(sample.instances)
            sums = cv2.boxFilter((layers[0] > 0).astype(np.float32), -1, (side, side), anchor=(0, 0), normalize=False)
            y, x = np.unravel_index(sums[:-side, :-side].argmax(), sums[:-side, :-side].shape)
            window = np.s_[y : y + side, x : x + side]
            truth = from_layers(np.ascontiguousarray(layers[(slice(None), *window)]), sample.instances)
            image = ct.Image(np.ascontiguousarray(sample.image.pixels[window]))
            self.samples.append(Sample(SampleInfo(sample.info.id, kind), image, truth.select(truth.areas >= 15)))
        self.infos = tuple(sample.info for sample in self.samples)

    def read(self, index: int) -> Sample:
        """One of the two."""
        return self.samples[index]


def last(folder: Path, column: str) -> float | None:
    """The last value of a column of a run's metrics."""
    with (folder / "metrics.csv").open(newline="") as handle:
        values = [row[column] for row in csv.DictReader(handle) if row.get(column)]
    return round(float(values[-1]), 4) if values else None


def overfit(data: str, out: Path, steps: int, side: int, stages: Sequence[str]) -> list[dict[str, Any]]:
    """One row per stage."""
    crops = Crops(data, side)
    rows: list[dict[str, Any]] = []
    weights: Path | None = None
    for stage in stages:
        changes = [
            f"schedule.only=[{stage}]",
            f"schedule.stages.{stage}={{steps: {steps}, learning_rate: 0.002}}",
            *(f"sampling.crop=[{side}, {side}]", "sampling.batch=2", "sampling.cell_bias=0", "sampling.workers=0"),
            *("schedule.ema=0.95", "schedule.weight_decay=0", "config.input_scale=1.0"),
            f"augmentation={Augmentation.none().model_dump_json()}",
            *([f"weights={weights}"] if weights else []),
        ]
        begun = time.perf_counter()
        weights = ct.train("watershed", crops, output=out / stage, overrides=changes, device="cpu")
        model = ct.load_model(weights)
        scores = [image_score(model.segment(sample.image), sample.instances) for sample in crops.samples]
        row: dict[str, Any] = {"stage": stage, "steps": steps, "seconds": round(time.perf_counter() - begun)}
        for name in ("entropy", "dice_cell", "dice_wall", "angle", "accuracy"):
            value = last(out / stage, f"{stage}/net/{name}")
            row |= {} if value is None else {name: value}
        row["map"] = round(statistics.fmean(scores), 3)
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ceiling", "speed", "overfit"))
    parser.add_argument("data")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/watershed-overfit"))
    parser.add_argument("--steps", type=int, default=450, help="of each stage")
    parser.add_argument("--side", type=int, default=256, help="of the crops")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    arguments = parser.parse_args()
    if arguments.what == "overfit":
        rows = overfit(arguments.data, arguments.out, arguments.steps, arguments.side, arguments.stages)
    else:
        rows = ceiling(arguments.data) if arguments.what == "ceiling" else speed(arguments.data)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
