"""The watershed family's targets and decoders on true masks: ceiling by type, levels and distance; times.

    python benchmarks/watershed.py ceiling DATA [--json FILE]
    python benchmarks/watershed.py speed DATA [--json FILE]

``ceiling`` scores ``decode(oracle(targets(truth)))`` by the challenge's mAP on all images with full masks: for
distances within the instance and over the union of all, for several numbers of levels, for the paper's cut (cells may
be parted anywhere) and with walls, and for the watershed. ``speed`` times targets and both decoders on the image with
the most cells of at least 520 x 704 pixels, one thread, kernels compiled before, beside
``skimage.segmentation.watershed`` and ``regionprops`` on the same energy and markers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import regionprops
from skimage.morphology import h_maxima
from skimage.segmentation import watershed as skimage_watershed

import cytotome as ct
from cytotome.families import get_family
from cytotome.metrics.challenge import image_score
from cytotome.ops.foreground import components
from cytotome.types import Instances

REPEATS = 15
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
    full = [(dataset.instances(i), info) for i, info in enumerate(dataset.infos) if info.mask_quality == "full"]
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
                row["over all"] = round(statistics.fmean(score for _, score in pairs), 3)
                rows.append(row)
                print(row, flush=True)
    return rows


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of the last run, and the shortest of a few runs in milliseconds."""
    spent = []
    work()
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        spent.append(time.perf_counter() - start)
    return result, round(1000 * min(spent), 2)


def plainly(energy: np.ndarray, mask: np.ndarray) -> list[Any]:
    """Markers, watershed and measured regions as one would write them with scikit-image."""
    markers, _ = components(h_maxima(energy.astype(np.int32), 1) > 0)
    return list(regionprops(skimage_watershed(-energy, markers, mask=mask)))


def speed(data: str) -> list[dict[str, Any]]:
    """Milliseconds, and ratios to scikit-image."""
    family = get_family("watershed")
    dataset = ct.open_dataset(data)
    config = family.config(class_names=dataset.class_names)
    truths = [truth for i in range(len(dataset)) if (truth := dataset.instances(i)) is not None]
    truth: Instances = max((one for one in truths if one.shape == (520, 704)), key=len)
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


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ceiling", "speed"))
    parser.add_argument("data")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = ceiling(arguments.data) if arguments.what == "ceiling" else speed(arguments.data)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
