"""Training one model, from a recipe and data to a model file."""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
import platform
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from torch import Tensor, nn

from cytotome.contract import FamilyConfig
from cytotome.data.sampling import Crops, CropSettings, crop_loader, why_no_workers
from cytotome.data.strong import StrongChange
from cytotome.errors import ConfigError, CytotomeError, TrainingError
from cytotome.families import AnyFamily
from cytotome.inference.device import choose_device, choose_precision
from cytotome.inference.model import build_model, load_single_model
from cytotome.io.files import atomic_path
from cytotome.models.card import Card, inherited
from cytotome.models.file import ModelFile, save_model
from cytotome.nets.pretrained import all_taken
from cytotome.training.ancestry import Identity
from cytotome.training.batches import StageBatches, watch_workers
from cytotome.training.callbacks import Checkpoints, Forecast, Pictures, ProgressBar, Reports
from cytotome.training.checkpoint import load_checkpoint
from cytotome.training.finish import (
    calibrated,
    known_look,
    known_sizes,
    known_types,
    mean_score,
    report_cells,
    types_in_turn,
)
from cytotome.training.logs import MetricsFile
from cytotome.training.module import TrainingModule
from cytotome.training.pictures import Bytes, draw_all, shown_places
from cytotome.training.plan import plan_stages
from cytotome.training.prepare import Data, Prepared, labelled_places, open_all, prepare
from cytotome.training.progress import Progress
from cytotome.training.recipe import Recipe, load_recipe
from cytotome.training.teacher import MeanTeacher
from cytotome.training.transfer import split_pretraining
from cytotome.training.weights import load_weights, start_header, start_weights


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
    console: Console | None = None,
) -> Path:
    """Trains one model; a run that was killed goes on from its last checkpoint and ends with the same weights.

    Args:
        recipe: name, file, content or checked recipe.
        data: dataset or its path, or several.
        output: folder for ``<name>.safetensors``, ``recipe.yaml``, ``metrics.csv``, ``tensorboard/`` and ``last.ckpt``.
        layout: of the datasets that are given as paths; told from the files where None.
        fold: validation fold that is not trained on; None trains on everything.
        resume: go on from ``last.ckpt`` where there is one; else start anew.
        max_minutes: wall time of the whole run instead of the recipe's ``schedule.minutes``.
        overrides: ``key=value`` changes of the recipe, such as ``schedule.steps=500``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        console: what is said goes here; standard error by default.

    Returns:
        The path of the model file.

    Raises:
        ConfigError: for a faulty recipe, all faults at once.
        TrainingError: where there is nothing to learn from, or the loss is not finite.
    """
    limit = [] if max_minutes is None else [f"schedule.minutes={max_minutes}"]
    checked = load_recipe(recipe, [*overrides, *limit])
    console = console or Console(stderr=True)
    opened = open_all(data, layout)
    for line in (f"note: {dataset.name}: {note}" for dataset in opened for note in dataset.notes):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    first, checked, datasets = split_pretraining(checked, opened, Path(output))
    if first is not None:
        Run(first.recipe, prepare(first.recipe, first.data, None), first.output, device, console).run(resume)
    run = Run(checked, prepare(checked, datasets, fold), Path(output), device, console)
    run.warn_of_ancestors(fold)
    return run.run(resume)


