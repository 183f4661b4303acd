"""Measures the gain of each step: single models, + test-time augmentation, + tuning, + fusion of two and of all.

    python benchmarks/steps.py DATA METHOD... [--cache DIR] [--trials 20] [--training]

A method is MODEL:FOLD, or MODEL:0,MODEL:1 for models of several folds. Every score is on images that neither the
networks nor the settings have seen: settings are tuned on the other folds (or, if all images are of one fold, on the
other fifths of them) or, with --training, on the training images of the models of one fold. Each step shows its gain
over the previous step with the 95 % bootstrap interval over images. Writes ``results/steps.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from cytotome.datasets import open_dataset
from cytotome.ensemble.file import EnsembleFile, Member
from cytotome.io.files import atomic_path
from cytotome.metrics.bootstrap import bootstrap_mean
from cytotome.metrics.challenge import image_score
from cytotome.tuning.ensembles import LOW_SCORE
from cytotome.tuning.held_out import CachedOutputs, held_out_images, parse_method, training_images
from cytotome.tuning.nested import Tunable, TunableEnsemble, TunableModel, Tuned, tune_apart, tune_nested

RESULT = Path(__file__).parent / "results" / "steps.json"


class Table:
    """Rows of scores, printed as they come."""

    def __init__(self, cell_types: Sequence[str]) -> None:
        self.cell_types, self.rows = cell_types, []  # type: ignore[var-annotated]

    def add(self, name: str, scores: Any, before: Any = None) -> Any:
        """Adds one step: its scores of each image, and those it is compared with."""
        kinds = sorted(set(self.cell_types))
        row = {"step": name, "all": round(float(np.mean(scores)), 4)}
        row |= {kind: round(float(np.mean(scores[[k == kind for k in self.cell_types]])), 4) for kind in kinds}
        if before is not None:
            gain = bootstrap_mean(scores - before)
            row["gain"] = [round(value, 4) for value in (gain.mean, gain.low, gain.high)]
        self.rows.append(row)
        print(row, flush=True)
        return scores


def scores(method: Tunable[Any], images: Sequence[int]) -> Any:
    """The challenge's mAP of some images."""
    truths = {i: truth for i in images if (truth := method.samples[i].instances) is not None}
    return np.array([image_score(method.segment(i, None), truth) for i, truth in truths.items()])


def main() -> None:
    """Measures all steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--cache", type=Path, default=Path(".cytotome-cache"))
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--training", action="store_true")
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    methods = [parse_method(text) for text in options.methods]
    fold_of = held_out_images(methods, dataset)
    held = range(len(fold_of))
    if options.training:
        fold_of |= training_images(methods, dataset)
    places, folds = list(fold_of), list(fold_of.values())
    samples = [dataset[place] for place in places]
    parts = folds if len(set(folds)) > 1 else [number % 5 for number in held]

    def tuned(method: Tunable[Any]) -> Tuned:
        """Scores with settings from other images."""
        if options.training:
            return tune_apart(method, range(len(held), len(samples)), held, trials=options.trials)
        return tune_nested(method, parts, trials=options.trials)

    table = Table([samples[i].info.cell_type for i in held])
    made, singles = [], []
    for number, method in enumerate(methods):
        name = f"{number + 1} {method.name}"
        plain = CachedOutputs(method, options.cache)
        augmented = CachedOutputs(method, options.cache, tta=True)
        model = plain.model_of(folds[0])
        parameters = (model.family, model.file.config, model.parameters)
        own = scores(TunableModel(*parameters, plain.outputs(samples[: len(held)], folds[: len(held)]), samples), held)
        outputs = augmented.outputs(samples, folds)
        with_tta = TunableModel(*parameters, outputs, samples)
        table.add(name, own)
        found = tuned(with_tta)
        views = table.add(f"{name} + tta", found.own, own)
        singles.append(table.add(f"{name} + tta + tuning", found.nested, views))
        # Tuned on training images, a member goes into the fusion with its settings; nested folds have one for each.
        settings = found.result if options.training else model.parameters
        settings = settings.changed(min_score=min(LOW_SCORE, settings.min_score))
        made.append([model.family.decode(one, settings, model.file.config.class_names) for one in outputs])
    best = singles[int(np.argmax([values.mean() for values in singles]))]
    groups = [*combinations(range(len(methods)), 2)] + ([tuple(range(len(methods)))] if len(methods) > 2 else [])
    for chosen in groups:
        file = EnsembleFile(members=tuple(Member(model=methods[k].name) for k in chosen))
        members = [[made[k][i] for k in chosen] for i in range(len(samples))]
        name = f"fusion of {', '.join(str(k + 1) for k in chosen)}, compared with the best single model"
        table.add(name, tuned(TunableEnsemble(file, members, samples)).nested, best)
    entry = {
        "methods": [method.name for method in methods],
        "images": len(held),
        "tuned on": "training images" if options.training else "other folds",
        "rows": table.rows,
    }
    with atomic_path(RESULT) as temporary:
        temporary.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
