"""Results of earlier versions, whose marks have no hashes: the marks are completed once."""

from __future__ import annotations

import csv
import glob
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cytotome.app.discover import LABELS_ENDING, MAP_PART, MARKS, OVERLAY_ENDING, RUN_FILE, TABLES, stem_of
from cytotome.app.segment.marks import Mark, file_state, first_line, mark_names, mark_path, read_rows
from cytotome.app.segment.results import TABLES_FILE, read_run
from cytotome.io.files import atomic_path, file_hash


def complete_marks(folder: Path) -> None:
    """Completes marks without hashes: a file that is not newer than its mark belongs to the run, others to the user.

    Of two such marks whose results have the same names, the earlier one is removed, as its results were overwritten.
    """
    old: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
    for name in mark_names(folder):
        try:
            path = mark_path(folder, name)
            facts = first_line(path)
            if "row" in facts and "files" not in facts:
                old.setdefault(stem_of(name).casefold(), []).append((path.stat().st_mtime_ns, name, facts))
        except (OSError, ValueError):
            continue  # treated as no mark
    if not old:
        return
    _claim_tables(folder)
    settings = (read_run(folder) or {}).get("settings", {})
    for marks in old.values():
        *replaced, (written, name, facts) = sorted(marks, key=lambda mark: mark[:2])
        _complete(folder, name, facts, written, settings)
        for _, other, _ in replaced:
            mark_path(folder, other).unlink()


def _complete(folder: Path, name: str, facts: Mapping[str, Any], written: int, settings: Mapping[str, Any]) -> None:
    stem = folder / stem_of(name)
    maps = stem.parent.glob(f"{glob.escape(stem.name)}{MAP_PART}*.png")
    labels = stem.with_name(stem.name + LABELS_ENDING)
    files = {
        path.relative_to(folder).as_posix(): file_hash(path) if path.stat().st_mtime_ns <= written else ""
        for path in (labels, stem.with_name(stem.name + OVERLAY_ENDING), *maps)
        if path.is_file()
    }
    path = str(facts.get("path", ""))
    mark = Mark(
        name=name,
        path=path,
        page=_page(name, path) if settings.get("page") == "all" else None,
        file=facts.get("file"),
        content="",
        settings=settings,
        files=files,
        labels=files.get(labels.relative_to(folder).as_posix(), ""),
        cells=int(next(csv.reader([facts["row"]]))[4]),
        row=facts["row"],
    )
    rows = read_rows(folder, name)
    with atomic_path(mark_path(folder, name)) as temporary:
        temporary.write_text(mark.line() + rows, encoding="utf-8", newline="")


def _page(name: str, path: str) -> int | None:
    """The page of a file whose image has this name."""
    number = re.fullmatch(re.escape(Path(path).stem) + r"_p(\d+)", PurePosixPath(stem_of(name)).name)
    return int(number[1]) if number else None


def _claim_tables(folder: Path) -> None:
    """Records which tables belong to the run: those not newer than ``run.json``, which was written after them."""
    run = file_state(folder / RUN_FILE)
    tables = [folder / name for name in TABLES if (folder / name).is_file()]
    mine = {path.name: [file_hash(path)] for path in tables if run and path.stat().st_mtime_ns <= run[1]}
    with atomic_path(folder / MARKS / TABLES_FILE) as temporary:
        temporary.write_text(json.dumps(mine) + "\n", encoding="utf-8")
