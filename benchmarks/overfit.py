"""Overfits a few real crops with a family, to show that it can learn its task.

    python benchmarks/overfit.py DATA --family embedding [--set config.sampler=box] [--steps 300] [--size 128]
        [--types cort astro shsy5y] [--crops 2] [--fit] [--name NAME]

DATA is a dataset such as `sartorius/`. For each cell type (--types), the crops with the most cells of the first images
are used. Each batch contains all crops, without augmentation, and the network is scored on them by the challenge's mAP;
with --fit, after fitting its decoder parameters on the same crops. With --name, the result is stored in
benchmarks/results/overfit.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from cytotome.data.augment import Augmentation
from cytotome.datasets import open_dataset
from cytotome.inference.model import load_single_model
from cytotome.io.files import atomic_path
from cytotome.metrics.challenge import image_score
from cytotome.ops.labels import from_layers, to_layers
from cytotome.training.train import train
from cytotome.tuning.nested import tune
from cytotome.types import Dataset, Image, Instances, Sample, SampleInfo

TYPES = ("cort", "shsy5y")
RESULTS = Path(__file__).parent / "results" / "overfit.json"
LEAST_AREA = 30
"""Pieces of cells at the edges of a crop that have fewer pixels are left out."""


class CropDataset(Dataset):
    """The crop with the most cells of the first images of each type."""

    def __init__(self, dataset: Dataset, types: Sequence[str], size: int, crops: int) -> None:
        self.name, self.class_names = "crops", dataset.class_names
        self.samples = [fullest_crop(one, size) for kind in types for one in first_of_type(dataset, kind, crops)]
        self.infos = tuple(sample.info for sample in self.samples)

    def read(self, index: int) -> Sample:
        """From memory."""
        return self.samples[index]


def first_of_type(dataset: Dataset, kind: str, count: int) -> list[Sample]:
    """The first images of a cell type with masks of full quality."""
    good = [i for i, info in enumerate(dataset.infos) if info.cell_type == kind and info.is_scored]
    return [dataset[index] for index in good[:count]]


def fullest_crop(sample: Sample, size: int) -> Sample:
    """The square around a cell that contains the most cells."""
    assert sample.instances is not None
    centres = sample.instances.boxes.reshape(-1, 2, 2).mean(axis=1)
    corners = np.unique(np.clip(centres - size / 2, 0, np.array(sample.image.shape) - size).astype(int), axis=0)
    layers = to_layers(sample.instances)
    y, x = max(corners, key=lambda corner: len(np.unique(_window(layers, corner, size))))
    instances: Instances = from_layers(np.ascontiguousarray(_window(layers, (y, x), size)), sample.instances)
    pixels = np.ascontiguousarray(sample.image.pixels[y : y + size, x : x + size])
    info = SampleInfo(sample.info.id, sample.info.cell_type)
    return Sample(info, Image(pixels), instances.select(instances.areas >= LEAST_AREA))


def _window(layers: Any, corner: Sequence[int], size: int) -> Any:
    return layers[:, corner[0] : corner[0] + size, corner[1] : corner[1] + size]


def overfit(
    family: str, dataset: Dataset, size: int, steps: int, overrides: Sequence[str] = (), *, fit: bool = False
) -> dict[str, Any]:
    """Trains on the crops of a dataset and scores on them, with parameters that are fitted on them if ``fit``."""
    scale = 1.5
    side = int(size * scale)
    recipe: dict[str, Any] = {
        "name": "overfit",
        "family": family,
        "config": {"input_scale": scale},
        "sampling": {"crop": [side, side], "batch": len(dataset), "workers": 0, "cell_bias": 0.0},
        "augmentation": Augmentation.none().model_dump(),
        "schedule": {"steps": steps, "learning_rate": 3e-3, "ema": 0.9, "weight_decay": 0.0},
    }
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "said.txt").open("w") as said:
            path = train(recipe, dataset, output=folder, overrides=overrides, console=Console(file=said))
        model = load_single_model(path)
    outputs = [(model.outputs(sample.image), sample) for sample in dataset]
    parameters = model.parameters
    if fit:
        parameters = tune(model.family, model.file.config, outputs, parameters)
    scores: dict[str, list[float]] = {}
    for one, sample in outputs:
        cells = model.family.decode(one, parameters, model.file.config.class_names)
        scores.setdefault(sample.info.cell_type, []).append(round(image_score(cells, sample.instances), 3))
    return {"map": scores, "steps": steps, "seconds": round(time.perf_counter() - start, 1)}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--family", required=True)
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--crops", type=int, default=1)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--name")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    crops = CropDataset(open_dataset(options.data), options.types, options.size, options.crops)
    found = overfit(options.family, crops, options.size, options.steps, options.overrides, fit=options.fit)
    result = {"family": options.family, "set": options.overrides, "size": options.size, **found}
    print(json.dumps(result))
    if options.name:
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        with atomic_path(RESULTS) as temporary:
            temporary.write_text(json.dumps(kept | {options.name: result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
