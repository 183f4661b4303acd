"""Marks: records of finished images, one file each, which define to which image results belong.

Results belong to an image file, regardless of the working directory: a mark contains the path and the content hash of
that file, the settings, and the SHA-256 of every file that the run wrote. A file with other content belongs to the
user.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from cytotome.app.discover import MARKS, Source, stem_of
from cytotome.io.files import cached_file_hash, is_temporary

FileState: TypeAlias = list[int]

MARK_SUFFIX = ".mark"


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of a finished image.

    Attributes:
        name: name of the image in the tables.
        path: resolved path of its file when it was segmented.
        page: page of a file whose pages are separate images, None for other files.
        file: size and modification time of the file.
        content: SHA-256 of the file; empty if a run of an earlier version left it out.
        settings: settings with which the image was segmented.
        files: SHA-256 of each file that the run wrote, by path relative to the folder; empty for files that were
            changed before an earlier version's mark was completed.
        labels: SHA-256 of the label map that the rows describe; differs from ``files`` after a manual correction.
        cells: number of cells.
        row: line of ``images.csv``.
    """

    name: str
    path: str
    page: int | None
    file: FileState | None
    content: str
    settings: Mapping[str, Any]
    files: Mapping[str, str]
    labels: str
    cells: int
    row: str

    def line(self) -> str:
        """The first line of the mark's file, followed by the rows of the cells."""
        return json.dumps({key: value for key, value in asdict(self).items() if key != "name"}) + "\n"

    def is_of(self, source: Source) -> bool:
        """Whether the image is the same: the same file, or the same content at another path."""
        if self.page != source.page:
            return False
        return self.path == str(source.path.resolve()) or self.is_current(source)

    def is_current(self, source: Source) -> bool:
        """Whether the image's file is unchanged since it was segmented."""
        state = file_state(source.path)
        if state is None or self.file is None or state[0] != self.file[0]:
            return False
        if state == self.file and (self.path == str(source.path.resolve()) or not self.content):
            return True
        return bool(self.content) and self.content == content_hash(source.path)


class Marks:
    """The marks of a folder of results, read on demand.

    Args:
        folder: folder of the results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[tuple[str, int | None], list[str]] = {}
        self._states: dict[tuple[int, ...], list[str]] = {}
        self._stems: dict[str, str] = {}
        self._pages: dict[str, set[str]] = {}
        for mark in read_marks(folder):
            self._places.setdefault((mark.path, mark.page), []).append(mark.name)
            self._states.setdefault(tuple(mark.file or ()), []).append(mark.name)
            self._stems[stem_of(mark.name).casefold()] = mark.name
            self._pages.setdefault(mark.path, set()).add(mark.name)

    def get(self, name: str) -> Mark | None:
        """Returns the mark of an image, None if there is no readable one."""
        return read_mark(self.folder, name)

    def holder(self, source: Source) -> Mark | None:
        """Returns the mark that uses the names of the image's results, whether for this image or another."""
        name = self._stems.get(source.stem.casefold())
        return None if name is None else self.get(name)

    def otherwise_paged(self, source: Source) -> list[Mark]:
        """Returns marks of the same file in the other form: of the file if this is a page, of its pages if this is the
        file.
        """
        marks = map(self.get, sorted(self._pages.get(str(source.path.resolve()), ())))
        return [mark for mark in marks if mark is not None and (mark.page is None) != (source.page is None)]

    def known(self, sources: Sequence[Source]) -> list[Source]:
        """Returns the images, each with the name that its results already have in the folder."""
        mine = {source.name: source.path.resolve() for source in sources}
        return [self._known(source, mine) for source in sources]

    def _known(self, source: Source, mine: Mapping[str, Path]) -> Source:
        path = source.path.resolve()
        names = self._places.get((str(path), source.page), []) or self._moved(source)
        free = [name for name in names if mine.get(name) != path]  # two links to one file keep their names
        return source if source.name in names or not free else replace(source, name=free[0])

    def _moved(self, source: Source) -> list[str]:
        """Names of the marks of a file with this content and name that has been moved."""
        names = self._states.get(tuple(file_state(source.path) or ()), ())
        last = PurePosixPath(source.name).name
        marks = (self.get(name) for name in names if PurePosixPath(name).name == last)
        return [mark.name for mark in marks if mark and not os.path.exists(mark.path) and mark.is_of(source)]


def mark_path(folder: Path, name: str) -> Path:
    """Path of an image's mark."""
    return folder / MARKS / (name + MARK_SUFFIX)


def read_mark(folder: Path, name: str) -> Mark | None:
    """Reads an image's mark, None if there is no readable one."""
    try:
        return Mark(name=name, **first_line(mark_path(folder, name)))
    except (OSError, ValueError, TypeError):
        return None


def read_rows(folder: Path, name: str) -> str:
    """Reads the image's lines of ``cells.csv``."""
    with open(mark_path(folder, name), encoding="utf-8", newline="") as handle:
        handle.readline()
        return handle.read()


def read_marks(folder: Path) -> Iterator[Mark]:
    """Reads all readable marks, sorted by the images' names."""
    for name in sorted(mark_names(folder)):
        if mark := read_mark(folder, name):
            yield mark


def file_state(path: Path) -> FileState | None:
    """State of a file that shows whether it may have changed: size and modification time; None if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, empty if it cannot be read; computed once for all pages of a stack."""
    try:
        return cached_file_hash(path)
    except OSError:
        return ""


def mark_names(folder: Path) -> Iterator[str]:
    """Names of the images that have a mark, unordered."""
    root = folder / MARKS
    for parent, _, files in os.walk(root):
        for file in files:
            if file.endswith(MARK_SUFFIX) and not is_temporary(file):
                yield Path(parent, file).relative_to(root).as_posix().removesuffix(MARK_SUFFIX)


def first_line(path: Path) -> dict[str, Any]:
    """Reads the first line of a mark's file.

    Raises:
        OSError: if it is missing.
        ValueError: if it is damaged.
    """
    with open(path, encoding="utf-8") as handle:
        facts = json.loads(handle.readline())
    if not isinstance(facts, dict):
        raise ValueError("a mark is an object")
    return facts
