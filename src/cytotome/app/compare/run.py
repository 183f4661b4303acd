"""``cytotome compare``: comparison of methods on the user's images, resumable and within a time budget."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cytotome.app.compare.page import write_page
from cytotome.app.compare.results import Comparison, EnsembleResult, MethodResult
from cytotome.app.compare.score import Entry, message, score_in_child
from cytotome.app.console import say, warn
from cytotome.app.opening import open_and_warn
from cytotome.app.options import check_extra
from cytotome.ensemble.file import EnsembleFile, Member, save_ensemble
from cytotome.errors import ConfigError
from cytotome.io.files import atomic_path, read_json_object
from cytotome.metrics.bootstrap import bootstrap_mean
from cytotome.training.recipe import Recipe, load_recipe, recipe_names
from cytotome.tuning.ensembles import ensemble_of, member_instances, tuning_parts
from cytotome.tuning.held_out import CachedOutputs, Method, held_out_images, may_have_seen, parse_method
from cytotome.tuning.nested import TunableEnsemble, tune_nested
from cytotome.types import Dataset

Result = TypeVar("Result")

TRAINING_PART = 0.8
"""Fraction of the budget for training; the rest is for scoring, the ensemble and the page."""
LEAST_MINUTES = 0.02
ENSEMBLE = "the ensemble"
"""Name of the ensemble among the failures."""


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Options of ``cytotome compare``, as typed."""

    output: Path
    recipes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    folds: tuple[int, ...] = (0,)
    budget_seconds: float = 7200.0
    layout: str | None = None
    tta: bool = False
    device: str = "auto"
    settings: tuple[str, ...] = ()
    quiet: bool = False


