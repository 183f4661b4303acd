"""Logs of a run: ``metrics.csv``, one row per report, which a resumed run continues; TensorBoard; other services."""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from lightning.fabric.loggers.logger import Logger
from lightning.fabric.loggers.tensorboard import TensorBoardLogger

from cytotome.errors import ConfigError, one_line
from cytotome.io.files import atomic_path
from cytotome.training.recipe import Recipe

LoggerName: TypeAlias = Literal["wandb", "mlflow"]
_SERVICES: dict[LoggerName, str] = {"wandb": "Weights & Biases", "mlflow": "MLflow"}


def check_logger(name: str | None) -> None:
    """Raises ConfigError if a logger is unknown or not installed."""
    if name is None:
        return
    if name not in _SERVICES:
        raise ConfigError(f"logger: must be one of {', '.join(_SERVICES)}, got {name!r}")
    if importlib.util.find_spec(name) is None:
        raise ConfigError(f"logger: {_SERVICES[name]} is not installed; run pip install {name}")


@contextmanager
def open_loggers(output: Path, recipe: Recipe, logger: LoggerName | None, from_step: int) -> Iterator[list[Logger]]:
    """TensorBoard in ``output/tensorboard``, and the service ``logger``; closed at the end.

    Raises:
        ConfigError: if the service cannot be used, such as without a login.

    Args:
        output: folder of the run.
        recipe: provides the name of the run, and the fields shown by the service.
        logger: configured by the environment variables of the service, such as ``WANDB_MODE``, ``WANDB_PROJECT``,
            ``MLFLOW_TRACKING_URI`` or ``MLFLOW_EXPERIMENT_NAME``; without an address, MLflow writes to
            ``output/mlflow.db``.
        from_step: later steps of an earlier part of the run are dropped from TensorBoard.
    """
    loggers: list[Logger] = [TensorBoardLogger(output, name="", version="tensorboard", purge_step=from_step or None)]
    if logger is not None:
        try:
            loggers.append(_open_service(logger, output, recipe.name))
            loggers[-1].log_hyperparams(recipe.model_dump(mode="json"))
        except Exception as error:  # any error of the service
            raise ConfigError(f"logger: {_SERVICES[logger]} cannot be used ({one_line(error)})") from error
    try:
        yield loggers
    finally:
        for one in loggers:
            one.finalize("success")
        if logger == "wandb":
            import wandb

            wandb.finish()  # else the next run of this process would be logged to the same one


def _open_service(logger: LoggerName, output: Path, name: str) -> Logger:
    import lightning.pytorch.loggers as services  # seconds to import

    if logger == "wandb":
        return services.WandbLogger(name=name, save_dir=output, project=os.environ.get("WANDB_PROJECT", "cytotome"))
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "cytotome")
    address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(output / 'mlflow.db').resolve().as_posix()}"
    return services.MLFlowLogger(experiment, run_name=name, tracking_uri=address)


class MetricsFile:
    """A CSV table with the columns step, minutes and all reported values; rewritten for each new column.

    Args:
        path: path of the table.
        from_step: rows of later steps are dropped, since a resumed run reports them again.
    """

    def __init__(self, path: Path, from_step: int) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        self.columns: list[str] = ["step", "minutes"]
        if from_step and path.is_file():
            with path.open(newline="", encoding="utf-8") as handle:
                reader = csv.DictReader(handle)
                self.rows = [row for row in reader if _step(row) <= from_step]
                self.columns = list(reader.fieldnames or self.columns)
        self._write()

    def add(self, step: int, minutes: float, values: Mapping[str, float]) -> None:
        """Appends one row."""
        row = {
            "step": str(step),
            "minutes": f"{minutes:.3f}",
            **{name: f"{value:.6g}" for name, value in values.items()},
        }
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        if new:
            self.columns += new
            self._write()
            return
        with self.path.open("a", newline="", encoding="utf-8") as handle:
            csv.DictWriter(handle, self.columns, restval="").writerow(row)

    def _write(self) -> None:
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, self.columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)


def _step(row: Mapping[str, str | None]) -> int:
    text = row.get("step") or ""
    complete = None not in row.values()
    return int(text) if complete and text.isdigit() else 1 << 62
