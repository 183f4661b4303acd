"""Training of a run in one process: builds everything from a recipe and its data, and runs the loop."""

from __future__ import annotations

import datetime
import logging
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lightning.fabric import Fabric
from rich.console import Console
from torch import Tensor, nn

from cytotome.contract import FamilyConfig
from cytotome.data.sampling import Crops, CropSettings, crop_loader, why_no_workers
from cytotome.data.strong import StrongChange
from cytotome.errors import ConfigError
from cytotome.families import AnyFamily
from cytotome.inference.model import build_model
from cytotome.io.files import atomic_path
from cytotome.models.card import Card, inherited
from cytotome.models.file import ModelFile
from cytotome.nets.pretrained import all_taken
from cytotome.training.ancestry import Identity
from cytotome.training.batches import Batches, watch_workers
from cytotome.training.callbacks import Checkpoints, Forecast, Pictures, ProgressBar, Reports
from cytotome.training.checkpoint import load_checkpoint, restore, save_checkpoint
from cytotome.training.data import Prepared
from cytotome.training.finish import mean_score, types_in_turn
from cytotome.training.logs import LoggerName, MetricsFile, open_loggers
from cytotome.training.loop import Hook, Learner, run_loop
from cytotome.training.pictures import Bytes, draw_all, shown_places
from cytotome.training.plan import Plan, plan_stages
from cytotome.training.progress import Progress
from cytotome.training.recipe import Recipe
from cytotome.training.stopping import EarlyStopping, StopSignals
from cytotome.training.teacher import MeanTeacher
from cytotome.training.warm_start import load_weights, start_weights

for _chatty in ("lightning.fabric", "lightning.pytorch"):  # which greet in each new process
    logging.getLogger(_chatty).setLevel(logging.WARNING)


@dataclass(frozen=True, eq=False)
class Job:
    """One run of training, as passed to each of its processes.

    Attributes:
        recipe: validated recipe.
        prepared: its data.
        output: folder of the run.
        identity: must match that of a checkpoint.
        heritage: what the model inherits from its data and from the initial model.
        logger: additional logging service.
    """

    recipe: Recipe
    prepared: Prepared
    output: Path
    identity: Identity
    heritage: Card
    logger: LoggerName | None = None

    @property
    def family(self) -> AnyFamily:
        """The family of the run."""
        return self.recipe.get_family()

    @property
    def config(self) -> FamilyConfig:
        """The family's config, with class names and offset of the data."""
        return self.recipe.family_config(self.prepared.class_names, self.prepared.offset)

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint."""
        return self.output / "last.ckpt"

    def make_teacher(self) -> MeanTeacher | None:
        """Returns the mean teacher, if the recipe has one."""
        settings = self.recipe.teacher
        return None if settings is None else MeanTeacher(self.family, self.config, settings)

    def make_plan(self, teacher: MeanTeacher | None) -> Plan:
        """Returns the stages, with ``teacher`` attached.

        Raises:
            ConfigError: see :func:`plan_stages`.
        """
        stages = self.family.stages(self.config)
        if teacher is not None:
            stages = teacher.stages(stages)
        return plan_stages(stages, self.recipe.schedule, self.recipe.sampling.batch)

    def make_progress(self, plan: Plan, content: Mapping[str, Any] | None) -> Progress:
        """Returns the progress of the run from a checkpoint's content, or its start without one."""
        minutes = self.recipe.schedule.minutes
        progress = Progress(plan.steps, None if minutes is None else 60 * minutes, plan.lengths)
        if content is not None:
            progress.step, progress.spent = content["step"], content["spent"]
        return progress

    def make_model_file(self, weights: Mapping[str, Tensor], heritage: Card) -> ModelFile:
        """Returns the model with these weights, before its decoder parameters are fitted."""
        card = Card(
            name=self.recipe.name,
            summary=self.recipe.summary or self.family.summary,
            trained_on=heritage.trained_on,
            licence=heritage.licence,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            versions={"python": platform.python_version()}
            | {name: metadata.version(name) for name in ("torch", "lightning")},
        )
        parameters = self.recipe.decode_parameters()
        return ModelFile(
            self.recipe.family, self.config.trained(), parameters, self.recipe.normalisation, weights, card
        )


def fit(fabric: Fabric, job: Job, resume: bool, console: Console | None) -> None:
    """Trains from the start or from the checkpoint, to the end or until stopped, and writes a checkpoint.

    Of several processes, only the first one writes files and prints messages.

    Args:
        fabric: device, precision and processes.
        job: the run.
        resume: whether to start from the checkpoint.
        console: stream for messages; None for standard error.

    Raises:
        ConfigError: if the network does not support the size of the crops.
        TrainingError: if the loss is not finite, or a worker process was ended.
    """
    console = console or Console(stderr=True, quiet=not fabric.is_global_zero)
    Fitting(fabric, job, console).run(load_checkpoint(job.checkpoint, job.identity) if resume else None)