def parse_budget(text: str) -> float:
    """Converts ``90s``, ``30m``, ``2h`` or a number of minutes to seconds.

    Raises:
        ConfigError: if the text has another form.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1]) if text and text[-1] in units else (text, "m")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"budget: expected a time such as 90s, 30m or 2h, got {text!r}")
    return seconds


def default_recipes(data: Dataset) -> list[str]:
    """Returns one recipe per family: that of its name, its small one or its first one, if suitable for the data."""
    streams = {"labelled"} | {"unlabelled" for info in data.infos if not info.is_labelled}
    by_family: dict[str, list[str]] = {}
    for name in recipe_names():
        by_family.setdefault(load_recipe(name).family, []).append(name)
    chosen = [
        min(names, key=lambda name: (name != family, not name.endswith("-small"), name))
        for family, names in sorted(by_family.items())
    ]
    return [name for name in chosen if _streams(load_recipe(name)) <= streams]


def _streams(recipe: Recipe) -> set[str]:
    """Kinds of images on which a recipe trains."""
    return {stream for stage in recipe.get_family().stages(recipe.family_config()) for stream in stage.streams}


def run_compare(data: str, options: CompareOptions) -> Comparison:
    """Trains, scores and fuses methods; results in the folder are reused.

    Raises:
        ConfigError: if there is nothing to compare, or Lightning is not installed and needed.
    """
    dataset = open_and_warn(data, layout=options.layout)
    names = list(options.recipes) or ([] if options.models else default_recipes(dataset))
    if names:
        check_extra("Lightning", "training")
    state = State(options.output, options.budget_seconds)
    methods = [(parse_method(text), "given") for text in options.models]
    for warning in may_have_seen([method for method, _ in methods], dataset):
        warn(warning)
    runs = [(name, fold) for name in names for fold in options.folds]
    for number, (name, fold) in enumerate(runs):
        train_one(name, fold, dataset, options, state, len(runs) - number)
    for name in names:
        paths = [str(model_path(options.output, name, fold)) + f":{fold}" for fold in options.folds]
        if all(Path(path.rpartition(":")[0]).is_file() for path in paths):
            methods.append((Method(Path(name).stem, parse_method(",".join(paths)).models), "trained"))
    methods = _apart(methods)
    if not methods:
        raise ConfigError(f"compare: {_why_none(state.content['failures'])}")
    fold_of = held_out_images([method for method, _ in methods], dataset)
    scored = [(method, _entry(method, kind, data, fold_of, options, state)) for method, kind in methods]
    methods_left = [method for method, entry in scored if entry]
    entries = [entry for _, entry in scored if entry]
    if not entries:
        raise ConfigError(f"compare: no method could be scored: {_joined(state.content['failures'])}")
    fused: EnsembleResult | str = ""
    if len(entries) > 1:
        say(f"fusing the best of {len(entries)} methods", quiet=options.quiet)
        made = _attempt(ENSEMBLE, state, options, lambda: _ensemble(methods_left, entries, dataset, fold_of, options))
        fused = made or "the ensemble failed"
    results = Comparison(
        data=dataset.name,
        images=len(fold_of),
        methods=tuple(entries),
        ensemble=fused if isinstance(fused, EnsembleResult) else None,
        ensemble_note=fused if isinstance(fused, str) else "",
        failures=state.content["failures"],
    )
    _report(results, options)
    return results


def _report(results: Comparison, options: CompareOptions) -> None:
    """Writes the results and the page, and prints the recommendation and what failed."""
    _write(options.output / "results.json", results.to_dict())
    write_page(options.output, results)
    say(f"{options.output / 'compare.html'}: {results.recommendation}", quiet=options.quiet)
    for name, why in results.failures.items():
        warn(f"{name} failed: {why}")


class State:
    """Time spent and failures so far, stored in the folder so that a run can be resumed."""

    def __init__(self, folder: Path, budget: float) -> None:
        self.path, self.budget = folder / "state.json", budget
        self.content = read_json_object(self.path) or {"training_seconds": 0.0, "failures": {}}

    def minutes_left(self, runs: int) -> float:
        """Minutes of training for each of the remaining runs."""
        spent = float(self.content["training_seconds"])
        return max(0.0, TRAINING_PART * self.budget - spent) / 60 / max(1, runs)

    def add(self, seconds: float) -> None:
        """Adds training time."""
        self.content["training_seconds"] += seconds
        _write(self.path, self.content)

    def fail(self, name: str, message: str) -> None:
        """Records a failure."""
        self.content["failures"][name] = message
        _write(self.path, self.content)

    def succeed(self, name: str) -> None:
        """Removes an earlier failure."""
        if self.content["failures"].pop(name, None) is not None:
            _write(self.path, self.content)


def _why_none(failures: Mapping[str, str]) -> str:
    if failures:
        return f"no model could be trained: {_joined(failures)}"
    return "no model was trained in the budget and none was given; give --budget or --model"


def _joined(failures: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in failures.items())


def model_path(output: Path, recipe: str, fold: int) -> Path:
    """Path of the model of a recipe and a fold."""
    return output / "models" / f"{Path(recipe).stem}-{fold}" / f"{load_recipe(recipe).name}.safetensors"


def train_one(name: str, fold: int, data: Dataset, options: CompareOptions, state: State, runs: int) -> None:
    """Trains one model in its part of the budget, unless it exists; failures are recorded and do not stop the run."""
    from cytotome.training.train import train

    path = model_path(options.output, name, fold)
    minutes = state.minutes_left(runs)
    if path.is_file() or minutes < LEAST_MINUTES:
        return
    say(f"training {name}, fold {fold}: {minutes:.1f} minutes", quiet=options.quiet)
    start = time.monotonic()
    work = partial(
        train,
        name,
        data,
        output=path.parent,
        fold=fold,
        max_minutes=minutes,
        overrides=[*_classes_of(data, name), *options.settings],
        device=options.device,
    )
    try:
        _attempt(f"{name}, fold {fold}", state, options, work)
    finally:
        state.add(time.monotonic() - start)


def _attempt(name: str, state: State, options: CompareOptions, work: Callable[[], Result]) -> Result | None:
    """Returns the result of the work; None if it fails, which is reported and recorded but does not stop the run."""
    try:
        result = work()
    except Exception as error:
        state.fail(name, message(error))
        say(f"{name}: {message(error)}", quiet=options.quiet)
        return None
    state.succeed(name)
    return result


def _classes_of(data: Dataset, recipe: str) -> list[str]:
    """Returns the override that sets the classes of the data, if those of the recipe are not among them."""
    own = load_recipe(recipe).config.get("class_names", [])
    if not own or not data.class_names or set(own) & set(data.class_names):
        return []
    return [f"config.class_names={json.dumps(list(data.class_names))}"]


def _apart(methods: Sequence[tuple[Method, str]]) -> list[tuple[Method, str]]:
    """Makes the names of methods unique."""
    seen: dict[str, int] = {}
    apart = []
    for method, kind in methods:
        seen[method.name] = seen.get(method.name, 0) + 1
        name = method.name if seen[method.name] == 1 else f"{method.name}-{seen[method.name]}"
        apart.append((Method(name, method.models), kind))
    return apart


def _entry(
    method: Method, kind: str, data: str, fold_of: dict[int, int], options: CompareOptions, state: State
) -> MethodResult | None:
    entry = Entry(method, kind, data, options.layout, fold_of, options.output, options.tta, options.device)
    path = options.output / "entries" / f"{method.name}.json"
    known = MethodResult.from_dict(read_json_object(path) or {})
    if known is not None and known.key == _attempt(method.name, state, options, entry.key):
        state.succeed(method.name)
        return known
    say(f"scoring {method.name} on {len(fold_of)} images", quiet=options.quiet)
    result = _attempt(method.name, state, options, lambda: score_in_child(entry))
    if result is not None:
        _write(path, result.to_dict())
    return result


def _ensemble(
    methods: Sequence[Method],
    entries: Sequence[MethodResult],
    dataset: Dataset,
    fold_of: dict[int, int],
    options: CompareOptions,
) -> EnsembleResult | str:
    """Returns the best fusion of the best two, three, ... methods, tuned on other folds, or why there is none."""
    samples = [dataset[position] for position in fold_of]
    folds = list(fold_of.values())
    made = [
        CachedOutputs(method, options.output / "cache", tta=options.tta, device=options.device) for method in methods
    ]
    found = member_instances([(one, one.outputs(samples, folds)) for one in made], folds)
    parts = tuning_parts(samples, folds)
    if len(set(parts)) < 2:
        return "images of one group are too few for an ensemble"
    order = sorted(range(len(methods)), key=lambda number: -entries[number].score)
    tried = []
    for count in range(2, len(methods) + 1):
        chosen = order[:count]
        file = EnsembleFile(members=tuple(Member(model=methods[number].name) for number in chosen))
        members = [[of_image[number] for number in chosen] for of_image in found]
        tried.append((tune_nested(TunableEnsemble(file, members, samples), parts, search="greedy"), chosen))
    tuned, chosen = max(tried, key=lambda one: float(one[0].nested.mean()))
    best = entries[order[0]]
    ids = [sample.info.id for sample in samples]
    gain = bootstrap_mean(tuned.nested - [best.images[name].score for name in ids])
    path = options.output / "ensemble.yaml"
    chosen_methods = [methods[number] for number in chosen]
    scores = {f"mAP on {dataset.name}, nested folds": round(float(tuned.nested.mean()), 4)}
    save_ensemble(path, ensemble_of(chosen_methods, tuned.result, scores, path, tta=options.tta))
    return EnsembleResult(
        score=float(tuned.nested.mean()),
        best_single=best.name,
        members=tuple(method.name for method in chosen_methods),
        tried=len(tried),
        gain=gain,
        types={
            kind: float(tuned.nested[[k == kind for k in tuned.cell_types]].mean())
            for kind in sorted(set(tuned.cell_types))
        },
    )


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
