"""Times Cellpose's flow targets and flow decoding. Runs in the peers' environment.

    benchmarks/peers/run cellpose_dynamics flows SAMPLES OUT [--threads 2] [--json FILE]
    benchmarks/peers/run cellpose_dynamics masks FLOWS OUT [--threads 2] [--probability 0.5] [--json FILE]

``flows`` runs ``cellpose.dynamics.labels_to_flows`` on the ``labels`` of each npz file of a folder and writes ``flow``
``(2, H, W)`` float32 of y, x, of length one, and ``cell`` ``(1, H, W)`` float32, 1 within cells.
``masks`` runs ``cellpose.dynamics.compute_masks``, with its default thresholds and smallest size of 15 pixels, on npz
files with ``flow`` and ``cell`` (probabilities), and writes ``labels`` ``(H, W)`` int32. Both give the time of each
image; reading, writing and one warm-up image are not timed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from cellpose import dynamics
from samples import write_json

CPU = torch.device("cpu")
FLOW_SCALE = 5.0  # compute_masks expects what the network is trained on: flows times five


def flows_of(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Cellpose's training targets of one label map."""
    targets = dynamics.labels_to_flows([labels.astype(np.int32)], device=CPU)[0]
    return {"flow": targets[2:4].astype(np.float32), "cell": targets[1:2].astype(np.float32)}


def masks_of(flow: np.ndarray, cell: np.ndarray, probability: float) -> dict[str, np.ndarray]:
    """Cellpose's label map of one flow field."""
    limited = np.clip(cell[0], 1e-6, 1 - 1e-6)
    logits = np.log(limited / (1 - limited)).astype(np.float32)
    threshold = float(np.log(probability / (1 - probability)))
    labels = dynamics.compute_masks(flow * FLOW_SCALE, logits, cellprob_threshold=threshold, min_size=15, device=CPU)
    return {"labels": labels.astype(np.int32)}


def main() -> None:
    """Runs one of the two over a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("flows", "masks"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--probability", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(options.folder.glob("*.npz"))
    if not paths:
        raise SystemExit(f"no npz files in {options.folder}")

    def work_of(path: Path) -> Callable[[], dict[str, np.ndarray]]:
        with np.load(path) as file:
            if options.what == "flows":
                labels = file["labels"]
                return lambda: flows_of(labels)
            flow, cell = file["flow"], file["cell"]
            return lambda: masks_of(flow, cell, options.probability)

    work_of(paths[0])()
    times = {}
    for path in paths:
        work = work_of(path)
        start = time.perf_counter()
        result = work()
        times[path.stem] = time.perf_counter() - start
        np.savez_compressed(options.out / path.name, **result)
    spent = list(times.values())
    summary = {
        "images": len(times),
        "threads": options.threads,
        "median_seconds": statistics.median(spent),
        "mean_seconds": statistics.fmean(spent),
        "seconds": times,
    }
    write_json(options.json, summary)


if __name__ == "__main__":
    main()
