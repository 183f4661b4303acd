"""Times kernels on two threads relative to one; 1 means twice the work in the same time.

    .venv/bin/python benchmarks/kernels.py [--size 1024] [--calls 5] [--repeats 60] [--json FILE]

A kernel that holds Python's lock would give 2. Images are synthetic. One and two threads are timed alternately, and the
fastest repeat of each is used, since other work on the machine only slows them down. ``sha256 (control)`` is Python's
own hash of 1 MB, which releases the lock: the ratio that the machine itself reaches.
"""

from __future__ import annotations

import argparse
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from answer import give

from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.measurement.morphology import measure_cells
from cytotome.ops.flows import flow_maps
from cytotome.ops.labels import label_means, to_layers
from cytotome.ops.sinks import follow_flows
from cytotome.ops.soft_masks import from_grids, mask_grids, paste
from cytotome.ops.transpose import transpose
from cytotome.types import Instances

Work = Callable[[], object]
CONTROL = "sha256 (control)"


def works(size: int) -> dict[str, Work]:
    """The timed functions, by name, on a synthetic image of ``size`` x ``size`` pixels."""
    sample = SyntheticDataset(1, shape=(size, size))[0]
    cells = sample.instances
    assert cells is not None
    many = cells.select(np.tile(np.arange(len(cells)), 8))  # so that the kernel outweighs its call from Python
    labels = cells.to_label_map()
    maps = flow_maps(labels)
    soft = from_grids(mask_grids(cells, cells.boxes, 28), cells.boxes)
    data = bytes(1 << 20)
    return {
        "from_label_map": lambda: Instances.from_label_map(labels),
        "to_label_map": lambda: many.to_label_map(),
        "to_layers": lambda: to_layers(cells),
        "overlaps": lambda: many.overlaps(cells),
        "transpose": lambda: transpose(many),
        "label_means": lambda: label_means(labels, maps["flow"], int(labels.max())),
        "follow_flows": lambda: follow_flows(maps["flow"], labels > 0),
        "paste": lambda: paste(soft, cells.shape),
        "measure_cells": lambda: measure_cells(cells, sample.image),
        CONTROL: lambda: hashlib.sha256(data),
    }


def seconds(work: Work, threads: int, calls: int) -> float:
    """Wall time in which each of several threads, started together, does the work several times."""
    barrier = threading.Barrier(threads + 1)

    def run() -> None:
        barrier.wait()
        for _ in range(calls):
            work()

    started = [threading.Thread(target=run) for _ in range(threads)]
    for thread in started:
        thread.start()
    barrier.wait()
    begin = time.perf_counter()
    for thread in started:
        thread.join()
    return time.perf_counter() - begin


def measure(work: Work, calls: int, repeats: int) -> dict[str, float]:
    """Milliseconds per call of one thread, and the ratio of two threads to one, for the fastest repeats."""
    work()  # compiles
    alone, both = zip(*[(seconds(work, 1, calls), seconds(work, 2, calls)) for _ in range(repeats)], strict=True)
    return {"milliseconds": round(1000 * min(alone) / calls, 3), "two threads": round(min(both) / min(alone), 2)}


def main() -> None:
    """Times each kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = {name: measure(work, options.calls, options.repeats) for name, work in works(options.size).items()}
    highest = max(row["two threads"] for name, row in rows.items() if name != CONTROL)
    give({"size": options.size, "rows": rows, "highest": highest}, options.json)


if __name__ == "__main__":
    main()
