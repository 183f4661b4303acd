"""What happens between the steps of a run: reports, validation, pictures, checkpoints, the progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from lightning.fabric.loggers.logger import Logger
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cytotome.report.png import write_png
from cytotome.training.logs import MetricsFile
from cytotome.training.loop import LOG_EVERY, Learner
from cytotome.training.progress import forecast


class Checkpoints:
    """Calls ``save`` at intervals of ``minutes``."""

    def __init__(self, save: Callable[[Learner], None], minutes: float) -> None:
        self.save, self.seconds = save, 60 * minutes
        self.written = time.monotonic()

    def after_step(self, learner: Learner) -> None:
        """Saves when it is due."""
        if time.monotonic() - self.written >= self.seconds:
            self.save(learner)
            self.written = time.monotonic()


class Reports:
    """Losses to ``metrics.csv`` and the loggers; validation scores if they are requested.

    Args:
        metrics: the table.
        loggers: TensorBoard, and others if asked for.
        validate: returns named scores of the averaged weights.
        validate_every: steps between scores, 0 for never.
    """

    def __init__(
        self,
        metrics: MetricsFile,
        loggers: Sequence[Logger],
        validate: Callable[[Learner], Mapping[str, float]],
        validate_every: int,
    ) -> None:
        self.metrics, self.loggers = metrics, loggers
        self.validate, self.validate_every = validate, validate_every

    def after_step(self, learner: Learner) -> None:
        """Reports when it is due."""
        step = learner.progress.step
        if step % LOG_EVERY == 0:
            self._report(learner, learner.latest)
        if self.validate_every and step % self.validate_every == 0:
            self._report(learner, self.validate(learner))

    def _report(self, learner: Learner, values: Mapping[str, float]) -> None:
        step = learner.progress.step
        self.metrics.add(step, learner.progress.elapsed() / 60, values)
        for logger in self.loggers:
            logger.log_metrics(dict(values), step)


class Pictures:
    """Pictures of what is found so far, to TensorBoard and to ``folder/STEP-NAME.png``.

    Args:
        folder: created if it does not exist.
        loggers: loggers of TensorBoard, which get the pictures.
        draw: returns named ``(H, W, 3)`` uint8 pictures.
        every: steps between them, 0 for never.
    """

    def __init__(
        self,
        folder: Path,
        loggers: Sequence[Logger],
        draw: Callable[[Learner], Mapping[str, npt.NDArray[np.uint8]]],
        every: int,
    ) -> None:
        self.folder, self.draw, self.every = folder, draw, every
        self.loggers = [logger for logger in loggers if isinstance(logger, TensorBoardLogger)]

    def after_step(self, learner: Learner) -> None:
        """Draws when it is due."""
        step = learner.progress.step
        if not self.every or step % self.every:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, picture in self.draw(learner).items():
            write_png(self.folder / f"{step:07d}-{name}.png", picture)
            for logger in self.loggers:
                logger.experiment.add_image(f"pictures/{name}", picture, step, dataformats="HWC")


class Forecast:
    """Prints how long the run will take, once some steps were timed.

    Args:
        console: stream for messages.
        fresh: whether training starts from random weights.
    """

    first, timed, patience = 3, 10, 10.0
    """Number of steps that are not timed, since they compile and fill caches, and of those that are; sufficient
    seconds."""

    def __init__(self, console: Console, *, fresh: bool) -> None:
        self.console, self.fresh = console, fresh
        self.steps, self.since, self.said = 0, 0.0, False

    def after_step(self, learner: Learner) -> None:
        """Counts the step; prints the forecast once."""
        self.steps += 1
        if self.steps == self.first:
            self.since = time.monotonic()
        timed, taken = self.steps - self.first, time.monotonic() - self.since
        if not self.said and timed > 0 and (timed == self.timed or taken > self.patience):
            self.said, seconds = True, max(1e-6, taken / timed)
            self.console.print(forecast(learner.progress, seconds, fresh=self.fresh), highlight=False, soft_wrap=True)


class ProgressBar:
    """Finished part of the run, remaining time and latest losses: a bar on a terminal, else a line per tenth.

    A context manager, within which the bar is shown.
    """

    def __init__(self, console: Console, every_seconds: float = 0.5) -> None:
        self.console, self.every = console, every_seconds
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            auto_refresh=False,
        )
        self.drawn, self.tenth = 0.0, 0

    def __enter__(self) -> ProgressBar:
        if self.console.is_terminal:
            self.bar.add_task("", total=1.0)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def after_step(self, learner: Learner) -> None:
        """Draws when it is due."""
        now = time.monotonic()
        if now - self.drawn < self.every:
            return
        self.drawn = now
        fraction = min(1.0, learner.progress.fraction())
        totals = {name: value for name, value in learner.latest.items() if name.endswith("/total")}
        text = f"step {learner.progress.step} " + " ".join(f"{name} {value:.4g}" for name, value in totals.items())
        if self.console.is_terminal:
            self.bar.update(self.bar.task_ids[0], completed=fraction, description=text, refresh=True)
        elif int(10 * fraction) > self.tenth:
            self.tenth = int(10 * fraction)
            self.console.print(f"{10 * self.tenth:3d} % {text}", highlight=False)
