"""The folder of results: files of each image, marks of finished images, tables.

An image's files are first written to a staging folder. Then its mark is written, which contains their hashes, and each
file is moved to its name. An image is finished when its mark and all its files exist, so a run can be killed at any
time and resumed, and a file whose content differs from its mark is known to be the user's. A mark also contains the
image's lines of the tables, from which these are assembled at the end.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy.typing as npt

from cytotome.app.discover import (
    COCO_FILE,
    IMAGES_FILE,
    LABELS_ENDING,
    MAP_PART,
    MARKS,
    OVERLAY_ENDING,
    RUN_FILE,
    Source,
    stem_of,
)
from cytotome.app.segment.marks import FileState, Mark, content_hash, file_state, mark_path, read_marks, read_rows
from cytotome.datasets.known_cells import CELLS_FILE
from cytotome.io.coco import coco_part, write_coco_parts
from cytotome.io.exports import Export, write_export
from cytotome.io.files import TEMPORARY_MARK, atomic_path, file_hash, is_temporary, read_json_object
from cytotome.io.labels import write_label_map
from cytotome.measurement.counts import count_cells
from cytotome.measurement.table import CELL_COLUMNS, IMAGE_COLUMNS, cell_rows, head, image_row
from cytotome.report.overlay import write_overlay
from cytotome.report.png import write_png
from cytotome.types import Image, Instances

MASKS_SUFFIX = ".masks"
TABLES_FILE = "tables.json"
"""File in the folder of marks: SHA-256 of the tables that runs wrote."""
STAGE = ".stage"
"""Staging folder for files that are being written, in the folder of marks."""


@dataclass(frozen=True, slots=True)
class Task:
    """An image whose files are to be written.

    Attributes:
        source: the image.
        before: its mark from an earlier run, None if it has none.
        kept: files of the user that are not changed.
        measured: SHA-256 of the user's label map that the rows describe, empty if it is not the user's.
        replaced: marks of other results that are replaced.
    """

    source: Source
    before: Mark | None = None
    kept: frozenset[Path] = frozenset()
    measured: str = ""
    replaced: tuple[Mark, ...] = ()


class Results:
    """The folder of results.

    Args:
        folder: created if it is missing.
        settings: settings with which images are segmented.
        overlays: whether overlays are written.
        maps: names of the maps that are drawn.
        coco: whether a COCO file of all masks is written.
        exports: formats of other packages in which each image is written, by name.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        overlays: bool,
        maps: Sequence[str] = (),
        coco: bool = False,
        exports: Mapping[str, Export] | None = None,
    ) -> None:
        self.folder, self.settings, self.overlays, self.maps = folder, settings, overlays, tuple(maps)
        self.coco, self.exports = coco, dict(exports or {})

    def labels(self, source: Source) -> Path:
        """Path of the label map."""
        return self.folder / (source.stem + LABELS_ENDING)

    def overlay(self, source: Source) -> Path:
        """Path of the overlay."""
        return self.folder / (source.stem + OVERLAY_ENDING)

    def map_picture(self, source: Source, name: str) -> Path:
        """Path of the picture of a map."""
        return self.folder / f"{source.stem}{MAP_PART}{name}.png"

    def exported(self, source: Source, export: Export) -> Path:
        """Path of an export."""
        return self.folder / (source.stem + export.ending)

    def masks(self, source: Source) -> Path:
        """Path of the image's part of the COCO file."""
        return self._masks(source.name)

    def _masks(self, name: str) -> Path:
        return self.folder / MARKS / (name + MASKS_SUFFIX)

    def visible(self, source: Source) -> list[Path]:
        """The files of an image that are visible to the user and may be changed."""
        files = [self.labels(source), *([self.overlay(source)] if self.overlays else [])]
        files += [self.map_picture(source, name) for name in self.maps]
        return files + [self.exported(source, export) for export in self.exports.values()]

    def is_complete(self, source: Source) -> bool:
        """Whether all files of the image exist.

        Raises:
            OSError: if one cannot exist, such as one with too long a name.
        """
        files = [mark_path(self.folder, source.name), *self.visible(source)]
        files += [self.masks(source)] if self.coco else []
        there = [_exists(path) for path in files]  # checks all files, to be sure that each can exist
        return all(there)

    def users_files(self, source: Source, mark: Mark | None) -> list[Path]:
        """Existing files with the image's names that were not written by the run."""
        return [path for path in self.visible(source) if _exists(path) and not self.wrote(path, mark)]

    def wrote(self, path: Path, mark: Mark | None) -> bool:
        """Whether a file is identical to what the image's run wrote."""
        return mark is not None and mark.files.get(self._relative(path)) == file_hash(path)

    def in_the_way(self, sources: Iterable[Source]) -> Path | None:
        """Returns an existing file that a run would overwrite; None if there is none, or the folder has marks of a
        run.
        """
        if (self.folder / MARKS).is_dir():
            return None
        tables = [CELLS_FILE, IMAGES_FILE, *([COCO_FILE] if self.coco else [])]
        files = chain((self.folder / name for name in tables), *map(self.visible, sources))
        return next((path for path in files if os.path.lexists(path)), None)

    def sweep(self) -> None:
        """Removes unfinished files of a killed run."""
        for parent, _, names in os.walk(self.folder):
            for name in names:
                if is_temporary(name):
                    Path(parent, name).unlink(missing_ok=True)

    def write(
        self,
        task: Task,
        state: FileState | None,
        image: Image,
        cells: Instances,
        pictures: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> int:
        """Writes all files of an image except those that the task keeps; returns the number of cells.

        Args:
            task: the image, and which of its files are kept.
            state: state of its file before it was read.
            image: the image, as it was read.
            cells: cells found in it.
            pictures: ``(H, W, 3)`` uint8 of each map.
        """
        source, labels = task.source, cells.to_label_map()
        makers: dict[Path, Callable[[Path], None]] = {
            self.labels(source): lambda path: write_label_map(path, labels, image.microns_per_pixel)
        }
        if self.overlays:
            makers[self.overlay(source)] = lambda path: write_overlay(path, image, cells)
        for name, picture in (pictures or {}).items():
            makers[self.map_picture(source, name)] = partial(write_png, pixels=picture)
        for name, export in self.exports.items():
            makers[self.exported(source, export)] = partial(write_export, name, export, image=image, cells=cells)
        with self._stage() as stage:
            staged: dict[Path, Path] = {}
            hashes = {}
            for target, make in makers.items():
                if target not in task.kept:
                    staged[target] = stage(target.suffix)
                    make(staged[target])
                    hashes[self._relative(target)] = file_hash(staged[target])
                elif task.before:  # the run's hash is kept, so that this file remains the user's
                    hashes[self._relative(target)] = task.before.files.get(self._relative(target), "")
            row = image_row(source.name, image, count_cells(cells, labels))
            mark = self._mark(task, state, hashes, row, len(cells))
            texts = {mark_path(self.folder, source.name): mark.line() + cell_rows(source.name, image, cells)}
            if self.coco:
                texts[self.masks(source)] = json.dumps(coco_part(source.name, cells))
            for target, text in texts.items():
                staged[target] = stage(".txt")
                staged[target].write_text(text, encoding="utf-8", newline="")
                _synced(staged[target])
            self._put(task, staged)
        return len(cells)

    def _mark(self, task: Task, state: FileState | None, files: Mapping[str, str], row: str, cells: int) -> Mark:
        source = task.source
        labels = self.labels(source)
        return Mark(
            name=source.name,
            path=str(source.path.resolve()),
            page=source.page,
            file=state,
            content=content_hash(source.path) if file_state(source.path) == state else "",
            settings=self.settings,
            files=files,
            labels=task.measured or files[self._relative(labels)],
            cells=cells,
            row=row,
        )

    def _put(self, task: Task, staged: Mapping[Path, Path]) -> None:
        """Moves files to their names: removes old ones first, then writes the mark, then moves the files."""
        for mark in task.replaced:
            self._discard(mark)
        mark_file = mark_path(self.folder, task.source.name)
        for target in staged:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target != mark_file:
                target.unlink(missing_ok=True)
        if task.before:
            self._discard_files(task.before, but=task.kept)
        os.replace(staged[mark_file], mark_file)
        for target, made in staged.items():
            if target != mark_file:
                os.replace(made, target)

    def _discard(self, mark: Mark) -> None:
        """Removes what a run wrote for an image, the mark last."""
        self._discard_files(mark, but=())
        mark_path(self.folder, mark.name).unlink(missing_ok=True)

    def _discard_files(self, mark: Mark, but: Iterable[Path]) -> None:
        for path in map(self.folder.joinpath, mark.files):
            if path not in but and _exists(path) and self.wrote(path, mark):
                path.unlink()
        self._masks(mark.name).unlink(missing_ok=True)

    def assemble(self, *, overwrite: bool) -> list[Path]:
        """Assembles tables and COCO file from the marks, sorted by the images' names, one image at a time.

        Args:
            overwrite: whether to replace tables that were not written by a run.

        Returns:
            Tables that were kept because they were not written by a run, or changed since.
        """
        known = read_json_object(self.folder / MARKS / TABLES_FILE) or {}
        makers = {CELLS_FILE: self._write_cells, IMAGES_FILE: self._write_images}
        if self.coco:
            makers[COCO_FILE] = self._write_coco
        kept, ready, staged = [], {}, {}
        with self._stage() as stage:
            for name, make in makers.items():
                staged[name] = stage(Path(name).suffix)
                make(staged[name])
                _synced(staged[name])
                there = file_hash(self.folder / name) if _exists(self.folder / name) else None
                made = file_hash(staged[name])
                if there in (None, made, *known.get(name, ())) or overwrite:
                    ready[name] = [made] if there in (None, made) else [made, there]
                else:
                    kept.append(self.folder / name)
            self._note_tables(
                known | ready
            )  # the new and the old ones, in case the run is killed before the last is moved
            for name in ready:
                os.replace(staged[name], self.folder / name)
        self._note_tables(known | {name: hashes[:1] for name, hashes in ready.items()})
        return kept

    def _note_tables(self, hashes: Mapping[str, list[Any]]) -> None:
        with atomic_path(self.folder / MARKS / TABLES_FILE) as temporary:
            temporary.write_text(json.dumps(hashes, sort_keys=True) + "\n", encoding="utf-8")

    def marks(self) -> Iterator[Mark]:
        """Returns marks of the images with a label map in the folder, sorted by name."""
        for mark in read_marks(self.folder):
            if (self.folder / (stem_of(mark.name) + LABELS_ENDING)).is_file():
                yield mark

    def _write_images(self, path: Path) -> None:
        with open(path, "w", encoding="utf-8", newline="") as table:
            table.write(head(IMAGE_COLUMNS))
            table.writelines(mark.row for mark in self.marks())

    def _write_cells(self, path: Path) -> None:
        with open(path, "w", encoding="utf-8", newline="") as table:
            table.write(head(CELL_COLUMNS))
            table.writelines(read_rows(self.folder, mark.name) for mark in self.marks())

    def _write_coco(self, path: Path) -> None:
        masks = (self._masks(mark.name) for mark in self.marks())
        write_coco_parts(path, (json.loads(file.read_text(encoding="utf-8")) for file in masks if file.is_file()))

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Writes ``run.json``."""
        with atomic_path(self.folder / RUN_FILE) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    @contextmanager
    def _stage(self) -> Iterator[Callable[[str], Path]]:
        """Yields paths of any suffix for files that are being written, on the same disk; files not moved are
        removed.
        """
        folder, token = self.folder / MARKS / STAGE, secrets.token_hex(6)
        folder.mkdir(parents=True, exist_ok=True)
        made: list[Path] = []

        def stage(suffix: str) -> Path:
            made.append(folder / f".{token}{TEMPORARY_MARK}.{len(made)}{suffix}")
            return made[-1]

        try:
            yield stage
        finally:
            for path in made:
                path.unlink(missing_ok=True)


def read_run(folder: Path) -> dict[str, Any] | None:
    """Reads a folder's ``run.json``, None if it is missing or not JSON."""
    return read_json_object(folder / RUN_FILE)


def _exists(path: Path) -> bool:
    """Whether a path exists.

    Raises:
        OSError: if it cannot exist, such as one with too long a name.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _synced(path: Path) -> None:
    """Flushes a file's content to disk before it is renamed."""
    with open(path, "rb+") as handle:
        os.fsync(handle.fileno())
