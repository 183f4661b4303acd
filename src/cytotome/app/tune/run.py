"""``cytotome tune``: tuning of models on images, to a model file or an ensemble file with better settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from cytotome.app.console import progress, say, warn
from cytotome.app.opening import open_and_warn
from cytotome.app.options import check_extra
from cytotome.ensemble.file import EnsembleFile, Member, save_ensemble
from cytotome.errors import ConfigError
from cytotome.models.file import read_model, save_model
from cytotome.models.registry import ENSEMBLE_SUFFIXES, find_model
from cytotome.tuning.ensembles import ensemble_of, member_instances, tuning_parts
from cytotome.tuning.held_out import (
    CachedOutputs,
    Method,
    held_out_images,
    may_have_seen,
    parse_method,
    training_images,
)
from cytotome.tuning.nested import SEARCHES, Search, TunableEnsemble, TunableModel, Tuned, tune_apart, tune_nested
from cytotome.types import Sample

CACHE = ".cytotome-cache"
CELL_TYPES = ("majority", "classifier")


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """Options of ``cytotome tune``, as typed."""

    output: Path
    layout: str | None = None
    fold: int | None = None
    search: str = "optuna"
    trials: int = 30
    seed: int = 0
    tta: bool = False
    training: bool = False
    cell_type: str = "majority"
    cache: Path | None = None
    device: str = "auto"
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise ConfigError(f"search: must be one of {', '.join(SEARCHES)}, got {self.search!r}")
        if self.cell_type not in CELL_TYPES:
            raise ConfigError(f"cell-type: must be one of {', '.join(CELL_TYPES)}, got {self.cell_type!r}")
        if self.trials < 1:
            raise ConfigError(f"trials: must be 1 or more, got {self.trials}")


def run_tune(models: Sequence[str], data: str, options: TuneOptions) -> Tuned:
    """Tunes one model, or an ensemble of several, and writes the result.

    Raises:
        ConfigError: if the models do not match the images or the output, or Optuna is not installed.
    """
    if options.search == "optuna":
        check_extra("Optuna", "the search by optuna")
    methods = [parse_method(text) for text in models]
    _check_output(methods, options.output)
    dataset = open_and_warn(data, layout=options.layout)
    for warning in may_have_seen(methods, dataset):
        warn(warning)
    fold_of = held_out_images(methods, dataset, only=options.fold)
    held_out = range(len(fold_of))
    if options.training:
        fold_of |= training_images(methods, dataset)
    samples = [dataset[position] for position in fold_of]
    folds = list(fold_of.values())
    cache = options.cache or options.output.parent / CACHE
    predictions = predict_all(methods, samples, folds, options, cache)
    search = cast(Search, options.search)
    method: Any
    if len(methods) == 1:
        model = predictions[0][0].model_of(folds[0])
        method = TunableModel(model.family, model.file.config, model.parameters, predictions[0][1], samples)
    else:
        method = TunableEnsemble(
            EnsembleFile(members=tuple(Member(model=one.name) for one in methods)),
            member_instances(predictions, folds),
            samples,
            classify=options.cell_type == "classifier",
        )
    settings: dict[str, Any] = {"search": search, "trials": options.trials, "seed": options.seed}
    if options.training:
        tuned = tune_apart(method, range(len(held_out), len(samples)), held_out, **settings)
    else:
        tuned = tune_nested(method, tuning_parts(samples, folds), **settings)
    write_result(methods, tuned, dataset.name, options)
    say(tuned.text(), quiet=options.quiet)
    if tuned.gain().within_noise and options.quiet:
        warn("warning: the gain is within noise")
    return tuned


def predict_all(
    methods: Sequence[Method], samples: Sequence[Sample], folds: Sequence[int], options: TuneOptions, cache: Path
) -> list[tuple[CachedOutputs, list[Any]]]:
    """Predicts the outputs of every method for every image."""
    with progress(len(methods) * len(samples), quiet=options.quiet) as advance:
        made = [CachedOutputs(one, cache, tta=options.tta, device=options.device, advance=advance) for one in methods]
        return [(one, one.outputs(samples, folds)) for one in made]


def _check_output(methods: Sequence[Method], output: Path) -> None:
    if len(methods) > 1 and output.suffix.lower() not in ENSEMBLE_SUFFIXES:
        raise ConfigError(f"{output}: several models give an ensemble; the name after -o must end in .yaml")
    if len(methods) == 1 and len(methods[0].models) == 1 and output.suffix != ".safetensors":
        raise ConfigError(f"{output}: one model gives a model; the name after -o must end in .safetensors")
    if len(methods) == 1 and len(methods[0].models) > 1 and output.suffix:
        raise ConfigError(
            f"{output}: models of several folds are written to a folder; the name after -o must have no extension"
        )


def write_result(methods: Sequence[Method], tuned: Tuned, dataset: str, options: TuneOptions) -> None:
    """Writes the model, the models of the folds, or the ensemble."""
    how = "held-out images" if options.training else "nested folds"
    scores = {f"mAP on {dataset}, {how}": round(float(tuned.nested.mean()), 4)}
    if len(methods) == 1:
        for model in methods[0].models:
            source = find_model(model.path)
            file = read_model(source)
            card = file.card.model_copy(update={"scores": {**file.card.scores, **scores}})
            several = len(methods[0].models) > 1
            path = options.output / f"{source.stem}-{model.fold}.safetensors" if several else options.output
            save_model(path, replace(file, parameters=tuned.result, card=card))
        return
    save_ensemble(options.output, ensemble_of(methods, tuned.result, scores, options.output, tta=options.tta))
