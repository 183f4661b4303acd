"""Planning of a run: finished images, remaining work, and files that must not be changed."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cytotome.app.console import Notices
from cytotome.app.discover import Source
from cytotome.app.segment.marks import Mark, Marks
from cytotome.app.segment.results import Results, Task
from cytotome.app.segment.settings import differences
from cytotome.errors import ConfigError
from cytotome.io.files import file_hash

CORRECTED = (
    "label maps that were changed after they were written are kept, and the tables describe them as they are now"
)
REPLACED = "files that were changed after they were written, or that no run wrote, are replaced as --overwrite asks"


@dataclass
class Work:
    """The work of a run.

    Attributes:
        segment: images to segment.
        measure: images with a manually corrected label map, which is kept, while its other files are updated.
        done: number of finished images.
        cells: number of their cells.
        failures: why an image cannot be segmented, by name.
    """

    segment: list[Task] = field(default_factory=list)
    measure: list[Task] = field(default_factory=list)
    done: int = 0
    cells: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def may_replace(run: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> bool:
    """Whether an interrupted run was allowed to replace results of other settings by those of these settings."""
    return bool(
        run
        and run.get("overwrite")
        and run.get("state") != "finished"
        and not differences(run.get("settings", {}), settings)
    )


def plan_work(
    results: Results, marks: Marks, sources: Sequence[Source], notices: Notices, *, overwrite: bool, others: bool
) -> Work:
    """Plans what to do with each image.

    Args:
        results: the folder, with the settings of this run.
        marks: the marks of the folder.
        sources: the images, with their names in the folder.
        notices: receives notices about files of the user.
        overwrite: segment every image, and replace existing files.
        others: replace results of other settings.

    Raises:
        ConfigError: if an image has results of other settings, and these must not be replaced.
    """
    work = Work()
    for source in sources:
        try:
            _plan(work, results, marks, source, notices, overwrite=overwrite, others=others)
        except OSError as error:
            work.failures[source.name] = fault_of_files(source, error)
    return work


def fault_of_files(source: Source, error: OSError) -> str:
    """Describes in one line files that could not be written, or read, for an image."""
    if error.errno == errno.ENAMETOOLONG:
        return f"{source.path}: its results would have too long a name; rename the image"
    place = f"{error.filename}: " if error.filename and str(error.filename) != str(source.path) else ""
    return f"{source.path}: {place}{error.strerror or error}; check its permissions and the free space"


def _plan(
    work: Work,
    results: Results,
    marks: Marks,
    source: Source,
    notices: Notices,
    *,
    overwrite: bool,
    others: bool,
) -> None:
    complete = results.is_complete(source)
    holder = marks.holder(source)
    mark = holder if holder and holder.name == source.name and holder.is_of(source) else None
    of_another = holder if mark is None else None
    if of_another and not overwrite:
        work.failures[source.name] = (
            f"{source.path}: {results.labels(source)} is of {of_another.path}; "
            "use --overwrite to replace it, or another folder"
        )
        return
    paged = marks.otherwise_paged(source)
    if not (overwrite or others):
        for one in (mark, *paged):
            _check_same(results, one)
    replaced = tuple(one for one in (of_another, *paged) if one)
    if overwrite:
        for path in results.users_files(source, holder):
            notices.add(str(path), REPLACED, "files")
        work.segment.append(Task(source, mark, replaced=replaced))
    else:
        _plan_known(work, results, Task(source, mark, replaced=replaced), notices, complete=complete)


def _plan_known(work: Work, results: Results, task: Task, notices: Notices, *, complete: bool) -> None:
    """Plans an image whose results do not conflict with those of another."""
    source, mark = task.source, task.before
    labels = results.labels(source)
    same = mark is not None and not differences(mark.settings, results.settings) and mark.is_current(source)
    measured = file_hash(labels) if labels.is_file() else ""
    if mark and same and measured and not results.wrote(labels, mark):
        notices.add(str(labels), CORRECTED, "files")
        if not complete or measured != mark.labels:
            kept = frozenset(results.users_files(source, mark))
            work.measure.append(Task(source, mark, kept, measured))
            return
    if mark and same and complete:
        work.done += 1
        work.cells += mark.cells
    elif users := results.users_files(source, mark):
        work.failures[source.name] = (
            f"{users[0]}: was {'changed after the run wrote it' if mark else 'not written by a run'}, and is kept; "
            f"to have {source.name} segmented, move it elsewhere or use --overwrite"
        )
    else:
        work.segment.append(task)


def _check_same(results: Results, mark: Mark | None) -> None:
    changes = differences(mark.settings, results.settings) if mark else []
    if changes:
        more = f"; and {len(changes) - 4} more" if len(changes) > 5 else ""
        listed = "; ".join(changes if not more else changes[:4])
        raise ConfigError(
            f"{results.folder}: contains results of other settings ({listed}{more}); "
            "use --overwrite to replace them, or another folder"
        )
