"""Scores models of the folds on the images they were not trained on, and writes the table of docs/accuracy.md.

    python benchmarks/accuracy.py DATA --model runs/flow-0/flow.safetensors:0 --model runs/flow-1/flow.safetensors:1 \
        [--tta] [--json FILE] [--save FILE]

DATA is a dataset with folds, such as `sartorius/`. A model `PATH:FOLD` is scored on the full-quality images of its
fold twice: with its own decode parameters, and with parameters that are fitted on the maps that the OTHER models give
on THEIR validation images, so that no image takes part in choosing the parameters it is scored with. --save writes the
parameters fitted on all of them, for a bundled model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from cytotome.datasets import open_dataset, splits
from cytotome.families import get_family
from cytotome.inference.model import Model, load_model
from cytotome.metrics.challenge import image_score
from cytotome.training.tune import Pair, tune
from cytotome.types import Dataset, Sample


def out_of_fold(model: Model, dataset: Dataset, fold: int, tta: bool) -> list[Pair]:
    """Maps and truth of the validation images of one fold."""
    samples: list[Sample] = [dataset[index] for index in splits(dataset, fold)[1]]
    return [(model.predict_maps(one.image, tta=tta), one) for one in track(samples, f"fold {fold}", transient=True)]


def ceiling(name: str, dataset: Dataset, class_names: tuple[str, ...]) -> dict[str, list[float]]:
    """Scores by cell type of the family's decoder on the targets of the truth, over all images of full quality."""
    family = get_family(name)
    config = family.config(class_names=class_names)
    scores: dict[str, list[float]] = {}
    for index, info in enumerate(dataset.infos):
        if info.mask_quality != "full":
            continue
        truth = dataset[index].instances
        maps = family.oracle(family.targets(truth, config), config)
        parameters = family.parameters(**{"min_area": 30}, by_class={"astro": {"min_area": 100}})
        scores.setdefault(info.cell_type, []).append(image_score(family.decode(maps, parameters, class_names), truth))
    return scores


def rows(scores: dict[str, list[float]]) -> dict[str, float]:
    """Mean of each type and over all images."""
    everything = [score for values in scores.values() for score in values]
    table = {name: round(float(np.mean(values)), 4) for name, values in sorted(scores.items())}
    return {**table, "all": round(float(np.mean(everything)), 4), "images": len(everything)}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", action="append", required=True, metavar="PATH:FOLD")
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--save", type=Path, help="JSON of the parameters fitted on all folds")
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.data)
    folds = [(load_model(path), int(fold)) for path, fold in (item.rsplit(":", 1) for item in arguments.model)]
    pairs = [out_of_fold(model, dataset, fold, arguments.tta) for model, fold in folds]
    family, config = folds[0][0].family, folds[0][0].file.config
    plain: dict[str, list[float]] = {}
    tuned: dict[str, list[float]] = {}
    for number, (model, _) in enumerate(folds):
        others = [pair for other, part in enumerate(pairs) if other != number for pair in part]
        fitted = tune(family, config, others, model.parameters) if others else model.parameters
        for maps, sample in pairs[number]:
            for table, parameters in ((plain, model.parameters), (tuned, fitted)):
                found = family.decode(maps, parameters, config.class_names)
                table.setdefault(sample.info.cell_type, []).append(image_score(found, sample.instances))
    result: dict[str, Any] = {
        "models": [model.file.card.name for model, _ in folds],
        "folds": [fold for _, fold in folds],
        "ceiling": rows(ceiling(family.name, dataset, config.class_names)),
        "default parameters": rows(plain),
        "parameters fitted on the other folds": rows(tuned),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    if arguments.save:
        everything = [pair for part in pairs for pair in part]
        fitted = tune(family, config, everything, folds[0][0].parameters)
        arguments.save.write_text(fitted.model_dump_json(indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