class Run:
    """One run of training: a checked recipe, its data, its folder and its device."""

    def __init__(self, recipe: Recipe, prepared: Prepared, output: Path, device: str, console: Console) -> None:
        self.recipe, self.prepared, self.output, self.console = recipe, prepared, output, console
        self.family: AnyFamily = recipe.get_family()
        self.config: FamilyConfig = recipe.family_config(prepared.class_names, prepared.offset)
        self.device = choose_device(device)
        self.precision = choose_precision(recipe.schedule.precision, self.device)
        self.checkpoint = output / "last.ckpt"
        self.model_path = output / f"{recipe.name}.safetensors"
        self.workers = recipe.sampling.workers
        settings = recipe.teacher
        self.teacher = None if settings is None else MeanTeacher(self.family, self.config, settings)
        stages = self.family.stages(self.config)
        if self.teacher is not None:
            stages = self.teacher.stages(stages)
        self.plan = plan_stages(stages, recipe.schedule, recipe.sampling.batch)
        _check_classes(recipe, self.config, prepared)
        start = start_header(recipe.weights)
        self.identity = Identity(_result_hash(recipe), start.digest if start else "", prepared.digests)
        self.start = start.card if start else Card()
        self.heritage = inherited([prepared.origin, self.start])
        self.f1_before: float | None = None
        if prepared.missing:
            self._say(f"note: the recipe also has settings for {', '.join(prepared.missing)}, which are not given")

    def warn_of_ancestors(self, fold: int | None) -> None:
        """Says so where what is started from, or what made the labels, knows images of the fold to validate on."""
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
        """Trains to the end of the schedule and writes the model, unless that is done already."""
        content = load_checkpoint(self.checkpoint, self.identity) if resume and self.checkpoint.is_file() else None
        if content is None:
            self._announce()
            return self.finish(self.fit(None))
        self.heritage = Card.model_validate(content["heritage"])
        if self._progress(content).fraction() < 1:
            self._say(f"resuming from step {content['step']} of {self.checkpoint}")
            return self.finish(self.fit(content))
        if not self.model_path.is_file():
            return self.finish(content["average"])
        self._say(
            f"nothing was trained: {self.model_path} is finished, and neither data nor recipe have changed; "
            f"--anew trains it again, --weights {self.model_path} with another --output trains on from it"
        )
        return self.model_path

    def _announce(self) -> None:
        """Says what is trained on, and what the model that is started from is worth already."""
        labelled, held_out = len(labelled_places(self.prepared.sources)), len(self.prepared.validation)
        self._say(f"training on {labelled} labelled images, {held_out} held out; at most {self.plan.steps} steps")
        if not (held_out and self.recipe.weights):
            return
        try:
            report = report_cells(load_single_model(self.recipe.weights, device=str(self.device)), self.prepared)
        except CytotomeError:  # it need not suit the images; that its weights fit is checked when they are taken
            return
        self.f1_before = report.f1
        self._say(f"before training, {self.recipe.weights}: {report.text()}")

    def _progress(self, content: Mapping[str, Any] | None) -> Progress:
        minutes = self.recipe.schedule.minutes
        progress = Progress(self.plan.steps, None if minutes is None else 60 * minutes, self.plan.lengths)
        if content is not None:
            progress.step, progress.spent = content["step"], content["spent"]
        return progress

    def fit(self, content: dict[str, Any] | None) -> dict[str, Tensor]:
        """Trains from a checkpoint's content, or from the start, and returns the averaged weights."""
        schedule, progress = self.recipe.schedule, self._progress(content)
        torch.manual_seed(self.recipe.seed)
        module = TrainingModule(self._network(), self.plan.stages, schedule, progress, self.teacher)
        with atomic_path(self.output / "recipe.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        reports = Reports(
            MetricsFile(self.output / "metrics.csv", progress.step), self._validate, schedule.validate_every
        )
        minutes = schedule.checkpoint_minutes
        saving = Checkpoints(self.checkpoint, self.identity, self.heritage, minutes, content)
        with _quiet_lightning(), watch_workers():
            pictures = Pictures(self.output / "pictures", self._draw, schedule.pictures_every)
            telling = [Forecast(self.console, fresh=self.recipe.weights is None), ProgressBar(self.console)]
            trainer = self._trainer([reports, pictures, saving, *telling], progress.step)
            trainer.fit(module, train_dataloaders=StageBatches(progress, self._loader))
        assert module.average is not None
        return {name: value.cpu() for name, value in module.average.state_dict().items()}

    def finish(self, weights: Mapping[str, Tensor]) -> Path:
        """Fits the decode parameters, scores the model, writes its file, and says what it finds."""
        file = self._model_file(weights)
        sizes = known_sizes(self.prepared, self.config.class_names)
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

    def _network(self) -> nn.Module:
        net: nn.Module = self.family.build(self.config)
        _check_crop(self.recipe, self.family.stride(net))
        for taken in all_taken(net):
            self._say(taken.text())
            self.heritage = inherited([self.heritage, Card(licence=taken.licence)])
        if self.recipe.weights:
            self._say(load_weights(net, start_weights(self.recipe.weights)))
        return net

    def _trainer(self, callbacks: list[lightning.Callback], step: int) -> lightning.Trainer:
        kind = self.device.type
        return lightning.Trainer(
            accelerator="gpu" if kind == "cuda" else kind,
            devices=[self.device.index or 0] if kind == "cuda" else 1,
            precision="bf16-mixed" if self.precision == torch.bfloat16 else "32-true",
            max_epochs=1,
            callbacks=callbacks,
            logger=TensorBoardLogger(self.output, name="", version="tensorboard", purge_step=step or None),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(self.output),
        )

    def _loader(self, stage: int, first_batch: int) -> Iterable[dict[str, Any]]:
        sampling = self.recipe.sampling
        settings = CropSettings(
            size=sampling.crop,
            batch=self.plan.batches[stage],
            seed=self.recipe.seed,
            cell_bias=sampling.cell_bias,
            balance=sampling.balance,
            sized=sampling.sized,
            sized_scale=sampling.sized_scale,
            streams=self.plan.stages[stage].streams,
            cache_megabytes=sampling.cache_megabytes,
        )
        crops = Crops(
            self.prepared.sources,
            self.family.targets,
            self.config,
            self.recipe.normalisation,
            self.recipe.augmentation,
            settings,
            self._strong(),
        )
        why = why_no_workers(crops, first_batch, self.workers)
        if why:
            self._say(f"note: {why}")
            self.workers = 0
        return crop_loader(crops, first_batch=first_batch, workers=self.workers, pin=self.device.type == "cuda")

    def _strong(self) -> StrongChange | None:
        teacher = self.recipe.teacher
        if teacher is None:
            return None
        return StrongChange.of(self.recipe.augmentation, teacher.strength, teacher.cutouts, teacher.cutout_size)

    def _draw(self, module: TrainingModule) -> dict[str, Bytes]:
        assert module.average is not None
        model = build_model(self._model_file(module.average.state_dict()), device=str(self.device))
        return draw_all(model, shown_places(self.prepared))

    def _validate(self, module: TrainingModule) -> dict[str, float]:
        assert module.average is not None
        images = types_in_turn(self.prepared.validation, self.recipe.schedule.validation_images)
        if not images:
            return {}
        model = build_model(self._model_file(module.average.state_dict()), device=str(self.device))
        return {"validation/map": mean_score(model, images)}

    def _model_file(self, weights: Mapping[str, Tensor]) -> ModelFile:
        card = Card(
            name=self.recipe.name,
            summary=self.recipe.summary or self.family.summary,
            trained_on=self.heritage.trained_on,
            licence=self.heritage.licence,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            versions={"python": platform.python_version()}
            | {name: metadata.version(name) for name in ("torch", "lightning")},
        )
        parameters = self.recipe.decode_parameters()
        return ModelFile(
            self.recipe.family, self.config.trained(), parameters, self.recipe.normalisation, weights, card
        )


