"""Measures the gain from unlabelled images: half of the labels are withheld, and each method uses the rest.

    python benchmarks/semi.py DATA OUT --fold 0 --minutes 10 --seeds 0 1 2 [--recipe unetr] [--methods half pseudo ...]

DATA is a dataset with folds, such as `sartorius/`. Of its training images, each cell type's second half (in the order
of a hash) loses its masks. Methods, each trained for the same time by the recipe and scored on the fold's images:

    half      the labelled half alone
    pseudo    the same, and then anew with pseudo-labels of the model of `half` on the others (twice the time in all)
    teacher   the labelled half with a mean teacher on the others
    gan       recipe unetr-gan on both halves
    all       all labels: what there is to be won

Each run writes its model to OUT; the table is printed, and stored in benchmarks/results/semi.json with those of other
recipes. An existing run is scored and not trained again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cytotome.app.pseudolabel import parse_confidence
from cytotome.datasets import open_dataset, splits
from cytotome.errors import DataError
from cytotome.inference.model import load_single_model
from cytotome.io.files import atomic_path
from cytotome.metrics.challenge import image_score
from cytotome.pseudolabels.agreement import PseudoLabelSettings
from cytotome.pseudolabels.dataset import write_pseudolabels
from cytotome.training.recipe import load_recipe
from cytotome.training.train import train
from cytotome.types import Dataset, Instances, Sample

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "semi.json"
METHODS = ("half", "pseudo", "teacher", "gan", "all")


class Withheld(Dataset):
    """A dataset with masks withheld for some samples."""

    def __init__(self, whole: Dataset, positions: set[int]) -> None:
        self.whole, self.positions = whole, positions
        self.name, self.class_names = whole.name, whole.class_names
        self.infos = tuple(
            replace(info, mask_quality="none") if index in positions else info for index, info in enumerate(whole.infos)
        )

    def read(self, index: int) -> Sample:
        """Reads one sample, without masks if they are withheld."""
        sample = self.whole[index]
        instances = None if index in self.positions else sample.instances
        return replace(sample, info=self.infos[index], instances=instances)

    def instances(self, index: int) -> Instances | None:
        """Returns the masks, None if they are withheld."""
        return None if index in self.positions else self.whole.instances(index)


def second_half(dataset: Dataset, fold: int) -> set[int]:
    """The second half of each cell type's labelled training images, in the order of a hash of their names."""
    kinds: dict[str, list[int]] = {}
    for index in splits(dataset, fold)[0]:
        if dataset.infos[index].is_labelled:
            kinds.setdefault(dataset.infos[index].cell_type, []).append(index)
    chosen: set[int] = set()
    for members in kinds.values():
        ordered = sorted(members, key=lambda i: hashlib.sha256(dataset.infos[i].id.encode()).digest())
        chosen |= set(ordered[(len(ordered) + 1) // 2 :])
    return chosen


def run(recipe: Any, data: Any, output: Path, options: argparse.Namespace, seed: int) -> Path:
    """Trains, unless the model exists; returns its path."""
    checked = load_recipe(recipe)
    path = output / f"{checked.name}.safetensors"
    if not path.is_file():
        overrides = [*options.set, f"seed={seed}"]
        train(checked, data, output=output, fold=options.fold, max_minutes=options.minutes, overrides=overrides)
    return path


def train_method(method: str, dataset: Dataset, options: argparse.Namespace, seed: int) -> Path:
    """The model of one method."""
    output = options.output / f"{options.recipe}-{method}-{seed}"
    withheld = Withheld(dataset, second_half(dataset, options.fold))
    content = load_recipe(options.recipe).model_dump(exclude_unset=True)
    if method == "all":
        return run(content, dataset, output, options, seed)
    if method == "half":
        return run(content, withheld, output, options, seed)
    if method == "gan":
        return run("unetr-gan", withheld, output, options, seed)
    if method == "teacher":
        return run({**content, "teacher": {"weight": options.teacher_weight}}, withheld, output, options, seed)
    first = train_method("half", dataset, options, seed)
    labels = output / "pseudo"
    if not (labels / "pseudo.json").is_file():
        confidence, by_type = parse_confidence(options.confidence)
        settings = PseudoLabelSettings(confidence, by_type, candidate=options.candidate)
        tally = write_pseudolabels([load_single_model(first)], withheld, labels, settings, overwrite=True)
        print(json.dumps(vars(tally), default=str))
    sources = {**content.get("sampling", {}).get("sources", {}), "pseudo": {"weight": options.pseudo_weight}}
    sampling = {**content.get("sampling", {}), "sources": sources}
    return run({**content, "sampling": sampling}, [withheld, labels], output, options, seed)


def score(path: Path, dataset: Dataset, fold: int) -> dict[str, float]:
    """The challenge's mAP on the fold's images: mean of each cell type, and of all images."""
    model = load_single_model(path)
    scores: dict[str, list[float]] = {}
    for index in splits(dataset, fold)[1]:
        sample = dataset[index]
        assert sample.instances is not None
        scores.setdefault(sample.info.cell_type, []).append(image_score(model.segment(sample.image), sample.instances))
    every = [value for values in scores.values() for value in values]
    return {**{kind: float(np.mean(values)) for kind, values in sorted(scores.items())}, "all": float(np.mean(every))}


def keep(method: str, scores: dict[str, list[float]], options: argparse.Namespace) -> None:
    """Adds a method's scores to those of the others with the same settings."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    settings = {name: getattr(options, name) for name in ("fold", "minutes", "seeds", "recipe", "set")}
    entry = kept.get(options.recipe, {})
    others = entry["scores"] if entry.get("settings") == settings else {}
    kept[options.recipe] = {"settings": settings, "scores": {**others, method: scores}}
    with atomic_path(RESULTS) as temporary:
        temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("output", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default="unetr", help="of all but gan")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--confidence", nargs="+", default=["0.6"], metavar="[TYPE=]VALUE", help="of pseudo-labels")
    parser.add_argument("--candidate", type=float, default=0.15, help="cells below are background to pseudo-labels")
    parser.add_argument("--pseudo-weight", type=float, default=0.5)
    parser.add_argument("--teacher-weight", type=float, default=1.0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every recipe")
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    for method in options.methods:
        try:
            found = [
                score(train_method(method, dataset, options, seed), dataset, options.fold) for seed in options.seeds
            ]
        except DataError as error:  # such as of a model that is sure of no cell to label
            print(f"{method:<8} {error}", flush=True)
            continue
        scores = {name: [one[name] for one in found] for name in found[0]}
        parts = (f"{name} {np.mean(values):.3f} ± {np.std(values):.3f}" for name, values in scores.items())
        print(f"{method:<8} {'  '.join(parts)}", flush=True)
        keep(method, scores, options)


if __name__ == "__main__":
    main()
