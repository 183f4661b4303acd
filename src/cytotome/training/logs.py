"""Logs of a run: ``metrics.csv``, one row a report, which a resumed run continues where it stood."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from cytotome.io.files import atomic_path


class MetricsFile:
    """A CSV table with the columns step, minutes and whatever was reported; written whole at each new column.

    Args:
        path: of the table.
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
