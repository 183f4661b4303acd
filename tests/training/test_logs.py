"""The table of a run."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.loggers.logger import Logger

from cytotome.errors import ConfigError
from cytotome.training import logs
from cytotome.training.logs import MetricsFile, check_logger
from cytotome.training.recipe import load_recipe


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_rows_may_bring_new_columns(tmp_path: Path) -> None:
    table = MetricsFile(tmp_path / "metrics.csv", 0)
    table.add(10, 0.5, {"a": 1.25})
    table.add(20, 1.0, {"b": 2.0, "a": 3.0})
    table.add(30, 1.5, {"b": 4.0})
    assert rows_of(table.path) == [
        {"step": "10", "minutes": "0.500", "a": "1.25", "b": ""},
        {"step": "20", "minutes": "1.000", "a": "3", "b": "2"},
        {"step": "30", "minutes": "1.500", "a": "", "b": "4"},
    ]


def test_a_resumed_run_drops_what_it_will_report_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = MetricsFile(path, 0)
    for step in (10, 20, 30):
        table.add(step, step / 10, {"a": step})
    with path.open("a") as handle:
        handle.write("40,4.0")  # cut off by a kill
    resumed = MetricsFile(path, 20)
    assert [row["step"] for row in rows_of(path)] == ["10", "20"]
    resumed.add(30, 9.0, {"a": 1})
    assert [row["minutes"] for row in rows_of(path)] == ["1.000", "2.000", "9.000"]
    MetricsFile(path, 0)
    assert rows_of(path) == []


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_service_that_is_not_installed_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_logger(None)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"logger: \S.* is not installed; run pip install {name}"):
        check_logger(name)


class Service(Logger):
    """What was logged to a service that is not installed here."""

    name, version = "service", "1"

    def __init__(self) -> None:
        self.logged: list[Any] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.logged.append((step, metrics))

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self.logged.append(params["schedule"]["steps"])

    def finalize(self, status: str) -> None:
        self.logged.append(status)


def test_a_service_gets_the_recipe_and_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    monkeypatch.setattr(logs, "_open_service", lambda *_: service)
    recipe = load_recipe({"name": "a", "family": "flow", "schedule": {"steps": 7}})
    with logs.open_loggers(tmp_path, recipe, "mlflow", 0) as loggers:
        for logger in loggers:
            logger.log_metrics({"loss": 0.5}, 3)
    assert service.logged == [7, (3, {"loss": 0.5}), "success"]
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_a_service_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Logger:
        raise OSError("no\nlogin")

    monkeypatch.setattr(logs, "_open_service", fail)
    recipe = load_recipe({"name": "a", "family": "flow"})
    with (
        pytest.raises(ConfigError, match=r"^logger: MLflow cannot be used \(OSError: no login\)$"),
        logs.open_loggers(tmp_path, recipe, "mlflow", 0),
    ):
        pass
