"""The folder of results: files of each image, the marks of what is done, the tables.

An image is done when its mark is there. The mark is written after the image's other files, each of which appears under
its name only when it is whole; so a run can be killed at any moment and taken up again. A mark holds the image's lines
of the tables, from which these are put together at the end.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from cytotome.app.discover import LABELS_ENDING, MAP_PART, MARKS, OVERLAY_ENDING, Source
from cytotome.io.coco import coco_part, write_coco_parts
from cytotome.io.files import atomic_path, is_temporary, read_json_object
from cytotome.io.labels import write_label_map
from cytotome.measure.counts import count_cells
from cytotome.measure.table import CELL_COLUMNS, IMAGE_COLUMNS, cell_rows, head, image_row
from cytotome.ops.labels import to_label_map
from cytotome.report.overlay import write_overlay
from cytotome.types import Image, Instances

FileState: TypeAlias = list[int]

MARK_SUFFIX, MASKS_SUFFIX = ".mark", ".masks"
RUN_FILE, CELLS_FILE, IMAGES_FILE, COCO_FILE = "run.json", "cells.csv", "images.csv", "cells.json"


class Results:
    """The folder of results.

    Args:
        folder: made where it is missing.
        overlays: whether overlays are written.
        maps: names of the maps of which pictures are written.
        coco: whether a COCO file of all masks is written.
    """

    def __init__(self, folder: Path, *, overlays: bool, maps: Sequence[str] = (), coco: bool = False) -> None:
        self.folder, self.overlays, self.maps = folder, overlays, tuple(maps)
        self.coco = coco

    def labels(self, source: Source) -> Path:
        """File of the label map."""
        return self.folder / (source.stem + LABELS_ENDING)

    def overlay(self, source: Source) -> Path:
        """File of the overlay."""
        return self.folder / (source.stem + OVERLAY_ENDING)

    def map_picture(self, source: Source, name: str) -> Path:
        """File of the picture of a map."""
        return self.folder / f"{source.stem}{MAP_PART}{name}.png"

    def mark(self, source: Source) -> Path:
        """File that says that the image is done."""
        return self.folder / MARKS / (source.name + MARK_SUFFIX)

    def masks(self, source: Source) -> Path:
        """File of the image's part of the COCO file."""
        return self.folder / MARKS / (source.name + MASKS_SUFFIX)

    def is_done(self, source: Source) -> bool:
        """Whether all files of the image are there, made from the file as it is now."""
        facts = self._facts(source)
        return (
            bool(facts)
            and file_state(source.path) == facts.get("file")
            and all(path.is_file() for path in self._files(source))
        )

    def belongs_to_another(self, source: Source) -> Path | None:
        """The other image, by place and by content, of which the files under this image's name are; None if none."""
        facts, path = self._facts(source), str(source.path.resolve())
        other = facts.get("path", path)
        return None if other == path or facts.get("file") == file_state(source.path) else Path(other)

    def in_the_way(self, sources: Iterable[Source]) -> Path | None:
        """A file that a run would write and that is there already, None if none or where a run left its marks."""
        if (self.folder / MARKS).is_dir():
            return None
        tables = [CELLS_FILE, IMAGES_FILE, *([COCO_FILE] if self.coco else [])]
        files = chain((self.folder / name for name in tables), *map(self._files, sources))
        return next((path for path in files if path.exists()), None)

    def _facts(self, source: Source) -> dict[str, Any]:
        """The first line of the image's mark, empty where there is none that can be read."""
        try:
            with open(self.mark(source), encoding="utf-8") as handle:
                facts = json.loads(handle.readline())
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def _files(self, source: Source) -> list[Path]:
        """The files of an image, without its mark."""
        files = [self.labels(source), *([self.overlay(source)] if self.overlays else [])]
        files += [self.masks(source)] if self.coco else []
        return files + [self.map_picture(source, name) for name in self.maps]

    def discard(self, source: Source) -> None:
        """Removes the files of an image, the mark first."""
        pictures = (self.map_picture(source, name) for name in self.maps)
        for path in (self.mark(source), self.masks(source), self.labels(source), self.overlay(source), *pictures):
            path.unlink(missing_ok=True)

    def discard_marks(self, sources: Iterable[Source] | None = None) -> None:
        """Makes these images undone, or every one."""
        if sources is None:
            shutil.rmtree(self.folder / MARKS, ignore_errors=True)
        else:
            for source in sources:
                self.mark(source).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Removes what a killed run left of unfinished files."""
        for parent, _, names in os.walk(self.folder):
            for name in names:
                if is_temporary(name):
                    Path(parent, name).unlink(missing_ok=True)

    def write(self, source: Source, state: FileState | None, image: Image, cells: Instances) -> int:
        """Writes all files of an image, the mark last; gives the number of cells.

        Args:
            source: the image.
            state: of its file, taken before it was read.
            image: as it was read.
            cells: found in it.
        """
        labels = to_label_map(cells)
        write_label_map(self.labels(source), labels, image.microns_per_pixel)
        if self.overlays:
            write_overlay(self.overlay(source), image, cells)
        if self.coco:
            with atomic_path(self.masks(source)) as temporary:
                temporary.write_text(json.dumps(coco_part(source.name, cells)), encoding="utf-8")
        path = str(source.path.resolve())
        facts = {"path": path, "file": state, "row": image_row(source.name, image, count_cells(cells, labels))}
        with atomic_path(self.mark(source)) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
            handle.write(json.dumps(facts) + "\n")
            handle.write(cell_rows(source.name, image, cells))
        return len(cells)

    def assemble(self) -> None:
        """Puts tables and COCO file together from the marks, in the order of the images' names, an image at a time."""
        marks = sorted(self._marks())
        with atomic_path(self.folder / IMAGES_FILE) as temporary, open(temporary, "wb") as table:
            table.write(head(IMAGE_COLUMNS).encode())
            for _, path in marks:
                with open(path, "rb") as mark:
                    table.write(json.loads(mark.readline())["row"].encode())
        with atomic_path(self.folder / CELLS_FILE) as temporary, open(temporary, "wb") as table:
            table.write(head(CELL_COLUMNS).encode())
            for _, path in marks:
                with open(path, "rb") as mark:
                    mark.readline()
                    shutil.copyfileobj(mark, table)
        if self.coco:
            masks = (path.with_name(path.name.removesuffix(MARK_SUFFIX) + MASKS_SUFFIX) for _, path in marks)
            parts = (json.loads(path.read_text(encoding="utf-8")) for path in masks if path.is_file())
            write_coco_parts(self.folder / COCO_FILE, parts)

    def write_run(self, content: dict[str, Any]) -> None:
        """Writes ``run.json``."""
        with atomic_path(self.folder / RUN_FILE) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _marks(self) -> Iterator[tuple[str, Path]]:
        root = self.folder / MARKS
        for parent, _, names in os.walk(root):
            for name in names:
                if name.endswith(MARK_SUFFIX) and not is_temporary(name):
                    path = Path(parent, name)
                    yield path.relative_to(root).as_posix(), path


def read_run(folder: Path) -> dict[str, Any] | None:
    """The content of a folder's ``run.json``, None where it is missing or no JSON."""
    return read_json_object(folder / RUN_FILE)


def file_state(path: Path) -> FileState | None:
    """What tells whether a file has changed: its size and the time of its last change; None where it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