class Fitting:
    """The training of a run by one process; see :func:`fit`."""

    def __init__(self, fabric: Fabric, job: Job, console: Console) -> None:
        self.fabric, self.job, self.console = fabric, job, console
        self.heritage = job.heritage
        self.workers = job.recipe.sampling.workers
        self.teacher = job.make_teacher()
        self.plan = job.make_plan(self.teacher)
        self.stopping = EarlyStopping(job.recipe.schedule.patience)

    def run(self, content: dict[str, Any] | None) -> None:
        """Trains from a checkpoint's content, or from the start."""
        schedule, progress = self.job.recipe.schedule, self.job.make_progress(self.plan, content)
        torch.manual_seed(self.job.recipe.seed)
        learner = Learner(self.fabric, self._network(), self.plan.stages, schedule, progress, self.teacher)
        if not self.fabric.is_global_zero:  # the same weights, but other dropout than in the first process
            seeds = np.random.SeedSequence([self.job.recipe.seed, self.fabric.global_rank, progress.step])
            torch.manual_seed(int(seeds.generate_state(1)[0]))
        if content is not None:
            self.heritage = Card.model_validate(content["heritage"])
            self.stopping = EarlyStopping.of(schedule.patience, content)
            restore(learner, content)
        batches = Batches(progress, self._loader, schedule.accumulate)
        with StopSignals() as stop, watch_workers(), self._hooks(progress) as hooks:
            run_loop(learner, batches, hooks, lambda: stop.requested or self.stopping.is_over)
            if self.fabric.is_global_zero:
                self._save(learner)

    @contextmanager
    def _hooks(self, progress: Progress) -> Iterator[list[Hook]]:
        """Creates the hooks between steps, only in the first process. Logs are closed at the end."""
        recipe, output = self.job.recipe, self.job.output
        if not self.fabric.is_global_zero:
            yield []
            return
        with atomic_path(output / "recipe.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        metrics = MetricsFile(output / "metrics.csv", progress.step)
        with open_loggers(output, recipe, self.job.logger, progress.step) as loggers, ProgressBar(self.console) as bar:
            yield [
                Reports(metrics, loggers, self._validate, recipe.schedule.validate_every),
                Pictures(output / "pictures", loggers, self._draw, recipe.schedule.pictures_every),
                Checkpoints(self._save, recipe.schedule.checkpoint_minutes),
                Forecast(self.console, fresh=not recipe.weights),
                bar,
            ]

    def _save(self, learner: Learner) -> None:
        save_checkpoint(self.job.checkpoint, learner, self.stopping, self.job.identity, self.heritage)

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _network(self) -> nn.Module:
        net: nn.Module = self.job.family.build(self.job.config)
        _check_crop(self.job.recipe, self.job.family.stride(net))
        for taken in all_taken(net):
            self._say(taken.text())
            self.heritage = inherited([self.heritage, Card(licence=taken.licence)])
        if self.job.recipe.weights:
            self._say(load_weights(net, start_weights(self.job.recipe.weights)))
        return net

    def _loader(self, stage: int, first_batch: int) -> Iterable[dict[str, Any]]:
        recipe, sampling = self.job.recipe, self.job.recipe.sampling
        settings = CropSettings(
            size=sampling.crop,
            batch=self.plan.batches[stage],
            seed=recipe.seed,
            cell_bias=sampling.cell_bias,
            balance=sampling.balance,
            sized=sampling.sized,
            sized_scale=sampling.sized_scale,
            streams=self.plan.stages[stage].streams,
            cache_megabytes=sampling.cache_megabytes,
        )
        crops = Crops(
            self.job.prepared.sources,
            self.job.family.targets,
            self.job.config,
            recipe.normalisation,
            recipe.augmentation,
            settings,
            self._strong(),
        )
        why = why_no_workers(crops, first_batch, self.workers)
        if why:
            self._say(f"note: {why}")
            self.workers = 0
        return crop_loader(
            crops,
            first_batch=first_batch,
            workers=self.workers,
            pin=self.fabric.device.type == "cuda",
            part=self.fabric.global_rank,
            parts=self.fabric.world_size,
        )

    def _strong(self) -> StrongChange | None:
        teacher = self.job.recipe.teacher
        if teacher is None:
            return None
        return StrongChange.of(self.job.recipe.augmentation, teacher.strength, teacher.cutouts, teacher.cutout_size)

    def _draw(self, learner: Learner) -> dict[str, Bytes]:
        file = self.job.make_model_file(learner.ema.weights(), self.heritage)
        return draw_all(build_model(file, device=str(self.fabric.device)), shown_places(self.job.prepared))

    def _validate(self, learner: Learner) -> dict[str, float]:
        images = types_in_turn(self.job.prepared.validation, self.job.recipe.schedule.validation_images)
        if not images:
            return {}
        file = self.job.make_model_file(learner.ema.weights(), self.heritage)
        score = mean_score(build_model(file, device=str(self.fabric.device)), images)
        self.stopping.add(score, learner.ema.weights())
        return {"validation/mean_ap": score}


def _check_crop(recipe: Recipe, stride: int) -> None:
    crop = recipe.sampling.crop
    if any(side % stride for side in crop):
        fitting = [-(-side // stride) * stride for side in crop]
        raise ConfigError(
            f"{recipe.name}: sampling.crop must be multiples of {stride} for this network, got {list(crop)}; "
            f"set sampling.crop={fitting}"
        )
