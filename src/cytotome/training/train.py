"""Training of one model, from a recipe and data to a model file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from cytotome.contract import FamilyConfig
from cytotome.errors import CytotomeError, TrainingError
from cytotome.inference.device import choose_device, choose_precision
from cytotome.inference.model import build_model, load_single_model
from cytotome.models.card import Card, inherited
from cytotome.models.file import save_model
from cytotome.training.ancestry import Identity
from cytotome.training.checkpoint import load_checkpoint
from cytotome.training.data import Data, Prepared, labelled_places, open_all, prepare
from cytotome.training.finish import calibrated, known_look, known_sizes, known_types, report_cells
from cytotome.training.fit import Job
from cytotome.training.logs import LoggerName, check_logger
from cytotome.training.pretraining import split_pretraining
from cytotome.training.processes import check_devices, launch
from cytotome.training.recipe import Recipe, load_recipe
from cytotome.training.stopping import EarlyStopping
from cytotome.training.warm_start import start_header


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    data: Data | Sequence[Data],
    *,
    output: str | os.PathLike[str],
    layout: str | None = None,
    fold: int | None = None,
    resume: bool = True,
    max_minutes: float | None = None,
    overrides: Sequence[str] = (),
    device: str = "auto",
    devices: int = 1,
    logger: LoggerName | None = None,
    console: Console | None = None,
) -> Path:
    """Trains one model. An interrupted run resumes from its last checkpoint and ends with the same weights.

    Args:
        recipe: name, file, content or validated recipe.
        data: a dataset or its path, or several.
        output: folder for ``<name>.safetensors``, ``recipe.yaml``, ``metrics.csv``, ``tensorboard/`` and ``last.ckpt``.
        layout: layout of datasets that are given as paths; detected from the files if None.
        fold: validation fold, which is not used for training; None to train on everything.
        resume: resume from ``last.ckpt``, if it exists; otherwise start again.
        max_minutes: wall time of the whole run, overriding the recipe's ``schedule.minutes``.
        overrides: ``key=value`` changes to the recipe, such as ``schedule.steps=500``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        devices: CPU processes or GPUs that share each batch; scripts then need an ``if __name__ == "__main__":``.
        logger: ``wandb`` or ``mlflow``, in addition to TensorBoard and CSV.
        console: stream for messages; standard error by default, and for several devices.

    Returns:
        The path of the model file.

    Raises:
        ConfigError: if the recipe is not valid (all errors are listed), or a device or logger is not available.
        TrainingError: if there are no training data, or the loss is not finite.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after writing a checkpoint.
    """
    limit = [] if max_minutes is None else [f"schedule.minutes={max_minutes}"]
    checked = load_recipe(recipe, [*overrides, *limit])
    check_logger(logger)
    console = console or Console(stderr=True)
    options = Options(device, devices, logger, console)
    opened = open_all(data, layout)
    for line in (f"note: {dataset.name}: {note}" for dataset in opened for note in dataset.notes):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    first, checked, datasets = split_pretraining(checked, opened, Path(output))
    if first is not None:
        Run(first.recipe, prepare(first.recipe, first.data, None), first.output, options).run(resume)
    run = Run(checked, prepare(checked, datasets, fold), Path(output), options)
    run.warn_of_ancestors(fold)
    return run.run(resume)


@dataclass(frozen=True)
class Options:
    """Options for training runs that do not affect the result."""

    device: str
    devices: int
    logger: LoggerName | None
    console: Console


class Run:
    """One training run: fits the weights, then creates the model."""

    def __init__(self, recipe: Recipe, prepared: Prepared, output: Path, options: Options) -> None:
        self.recipe, self.prepared, self.console = recipe, prepared, options.console
        self.device, self.devices = choose_device(options.device), options.devices
        self.bfloat16 = choose_precision(recipe.schedule.precision, self.device) == torch.bfloat16
        start = start_header(recipe.weights)
        self.start = start.card if start else Card()
        identity = Identity(recipe.digest, start.digest if start else "", prepared.digests)
        self.job = Job(recipe, prepared, output, identity, inherited([prepared.origin, self.start]), options.logger)
        self.plan = self.job.make_plan(self.job.make_teacher())
        self.model_path = output / f"{recipe.name}.safetensors"
        _check_classes(recipe, self.job.config, prepared)
        check_devices(self.devices, self.device, self.plan)
        if recipe.schedule.patience and not prepared.validation:
            raise TrainingError("schedule.patience: no image is held out to be scored; give a fold (--fold 0)")
        self.f1_before: float | None = None
        if prepared.missing:
            self._say(f"note: the recipe also has settings for {', '.join(prepared.missing)}, which are not given")

    def warn_of_ancestors(self, fold: int | None) -> None:
        """Warns if the initial model, or models that made the labels, may have seen images of the fold."""
        sources = {f"weights: {self.recipe.weights}": self.start, "the training data, or what labelled them": None}
        for name in dict.fromkeys(dataset.name for dataset, _ in self.prepared.validation):
            for what, card in sources.items():
                known = self.prepared.origin if card is None else card
                if known.may_have_seen(name, fold):
                    self._say(
                        f"warning: {what} ({known.describe_training(name)}) may have seen images of fold {fold} of "
                        f"{name}, so that scores there are too good; use models that were not trained on fold {fold}"
                    )

    def run(self, resume: bool) -> Path:
        """Trains to the end of the schedule and writes the model, unless it is finished.

        Raises:
            KeyboardInterrupt: if it was stopped before the end.
        """
        path = self.job.checkpoint
        content = load_checkpoint(path, self.job.identity) if resume and path.is_file() else None
        if content is None:
            self._announce()
        elif not self._is_over(content):
            self._say(f"resuming from step {content['step']} of {path}")
        elif self.model_path.is_file():
            self._say(
                f"nothing was trained: {self.model_path} is finished, and neither data nor recipe have changed; "
                f"--anew trains it again, --weights {self.model_path} with another --output continues from its weights"
            )
            return self.model_path
        if content is None or not self._is_over(content):
            content = self._fit(resume=content is not None)
        best = EarlyStopping.of(self.recipe.schedule.patience, content)
        if best.weights:
            early = f"ended early, after {best.since} validations without a better score; " if best.is_over else ""
            self._say(f"{early}the model has the weights of the best validation score, {best.best:.3f}")
        return self.finish(best.weights or content["average"], Card.model_validate(content["heritage"]))

    def _fit(self, *, resume: bool) -> dict[str, Any]:
        """Trains, and returns the content of the last checkpoint."""
        launch(
            self.job,
            resume=resume,
            device=self.device,
            devices=self.devices,
            bfloat16=self.bfloat16,
            console=self.console,
        )
        content = load_checkpoint(self.job.checkpoint, self.job.identity)
        if not self._is_over(content):
            raise KeyboardInterrupt
        return content

    def _is_over(self, content: Mapping[str, Any]) -> bool:
        stopping = EarlyStopping.of(self.recipe.schedule.patience, content)
        return stopping.is_over or self.job.make_progress(self.plan, content).fraction() >= 1

    def _announce(self) -> None:
        """Prints the training data, and the score of the initial model."""
        labelled, held_out = len(labelled_places(self.prepared.sources)), len(self.prepared.validation)
        self._say(f"training on {labelled} labelled images, {held_out} held out; at most {self.plan.steps} steps")
        if not (held_out and self.recipe.weights):
            return
        try:
            report = report_cells(load_single_model(self.recipe.weights, device=str(self.device)), self.prepared)
        except CytotomeError:  # it may not suit the images; its weights are checked when they are loaded
            return
        self.f1_before = report.f1
        self._say(f"before training, {self.recipe.weights}: {report.text()}")

    def finish(self, weights: Mapping[str, Tensor], heritage: Card) -> Path:
        """Fits the decoder parameters, scores the model, writes its file, and reports what it finds."""
        file = self.job.make_model_file(weights, heritage)
        sizes = known_sizes(self.prepared, self.job.config.class_names)
        file = replace(file, card=file.card.model_copy(update={"cell_sizes": sizes}))
        model = build_model(file, device=str(self.device))
        file = replace(file, parameters=calibrated(model, self.prepared.calibration))
        model = build_model(file, device=str(self.device))
        report = report_cells(model, self.prepared)
        facts = {"look": known_look(model, self.prepared), "cell_types": known_types(model, self.prepared)}
        file = replace(file, card=file.card.model_copy(update={"scores": report.scores, **facts}))
        save_model(self.model_path, file)
        self._say(report.text())
        if self.f1_before is not None:
            worse = (
                "; training has made it worse: train longer, or keep that model" if report.f1 < self.f1_before else ""
            )
            self._say(f"before training: F1 {self.f1_before:.2f} on the same images{worse}")
        self._say(f"model: {self.model_path}")
        return self.model_path

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _check_classes(recipe: Recipe, config: FamilyConfig, prepared: Prepared) -> None:
    names = config.class_names
    if len(names) > 1 and prepared.class_names and not set(names) & set(prepared.class_names):
        raise TrainingError(
            f"{recipe.name}: config.class_names are {', '.join(names)}, the data hold "
            f"{', '.join(prepared.class_names)}; set config.class_names=[{', '.join(prepared.class_names)}] or "
            "rename those of the data by sampling.sources.<dataset>.classes"
        )
