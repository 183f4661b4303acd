"""What happens between the steps of a run: reports, validation, checkpoints, the progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from typing_extensions import override

from cytotome.models.card import Card
from cytotome.report.png import write_png
from cytotome.training.ancestry import Identity
from cytotome.training.checkpoint import restore, save_checkpoint
from cytotome.training.logs import MetricsFile
from cytotome.training.module import LOG_EVERY, TrainingModule
from cytotome.training.progress import forecast


class Checkpoints(lightning.Callback):
    """Writes ``path`` every so often, when stopped and at the end; starts from ``content`` where it is given."""

    def __init__(
        self, path: Path, identity: Identity, heritage: Card, minutes: float, content: dict[str, Any] | None
    ) -> None:
        self.path, self.identity, self.heritage = path, identity, heritage
        self.seconds, self.content = 60 * minutes, content
        self.written = time.monotonic()

    @override
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if self.content is not None:
            restore(pl_module, self.content)
            self.content = None
        self.written = time.monotonic()

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self.written >= self.seconds:
            self._save(pl_module)

    @override
    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._save(pl_module)

    @override
    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        if isinstance(exception, KeyboardInterrupt | SystemExit) and pl_module.average is not None:
            self._save(pl_module)

    def _save(self, module: lightning.LightningModule) -> None:
        assert isinstance(module, TrainingModule)
        save_checkpoint(self.path, module, self.identity, self.heritage)
        self.written = time.monotonic()


class Reports(lightning.Callback):
    """Losses to ``metrics.csv`` and TensorBoard; validation scores where they are asked for.

    Args:
        metrics: the table.
        validate: gives named scores of the averaged weights, or None.
        validate_every: steps between scores, 0 for never.
    """

    def __init__(
        self, metrics: MetricsFile, validate: Callable[[TrainingModule], dict[str, float]] | None, validate_every: int
    ) -> None:
        self.metrics, self.validate, self.validate_every = metrics, validate, validate_every

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        step = pl_module.progress.step
        if step % LOG_EVERY == 0:
            self._report(trainer, pl_module, pl_module.latest)
        if self.validate is not None and self.validate_every and step % self.validate_every == 0:
            self._report(trainer, pl_module, self.validate(pl_module))

    def _report(self, trainer: lightning.Trainer, module: TrainingModule, values: dict[str, float]) -> None:
        self.metrics.add(module.progress.step, module.progress.elapsed() / 60, values)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_metrics(values, module.progress.step)


class Pictures(lightning.Callback):
    """Pictures of what is found so far, to TensorBoard and to ``folder/STEP-NAME.png``.

    Args:
        folder: made where it is missing.
        draw: gives named ``(H, W, 3)`` uint8 pictures.
        every: steps between them, 0 for never.
    """

    def __init__(
        self, folder: Path, draw: Callable[[TrainingModule], dict[str, npt.NDArray[np.uint8]]], every: int
    ) -> None:
        self.folder, self.draw, self.every = folder, draw, every

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        step = pl_module.progress.step
        if not self.every or step % self.every:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, picture in self.draw(pl_module).items():
            write_png(self.folder / f"{step:07d}-{name}.png", picture)
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_image(f"pictures/{name}", picture, step, dataformats="HWC")


class Forecast(lightning.Callback):
    """Says how long the run will take, once some steps were timed.

    Args:
        console: what is said goes here.
        fresh: whether training starts from random weights.
    """

    first, timed, patience = 3, 10, 10.0
    """Steps that are not timed, since they compile and fill caches, and steps that are; seconds that are enough."""

    def __init__(self, console: Console, *, fresh: bool) -> None:
        self.console, self.fresh = console, fresh
        self.steps, self.since, self.said = 0, 0.0, False

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps += 1
        if self.steps == self.first:
            self.since = time.monotonic()
        timed, taken = self.steps - self.first, time.monotonic() - self.since
        if not self.said and timed > 0 and (timed == self.timed or taken > self.patience):
            assert isinstance(pl_module, TrainingModule)
            self.said, seconds = True, max(1e-6, taken / timed)
            self.console.print(forecast(pl_module.progress, seconds, fresh=self.fresh), highlight=False, soft_wrap=True)


class ProgressBar(lightning.Callback):
    """Part of the run that is done, time left and latest losses: on a terminal a bar, else a line each tenth."""

    def __init__(self, console: Console, every_seconds: float = 0.5) -> None:
        self.console, self.every = console, every_seconds
        self.bar: Progress | None = None
        self.drawn, self.tenth = 0.0, 0

    @override
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("training"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=self.console,
                auto_refresh=False,
            )
            self.bar.add_task("", total=1.0)
            self.bar.start()

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if now - self.drawn < self.every:
            return
        self.drawn = now
        assert isinstance(pl_module, TrainingModule)
        fraction = min(1.0, pl_module.progress.fraction())
        totals = {name: value for name, value in pl_module.latest.items() if name.endswith("/total")}
        text = f"step {pl_module.progress.step} " + " ".join(f"{name} {value:.4g}" for name, value in totals.items())
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=fraction, description=text, refresh=True)
        elif int(10 * fraction) > self.tenth:
            self.tenth = int(10 * fraction)
            self.console.print(f"{10 * self.tenth:3d} % {text}", highlight=False)

    @override
    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._close()

    @override
    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
