"""Measures what a model finds in images whose cells are smaller or larger than its training cells.

    python benchmarks/cell_size.py MODEL DATA... [--fold K] [--sizes 0.5 1 2] [--json FILE]

Every labelled image is resized, with its truth, by each of the sizes, and segmented with ``scale=1``, by default, and
with the typical diameter of its cells given. Prints F1 at IoU 0.5 and the cells found, by dataset and cell type, and
the number of images whose scale the package changed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from answer import give

from cytotome.datasets import open_dataset
from cytotome.ensemble.load import load_model
from cytotome.inference.scale import resized_image, resized_instances
from cytotome.models.cell_size import diameter
from cytotome.ops.matching import count_matches
from cytotome.types import Instances, Sample

WAYS = ("as it is", "by itself", "told")


def samples(path: str, fold: int | None) -> Iterator[tuple[str, Sample]]:
    """The labelled images of a dataset, or of one fold if it has folds, with the name of their row."""
    dataset = open_dataset(path)
    folds = {info.fold for info in dataset.infos} - {None}
    for place, info in enumerate(dataset.infos):
        if info.is_scored and (not folds or fold is None or info.fold == fold):
            yield f"{dataset.name} {info.cell_type}".strip(), dataset[place]


def count(found: Instances, truth: Instances) -> Any:
    """Hits, found and true cells."""
    return np.array([count_matches(found.overlaps(truth), [0.5])[0], len(found), len(truth)])


def main() -> None:
    """Measures all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", nargs="+")
    parser.add_argument("--fold", type=int)
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.5, 1, 2])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = load_model(options.model)
    counts: dict[tuple[str, float], Any] = defaultdict(lambda: np.zeros((len(WAYS), 3), int))
    changed: dict[tuple[str, float], list[bool]] = defaultdict(list)
    for path in options.data:
        for name, sample in samples(path, options.fold):
            for size in options.sizes:
                image = resized_image(sample.image, size)
                truth = resized_instances(sample.instances, image.shape)  # type: ignore[arg-type]
                typical = diameter(truth.areas)
                ways: list[dict[str, float]] = [
                    {"scale": 1.0},
                    {},
                    {"diameter": typical} if typical else {"scale": 1.0},
                ]
                found = [model.segment(image, **way) for way in ways]
                counts[name, size] += np.stack([count(cells, truth) for cells in found])
                changed[name, size].append(not np.array_equal(found[0].runs, found[1].runs))
    rows = []
    for (name, size), table in sorted(counts.items()):
        row: dict[str, Any] = {"images": name, "size": size, "cells": int(table[0, 2])}
        for way, (hits, found, true) in zip(WAYS, table.tolist(), strict=True):
            row |= {f"F1 {way}": round(2 * hits / max(1, found + true), 2), f"found {way}": found}
        rows.append(row | {"changed": f"{sum(changed[name, size])} of {len(changed[name, size])}"})
    give({"model": options.model, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
