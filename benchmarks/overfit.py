"""Overfits two real crops by a family, to show that it can learn what it is asked.

    python benchmarks/overfit.py DATA --family embedding [--set config.sampler=box] [--steps 300] [--size 128]

DATA is a dataset such as `sartorius/`. Of each of two cell types (--types), the crop with most cells is taken. The
network sees both in each batch, without augmentation, and is scored on them by the challenge's mAP.
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
from cytotome.inference.model import load_model
from cytotome.metrics.challenge import image_score
from cytotome.ops.labels import from_layers, to_layers
from cytotome.training.train import train
from cytotome.types import Dataset, Image, Instances, Sample, SampleInfo

TYPES = ("cort", "shsy5y")
LEAST_AREA = 30
"""Pieces of cells at the edges of a crop that have fewer pixels are left out."""


class CropDataset(Dataset):
    """The fullest crop of one image of each type."""

    def __init__(self, dataset: Dataset, types: Sequence[str], size: int) -> None:
        self.name, self.class_names = "crops", dataset.class_names
        self.samples = [fullest_crop(first_of_type(dataset, kind), size) for kind in types]
        self.infos = tuple(sample.info for sample in self.samples)

    def read(self, index: int) -> Sample:
        """From memory."""
        return self.samples[index]


def first_of_type(dataset: Dataset, kind: str) -> Sample:
    """The first image of a cell type with masks of full quality."""
    index = next(i for i, info in enumerate(dataset.infos) if info.cell_type == kind and info.mask_quality == "full")
    sample: Sample = dataset[index]
    return sample


def fullest_crop(sample: Sample, size: int) -> Sample:
    """The square around a cell that holds most cells."""
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


def overfit(family: str, dataset: Dataset, size: int, steps: int, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Trains on the crops of a dataset and scores on them."""
    scale = 1.5
    side = int(size * scale)
    recipe: dict[str, Any] = {
        "name": "overfit",
        "family": family,
        "config": {"input_scale": scale},
        "sampling": {"crop": [side, side], "batch": 2, "workers": 0, "cell_bias": 0.0},
        "augmentation": Augmentation.none().model_dump(),
        "schedule": {"steps": steps, "learning_rate": 3e-3, "ema": 0.9, "weight_decay": 0.0},
    }
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "said.txt").open("w") as said:
            path = train(recipe, dataset, output=folder, overrides=overrides, console=Console(file=said))
        model = load_model(path)
    scores = {}
    for sample in dataset:
        cells = model.segment(sample.image)
        scores[sample.info.cell_type] = round(image_score(cells, sample.instances), 3)
    return {"map": scores, "steps": steps, "seconds": round(time.perf_counter() - start, 1)}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--family", required=True)
    parser.add_argument("--types", nargs=2, default=TYPES)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    crops = CropDataset(open_dataset(options.data), options.types, options.size)
    result = overfit(options.family, crops, options.size, options.steps, options.overrides)
    print(json.dumps({"family": options.family, "set": options.overrides, **result}))


if __name__ == "__main__":
    main()
