"""Times flow targets and decoding of the family `flow` against Cellpose's on the same images and flows.

    python benchmarks/peers/export.py DATA SAMPLES
    benchmarks/peers/run cellpose_dynamics flows SAMPLES FLOWS --json FLOWS.json
    benchmarks/peers/run cellpose_dynamics masks FLOWS MASKS --json MASKS.json
    python benchmarks/flows.py DATA FLOWS MASKS FLOWS.json MASKS.json [--json FILE]

FLOWS are Cellpose's own training flows of the truth; both decoders use them, each with its default thresholds and a
minimum size of 15 pixels. Times are for one thread of cytotome and the number of threads in the JSON files for
Cellpose, without compilation of the kernels.
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
from answer import give

import cytotome as ct
from cytotome.families import get_family
from cytotome.metrics.challenge import image_score
from cytotome.ops.flows import flow_field

REPEATS = 3


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and the duration of the fastest of a few runs in seconds."""
    spent = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        spent.append(time.perf_counter() - start)
    return result, min(spent)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "flows", "masks", "flows_json", "masks_json"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    peers = [json.loads(path.read_text())["seconds"] for path in (arguments.flows_json, arguments.masks_json)]
    family = get_family("flow")
    parameters = family.parameters(min_area=15)
    rows: list[dict[str, float]] = []
    for sample in ct.open_dataset(arguments.data):
        path = arguments.flows / f"{sample.info.id}.npz"
        if not sample.info.is_scored or not path.is_file():
            continue
        with np.load(path) as file:
            maps = {"flow": file["flow"], "cell": file["cell"]}
        with np.load(arguments.masks / path.name) as file:
            theirs = ct.from_label_map(file["labels"])
        labels = sample.instances.to_label_map()
        _, targets_seconds = timed(lambda labels=labels: flow_field(labels))
        found, decode_seconds = timed(lambda maps=maps: family.decode(maps, parameters, ("cell",)))
        rows.append(
            {
                "targets": targets_seconds,
                "labels_to_flows": peers[0][sample.info.id],
                "decode": decode_seconds,
                "compute_masks": peers[1][sample.info.id],
                "map": image_score(found, sample.instances),
                "cellpose_map": image_score(theirs, sample.instances),
            }
        )
    table = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
    table |= {
        "images": len(rows),
        "targets_ratio": table["labels_to_flows"] / table["targets"],
        "decode_ratio": table["compute_masks"] / table["decode"],
    }
    give({name: round(value, 5) for name, value in table.items()}, arguments.json)


if __name__ == "__main__":
    main()
