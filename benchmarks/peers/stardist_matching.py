"""Times ``stardist.matching`` at the ten thresholds of the challenge. Runs in the peers' environment.

    benchmarks/peers/run stardist_matching PAIRS [--json FILE]

``PAIRS`` is a folder of npz files, each with ``truth`` and ``prediction``, ``(H, W)`` integer label maps. Reading the
files and one warm-up image (which compiles its kernel) are not timed. The mean over images of the mean over
thresholds of its "accuracy" is reported too; it counts an IoU equal to the threshold as a hit, the challenge does not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from samples import write_json
from stardist.matching import matching

THRESHOLDS = tuple(np.arange(50, 100, 5) / 100)


def main() -> None:
    """Times all pairs of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pairs = []
    for path in sorted(options.pairs.glob("*.npz")):
        with np.load(path) as file:
            pairs.append((file["truth"], file["prediction"]))
    if not pairs:
        raise SystemExit(f"no npz files in {options.pairs}")
    matching(*pairs[0], thresh=THRESHOLDS)
    start = time.perf_counter()
    results = [matching(truth, prediction, thresh=THRESHOLDS) for truth, prediction in pairs]
    seconds = time.perf_counter() - start
    scores = [statistics.fmean(one.accuracy for one in result) for result in results]
    write_json(options.json, {"images": len(pairs), "seconds": seconds, "mean_accuracy": statistics.fmean(scores)})


if __name__ == "__main__":
    main()
