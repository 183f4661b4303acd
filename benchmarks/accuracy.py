"""Scores models on folds they were not trained on, and updates the tables in docs/accuracy.md.

    python benchmarks/accuracy.py DATA --name "flow" --training "45 min, one thread" \
        --model runs/neurons-0/neurons.safetensors:0 --model runs/neurons-1/neurons.safetensors:1 \
        [--tta] [--precision float32] [--no-fit] [--save FILE] [--decode decoder=watershed]
    python benchmarks/accuracy.py DATA --name "Cellpose 3" --training "45 min, one thread" --labels runs/cellpose-0:0
    python benchmarks/accuracy.py DATA --name "neurons" --bundled neurons:0
    python benchmarks/accuracy.py

DATA is a dataset with folds, such as `sartorius/`. A model `PATH:FOLD` is scored twice on the full-quality images of
its fold: with its own decoder parameters, and with parameters fitted on the images it was TRAINED on, so that no scored
image is used to choose parameters. The score on these training images is stored too, but not shown in the table; it
indicates how far a network is from convergence. --save writes the fitted parameters of the first model, for bundling.
`FOLDER:FOLD` of --labels contains label maps of another program. `NAME:FOLD` of --bundled is a model or an ensemble as
`cytotome segment` runs it; its F1 at IoU 0.5 and its counts are shown in a table of their own. Results are stored in
benchmarks/results/accuracy/; without arguments, only the tables are rewritten.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from page import put_table
from rich.progress import track

from cytotome.datasets import open_dataset, splits
from cytotome.datasets.predictions import read_predictions
from cytotome.ensemble.load import load_model
from cytotome.families import get_family
from cytotome.inference.model import Model, load_single_model
from cytotome.metrics.challenge import image_score
from cytotome.ops.matching import count_matches, mean_precision
from cytotome.tuning.nested import Pair, tune
from cytotome.types import Dataset

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "accuracy"
TYPES = ("cort", "astro", "shsy5y")
Scores = dict[str, list[float]]
"""Scores of images, by cell type."""
Counts = dict[str, int]
"""``matched`` at IoU 0.5, ``found`` and ``truth``."""


def predicted(model: Model, dataset: Dataset, images: Sequence[int], tta: bool) -> list[Pair]:
    """The inputs of the decoder and the truth, for images with masks of full quality."""
    samples = [dataset[index] for index in images if dataset.infos[index].is_scored]
    return [(model.outputs(one.image, tta=tta), one) for one in track(samples, "predicting", transient=True)]


def score_bundled(models: list[tuple[str, int]], dataset: Dataset, tta: bool) -> dict[str, Any]:
    """Scores, matches at IoU 0.5 and counts of the results of ``segment``, by cell type and overall."""
    scores: Scores = {}
    counts: dict[str, Counts] = defaultdict(lambda: dict.fromkeys(("matched", "found", "truth"), 0))
    for name, fold in models:
        model = load_model(name)
        part = [index for index in splits(dataset, fold)[1] if dataset.infos[index].is_scored]
        for index in track(part, name, transient=True):
            truth = dataset.instances(index)
            found = model.segment(dataset[index].image, tta=tta)
            overlaps = found.overlaps(truth)
            scores.setdefault(dataset.infos[index].cell_type, []).append(mean_precision(overlaps))
            matched = int(count_matches(overlaps, (0.5,))[0])
            for kind in (dataset.infos[index].cell_type, "all"):
                for key, value in (("matched", matched), ("found", len(found)), ("truth", len(truth))):
                    counts[kind][key] += value
    return {"own parameters": {**means(scores), "counts": dict(sorted(counts.items()))}}


def ceiling(name: str, dataset: Dataset, class_names: tuple[str, ...]) -> Scores:
    """Scores of the family's decoder on the targets of the truth, for all images of full quality."""
    family = get_family(name)
    config = family.config(class_names=class_names)
    parameters = family.parameters(min_area=30, by_class={"astro": {"min_area": 100}})
    scores: Scores = {}
    for index, info in enumerate(dataset.infos):
        if info.is_scored:
            truth = dataset.instances(index)
            maps = family.oracle(family.targets(truth, config), config)
            found = family.decode(maps, parameters, class_names)
            scores.setdefault(info.cell_type, []).append(image_score(found, truth))
    return scores


def means(scores: Scores) -> dict[str, float]:
    """Mean of each type and of all images, and their number."""
    everything = [score for values in scores.values() for score in values]
    table = {name: float(np.mean(values)) for name, values in sorted(scores.items())}
    return {**table, "all": float(np.mean(everything)), "images": len(everything)}


