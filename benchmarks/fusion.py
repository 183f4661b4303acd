"""Times each fusion of 5 models x 800 instances in an image of 520 x 704, on one thread.

    python benchmarks/fusion.py [--models 5] [--instances 800] [--repeats 5]
    python benchmarks/fusion.py --export cases.npz --data sartorius/ && benchmarks/peers/run fusion_reference cases.npz

The instances are discs and long ellipses at the positions of 800 cells, shifted by a few pixels per model, and a fifth
of them elsewhere. Writes ``results/fusion.json``. Compilation is not counted.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from cytotome.datasets import open_dataset
from cytotome.ensemble.instances import METHODS, InstanceFusion, fuse_instances
from cytotome.io.files import atomic_path
from cytotome.ops.boxes import weighted_boxes_fusion
from cytotome.ops.runs import mask_crop
from cytotome.ops.stack import stack
from cytotome.ops.suppression import iou_graph
from cytotome.types import Instances

RESULT = Path(__file__).parent / "results" / "fusion.json"
SHAPE = (520, 704)
LIMIT = 0.5
THRESHOLD = 0.5503
"""No IoU of boxes with whole coordinates equals it, so that no rounding decides."""


def views(models: int, count: int) -> list[Instances]:
    """The instances of each model."""
    rng = np.random.default_rng(0)
    places = rng.uniform((4, 4), (SHAPE[0] - 4, SHAPE[1] - 4), (count, 2))
    axes = np.stack([rng.uniform(4, 9, count), rng.uniform(6, 28, count)], axis=1)[:, ::1]
    axes = np.where(rng.random((count, 1)) < 0.5, axes, axes[:, ::-1])
    found = []
    for _ in range(models):
        moved = places + rng.normal(0, 1.5, places.shape)
        wrong = rng.random(count) < 0.2
        moved[wrong] = rng.uniform((4, 4), (SHAPE[0] - 4, SHAPE[1] - 4), (int(wrong.sum()), 2))
        sizes = np.ceil(axes).astype(int)
        grids = [np.mgrid[-h : h + 1, -w : w + 1] for h, w in sizes]
        masks = [(g[0] / a) ** 2 + (g[1] / b) ** 2 <= 1 for g, (a, b) in zip(grids, axes, strict=True)]
        origins = np.round(moved).astype(int) - sizes
        found.append(Instances.from_masks(masks, shape=SHAPE, origins=origins, scores=rng.beta(3, 2, count)))
    return found


def export(path: Path, data: str) -> None:
    """Writes boxes, scores and masks of three shifted copies of the first ten true sets, and their fusion by
    cytotome.
    """
    rng = np.random.default_rng(0)
    dataset, cases = open_dataset(data), {}
    full = [index for index, info in enumerate(dataset.infos) if info.is_scored][:10]
    for index in full:
        truth = dataset.instances(index)
        moved = [_moved(truth, rng) for _ in range(3)]
        whole = stack(moved, [1.0, 2.0, 0.5])
        found, scale = whole.instances, np.array([*truth.shape, *truth.shape], np.float64)
        boxes = found.boxes / scale
        classes = np.zeros(len(found), np.int32)
        fused = weighted_boxes_fusion(boxes, found.scores, classes, whole.models, whole.weights, threshold=THRESHOLD)
        graph = iou_graph(found)
        case = {"boxes": boxes, "scores": found.scores, "models": whole.models, "weights": whole.weights}
        case |= {"fused": fused.boxes, "fused_scores": fused.scores, "shape": np.array(truth.shape)}
        case |= {"runs": found.runs, "offsets": found.offsets, "iou": graph.iou, "neighbours": graph.neighbours}
        cases |= {f"{dataset.infos[index].id}/{name}": value for name, value in case.items()}
        cases[f"{dataset.infos[index].id}/graph"] = graph.offsets
    np.savez_compressed(path, **cases)
    print(f"{path}: {len(full)} images")


def _moved(truth: Instances, rng: np.random.Generator) -> Instances:
    crops = [mask_crop(truth, index) for index in range(len(truth))]
    origins = np.array([origin for _, origin in crops]) + rng.integers(-4, 5, (len(truth), 2))
    scores = rng.random(len(truth))
    found = Instances.from_masks([mask for mask, _ in crops], shape=truth.shape, origins=origins, scores=scores)
    return found.select(found.areas > 0)


def main() -> None:
    """Measures all methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--instances", type=int, default=800)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--export", type=Path)
    parser.add_argument("--data")
    options = parser.parse_args()
    if options.export:
        if not options.data:
            parser.error("--export needs --data")
        export(options.export, options.data)
        return
    found = views(options.models, options.instances)
    seconds: dict[str, float] = {}
    for method in METHODS:
        for overlap in ("mask", "box"):
            if method == "boxes" and overlap == "mask":
                continue
            settings = InstanceFusion(method=method, overlap=overlap, threshold=0.5)
            fuse_instances(found, settings)
            times = []
            for _ in range(options.repeats):
                start = time.perf_counter()
                fused = fuse_instances(found, settings)
                times.append(time.perf_counter() - start)
            name = f"{method}, {overlap}"
            seconds[name] = round(float(np.median(times)), 4)
            print(f"{name:<20}{seconds[name]:8.3f} s   {len(fused)} instances")
    entry = {
        "models": options.models,
        "instances": options.instances,
        "shape": SHAPE,
        "seconds": seconds,
        "limit": LIMIT,
    }
    with atomic_path(RESULT) as temporary:
        temporary.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    if max(seconds.values()) > LIMIT:
        raise SystemExit(f"slower than {LIMIT} s an image")


if __name__ == "__main__":
    main()