_NOT_OF_THE_RESULT = ("checkpoint_minutes", "validate_every", "validation_images", "pictures_every", "minutes")


def _result_hash(recipe: Recipe) -> str:
    """A hash of the fields that decide the result; those with their defaults do not count, so that new ones may come.

    The model that is started from counts by its content instead of its path.
    """
    left_out: dict[str, Any] = {"summary": True, "weights": True, "schedule": dict.fromkeys(_NOT_OF_THE_RESULT, True)}
    content = recipe.model_dump_json(exclude_defaults=True, exclude=left_out)
    return hashlib.sha256(f"{content} {recipe.weights is not None}".encode()).hexdigest()


def _check_classes(recipe: Recipe, config: FamilyConfig, prepared: Prepared) -> None:
    names = config.class_names
    if len(names) > 1 and prepared.class_names and not set(names) & set(prepared.class_names):
        raise TrainingError(
            f"{recipe.name}: config.class_names are {', '.join(names)}, the data hold "
            f"{', '.join(prepared.class_names)}; set config.class_names=[{', '.join(prepared.class_names)}] or "
            "rename those of the data by sampling.sources.<dataset>.classes"
        )


def _check_crop(recipe: Recipe, stride: int) -> None:
    crop = recipe.sampling.crop
    if any(side % stride for side in crop):
        fitting = [-(-side // stride) * stride for side in crop]
        raise ConfigError(
            f"{recipe.name}: sampling.crop must be multiples of {stride} for this network, got {list(crop)}; "
            f"set sampling.crop={fitting}"
        )


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Without Lightning's advice on settings that are meant; its errors are still raised."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
