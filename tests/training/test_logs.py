"""The table of a run."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from cytotome.errors import ConfigError
from cytotome.training.logs import MetricsFile, check_logger


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
