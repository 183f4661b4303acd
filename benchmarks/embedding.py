"""Measures the decoders of `embedding`: representation ceilings under noise; time and memory against scikit-learn.

    python benchmarks/embedding.py ceiling DATA [--decoders connected resized] [--thresholds 0.5 0.7] [--json FILE]
    python benchmarks/embedding.py speed --peer PYTHON [--cells 500] [--json FILE]

`ceiling` decodes oracle embeddings (a random unit vector per instance) of all full-quality images of DATA, such as
`sartorius/`, with noise of four standard deviations on each of the 8 components, with each decoder; its threshold is
the best of `--thresholds` over all images with that noise, as calibration would choose it. The score is the challenge's
mAP, averaged over the images of each cell type.

`speed` decodes a synthetic image of 520 x 704 pixels with about `--cells` cells with the decoder `connected`; and, with
scikit-learn's AgglomerativeClustering (average linkage, cosine, all pairs, as in the team's decoder), a window of
`--window` pixels of it at the same resolution and threshold, since the distance matrix of the whole image does not fit
into memory; the decoder is timed on that window too. PYTHON is an interpreter with scikit-learn. Times are processor
time, without compilation of the kernels.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cytotome.datasets import open_dataset
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.families import get_family
from cytotome.families.embedding.segment import split_clusters
from cytotome.families.embedding.targets import oracle_embeddings
from cytotome.metrics.challenge import image_score
from cytotome.types import Dataset, Instances

NOISES = (0.0, 0.1, 0.2, 0.3)
THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SHAPE = (520, 704)
REPEATS = 5
PEER = """
import sys, time, resource, numpy as np
from sklearn.cluster import AgglomerativeClustering
with np.load(sys.argv[1]) as file:
    vectors, threshold = file["vectors"], float(file["threshold"])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
labels = AgglomerativeClustering(n_clusters=None, metric="cosine", linkage="average",
                                 distance_threshold=1 - threshold).fit_predict(vectors)
spent = time.process_time() - start
np.savez(sys.argv[2], labels=labels, seconds=spent,
         megabytes=(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def ceilings(dataset: Dataset, decoders: Sequence[str], thresholds: Sequence[float]) -> dict[str, Any]:
    """``decoder: noise: scores`` by cell type and overall, with the best threshold."""
    family = get_family("embedding")
    config = family.config(class_names=dataset.class_names)
    table: dict[str, Any] = {}
    for decoder in decoders:
        for noise in NOISES:
            trials = {}
            for threshold in thresholds:
                parameters = family.parameters(decoder=decoder, similarity=threshold)
                trials[threshold] = scores_of(dataset, family, config, parameters, noise)
            best = max(trials, key=lambda threshold: trials[threshold]["all"])
            table.setdefault(decoder, {})[str(noise)] = {"threshold": best, **trials[best]}
            print(decoder, noise, table[decoder][str(noise)], flush=True)
    return table


def scores_of(dataset: Dataset, family: Any, config: Any, parameters: Any, noise: float) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for index, info in enumerate(dataset.infos):
        truth = dataset.instances(index)
        if not info.is_scored or truth is None:
            continue
        targets = family.targets(truth, config)
        maps = dict(family.oracle(targets, config))
        maps["embedding"] = oracle_embeddings(targets["labels"][0], config.dimensions, seed=index, noise=noise)
        found = family.decode(maps, parameters, config.class_names)
        scores.setdefault(info.cell_type, []).append(image_score(found, truth))
    means = {kind: round(statistics.fmean(values), 3) for kind, values in scores.items()}
    return means | {"all": round(statistics.fmean(value for values in scores.values() for value in values), 3)}


def speed(cells: int, noise: float, window: int, peer: str) -> dict[str, Any]:
    """The decoder on a whole image, and both on a window of it: time, memory and scores against the truth."""
    truth = fullest_image(cells)
    labels = truth.to_label_map()
    embedding = oracle_embeddings(labels, 8, noise=noise)
    result: dict[str, Any] = {"cells": len(truth), "cell_pixels": int((labels > 0).sum()), "noise": noise}
    result["image"] = ours(embedding, labels)
    top, left = (side // 2 - window // 2 for side in SHAPE)
    part = np.s_[top : top + window, left : left + window]
    planes, seen = np.ascontiguousarray(embedding[:, *part]), np.ascontiguousarray(labels[part])
    result["window"] = ours(planes, seen) | {"pixels": window, "cell_pixels": int((seen > 0).sum())}
    result["sklearn_window"] = theirs(planes, seen, peer)
    result["times_faster"] = round(result["sklearn_window"]["ms"] / result["window"]["ms"], 1)
    return result


def ours(embedding: Any, labels: Any) -> dict[str, Any]:
    family = get_family("embedding")
    maps = {"embedding": embedding, "cell": (labels > 0).astype(np.float32)[None]}
    family.decode(maps, family.parameters(), ("cell",))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        family.decode(maps, family.parameters(), ("cell",))
        spent.append(time.process_time() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    truth, scores = Instances.from_label_map(labels), {}
    for threshold in THRESHOLDS:
        found = family.decode(maps, family.parameters(similarity=threshold), ("cell",))
        scores[threshold] = round(image_score(found, truth), 3)
    return {
        "ms": round(1000 * min(spent), 1),
        "more_megabytes": round((after - before) / 1024, 1),
        "process_megabytes": round(after / 1024, 1),
        "map_by_threshold": scores,
    }


def theirs(embedding: Any, labels: Any, peer: str) -> dict[str, Any]:
    """scikit-learn's clusters, split into connected parts of at least 15 pixels, computed by another interpreter."""
    mask = labels > 0
    truth, scores, spent, memory = Instances.from_label_map(labels), {}, [], []
    for threshold in THRESHOLDS:
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / "in.npz", Path(folder) / "out.npz"
            np.savez(given, vectors=embedding[:, mask].T, threshold=threshold)
            subprocess.run([peer, "-c", PEER, str(given), str(made)], check=True)
            with np.load(made) as file:
                clusters = file["labels"]
                spent.append(float(file["seconds"]))
                memory.append(float(file["megabytes"]))
        whole = np.zeros(mask.shape, np.int32)
        whole[mask] = clusters + 1
        found = Instances.from_label_map(split_clusters(whole, 0)[0])
        scores[threshold] = round(image_score(found.select(found.areas >= 15), truth), 3)
    return {"ms": round(1000 * min(spent)), "more_megabytes": round(max(memory)), "map_by_threshold": scores}


def fullest_image(cells: int) -> Any:
    """The one of several synthetic images whose number of cells is nearest to ``cells``."""
    samples = SyntheticDataset(6, seed=1, cell_types=("shsy5y",), shape=SHAPE)
    truths = [sample.instances for sample in samples if sample.instances is not None]
    return min(truths, key=lambda truth: abs(len(truth) - cells))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ceiling", "speed"))
    parser.add_argument("data", nargs="?")
    parser.add_argument("--decoders", nargs="+", default=("connected", "resized"))
    parser.add_argument("--thresholds", nargs="+", type=float, default=THRESHOLDS)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--window", type=int, default=160)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.what == "ceiling" and not options.data:
        parser.error("ceiling needs DATA")
    table = (
        ceilings(open_dataset(options.data), options.decoders, options.thresholds)
        if options.what == "ceiling"
        else speed(options.cells, options.noise, options.window, options.peer)
    )
    text = json.dumps(table, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