def score_models(
    models: list[tuple[Model, int]],
    dataset: Dataset,
    *,
    tta: bool,
    fit: bool,
    save: Path | None,
    changed: Mapping[str, Any],
) -> dict[str, Any]:
    """Scores of models with their own parameters, with those fitted on training images, and their family's ceiling."""
    family, config = models[0][0].family, models[0][0].file.config
    plain: Scores = {}
    fitted_scores: Scores = {}
    seen: Scores = {}
    for number, (model, fold) in enumerate(models):
        fitted, own = None, model.override(**changed)
        if fit:
            pairs = predicted(model, dataset, splits(dataset, fold)[0], tta)
            fitted = tune(family, config, pairs, own)
            for maps, sample in pairs:
                found = family.decode(maps, own, config.class_names)
                seen.setdefault(sample.info.cell_type, []).append(image_score(found, sample.instances))
            if save and number == 0:
                save.write_text(fitted.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for maps, sample in predicted(model, dataset, splits(dataset, fold)[1], tta):
            for table, parameters in ((plain, own), (fitted_scores, fitted)):
                if parameters is None:
                    continue
                found = family.decode(maps, parameters, config.class_names)
                table.setdefault(sample.info.cell_type, []).append(image_score(found, sample.instances))
    kinds = {
        "own parameters": plain,
        "parameters fitted on training images": fitted_scores,
        "own parameters, on training images": seen,
    }
    if fit:
        kinds["ceiling"] = ceiling(family.name, dataset, config.class_names)
    return {kind: means(scores) for kind, scores in kinds.items() if scores}


def score_labels(folders: list[tuple[Path, int]], dataset: Dataset) -> dict[str, Any]:
    """Scores of label maps that another program wrote."""
    scores: Scores = {}
    for folder, fold in folders:
        part = dataset.subset(splits(dataset, fold)[1])
        predictions = read_predictions(folder, part)
        for index, info in enumerate(part.infos):
            scores.setdefault(info.cell_type, []).append(image_score(predictions[info.id], part.instances(index)))
    return {"own parameters": means(scores)}


def _entries() -> list[Mapping[str, Any]]:
    """All results, sorted by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]


def _line(*cells: object) -> str:
    """A row of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def _figures(row: Mapping[str, float]) -> list[str]:
    """Score per cell type and overall; empty for a type without images."""
    return [f"{row[name]:.3f}" if name in row else "" for name in (*TYPES, "all")]


def write_table() -> None:
    """Writes the scores to the page, between its two marks, with the largest number of images first."""
    rows = []
    for entry in _entries():
        for kind in ("own parameters", "parameters fitted on training images"):
            if kind in entry["scores"]:
                row = entry["scores"][kind]
                what = (entry["name"], entry["training"], ", ".join(map(str, entry["folds"])), row["images"], kind)
                rows.append((row["images"], _line(*what, *_figures(row))))
    head = "| method | training | folds | images | decoder parameters | cort | astro | shsy5y | overall |"
    put_table("table", (head, "|" + "---|" * 9, *(line for _, line in sorted(rows, key=lambda row: -row[0]))))


def write_ceilings() -> None:
    """Writes the representation ceiling of each family to the page."""
    found = {}
    for entry in _entries():
        if "ceiling" in entry["scores"]:
            row = entry["scores"]["ceiling"]
            family = entry.get("family", entry["name"].split(",")[0])
            found[family, row["images"]] = _figures(row)
    lines = (_line(*which, *figures) for which, figures in sorted(found.items()))
    put_table("ceilings", ("| family | images | cort | astro | shsy5y | overall |", "|" + "---|" * 6, *lines))


def write_counts() -> None:
    """Writes F1 and counts of the results that have them to the page."""
    lines = ["| model | images | cells | F1 at IoU 0.5 | found | annotated | error of the count |", "|" + "---|" * 7]
    for entry in _entries():
        counts: Mapping[str, Counts] = entry["scores"].get("own parameters", {}).get("counts", {})
        for kind in (kind for kind in (*TYPES, "all") if kind in counts):
            matched, found, truth = (counts[kind][key] for key in ("matched", "found", "truth"))
            figures = (f"{2 * matched / max(1, found + truth):.2f}", found, truth, f"{found / max(1, truth) - 1:+.0%}")
            images = entry["scores"]["own parameters"]["images"] if kind == "all" else ""
            lines.append(_line(entry["name"], images, kind, *figures))
    put_table("counts", lines)


def split(items: list[str]) -> list[tuple[str, int]]:
    """Splits ``PATH:FOLD``."""
    return [(path, int(fold)) for path, fold in (item.rsplit(":", 1) for item in items)]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--name")
    parser.add_argument("--training", default="")
    parser.add_argument("--model", action="append", default=[], metavar="PATH:FOLD")
    parser.add_argument("--labels", action="append", default=[], metavar="FOLDER:FOLD")
    parser.add_argument("--bundled", action="append", default=[], metavar="NAME:FOLD")
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--no-fit", action="store_true", help="own decode parameters only, and no ceiling")
    parser.add_argument("--decode", action="append", default=[], metavar="KEY=VALUE", help="change a parameter")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    if options.data:
        if not options.name or sum(map(bool, (options.model, options.labels, options.bundled))) != 1:
            parser.error("DATA needs --name and one of --model, --labels and --bundled")
        dataset = open_dataset(options.data)
        if options.model:
            models = [
                (load_single_model(path, precision=options.precision), fold) for path, fold in split(options.model)
            ]
            changed = dict(item.split("=", 1) for item in options.decode)
            fit = not options.no_fit
            scores = score_models(models, dataset, tta=options.tta, fit=fit, save=options.save, changed=changed)
        elif options.bundled:
            scores = score_bundled(split(options.bundled), dataset, options.tta)
        else:
            scores = score_labels([(Path(path), fold) for path, fold in split(options.labels)], dataset)
        folds = [fold for _, fold in split(options.model or options.labels or options.bundled)]
        entry = {"name": options.name, "training": options.training, "folds": folds, "scores": scores}
        if options.model:
            entry["family"] = models[0][0].family.name
        print(json.dumps(entry, indent=1))
        RESULTS.mkdir(parents=True, exist_ok=True)
        slug = re.sub(r"\W+", "-", options.name.lower()).strip("-")
        (RESULTS / f"{slug}.json").write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    write_table()
    write_ceilings()
    write_counts()


if __name__ == "__main__":
    main()
