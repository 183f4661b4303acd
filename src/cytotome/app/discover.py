"""Discovery of images from the user's inputs, each with the name of its results."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from cytotome.app.console import printable
from cytotome.datasets.known_cells import CELLS_FILE
from cytotome.errors import ConfigError, ImageError
from cytotome.io.images import IMAGE_SUFFIXES, page_count, read_image
from cytotome.types import Image

LABELS_ENDING, OVERLAY_ENDING, MAP_PART = "_labels.tif", "_overlay.png", "_map_"
MARKS = ".done"
"""Subfolder of the results with the marks of finished images."""
RUN_FILE, IMAGES_FILE, COCO_FILE = "run.json", "images.csv", "cells.json"
TABLES = (CELLS_FILE, IMAGES_FILE, COCO_FILE)


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One image.

    Attributes:
        name: path relative to the common folder of all inputs, with ``/`` and suffix, as in tables.
        path: the file.
        page: page of a file whose pages are separate images, None for other files.
    """

    name: str
    path: Path
    page: int | None = None

    @property
    def stem(self) -> str:
        """The name without its suffix, used for the names of results."""
        return stem_of(self.name)

    @property
    def place(self) -> str:
        """The file and, if it is one of several, the page, which identify the image."""
        return str(self.path) if self.page is None else f"{self.path}, page {self.page}"

    def read(self, page: int = 0) -> Image:
        """Reads the image: its own page of the file, or by default the given one.

        Raises:
            ImageError: if it cannot be read or used.
        """
        image = read_image(self.path, page=page if self.page is None else self.page)
        return replace(image, source=self.place)

    def pages(self) -> list[Source]:
        """Returns each page of the file, named ``NAME_p000.tif`` and so on; the image itself if it has only one page.

        Files that cannot be read are kept; the error is reported when they are read.
        """
        try:
            count = page_count(self.path)
        except ImageError:
            return [self]
        if count == 1:
            return [self]
        suffix, digits = PurePosixPath(self.name).suffix, max(3, len(str(count - 1)))
        return [Source(f"{self.stem}_p{page:0{digits}d}{suffix}", self.path, page) for page in range(count)]


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search.

    Attributes:
        sources: the unique images, sorted by name.
        passed_over: skipped files, by reason.
    """

    sources: list[Source]
    passed_over: dict[str, list[str]]

    def passed_over_lines(self) -> list[str]:
        """Returns a line for each reason, with a count and the first name."""
        return [
            f"skipped: {reason}: {len(names)}, first {min(names)}"
            if len(names) > 1
            else f"skipped: {reason}: {names[0]}"
            for reason, names in sorted(self.passed_over.items())
        ]


def discover(inputs: Sequence[str], output: Path) -> list[Source]:
    """Returns the images that :func:`search` finds."""
    return search(inputs, output).sources


def search(inputs: Sequence[str], output: Path) -> Found:
    """Finds the unique images of files, folders and globs, sorted by name, and the skipped files.

    Folders are searched with their subfolders. Hidden files, linked folders, files of other kinds and results of runs
    are skipped. Names are relative to the common folder of all inputs, so that subfolders are mirrored.

    Raises:
        ConfigError: if inputs do not exist (all are listed), there are no images, or a folder cannot be read.
    """
    found: dict[Path, Path] = {}
    passed: dict[str, list[str]] = {}
    missing = []
    for text in inputs:
        matches = list(_matches(text, output, passed))
        missing += [] if matches or Path(text).is_dir() else [text]
        for path, root in matches:
            found.setdefault(path, root)
    passed = {
        reason: rest for reason, names in passed.items() if (rest := sorted({n for n in names if Path(n) not in found}))
    }
    result = Found([], passed)
    if missing:
        raise ConfigError(f"{', '.join(missing)}: no such file, folder or match; check the path")
    if not found:
        others = "".join(f"; {line}" for line in result.passed_over_lines())
        raise ConfigError(
            f"{', '.join(inputs)}: no image found; expected files ending in {', '.join(IMAGE_SUFFIXES)}{others}"
        )
    common = _common_folder(found.values())
    return Found(sorted(Source(path.relative_to(common).as_posix(), path) for path in found), passed)


def split_clashes(sources: Iterable[Source]) -> tuple[list[Source], dict[str, str]]:
    """Returns the sources whose results have unique names, and a message for each of the others, by name."""
    first: dict[str, Source] = {}
    clashes = {}
    for source in sources:
        other = first.setdefault(source.stem.casefold(), source)
        if other is not source:
            clashes[source.name] = (
                f"{source.path}: its results would have the names of those of {other.name}; rename one of the two"
            )
    return list(first.values()), clashes


def stem_of(name: str) -> str:
    """Returns an image's name without its suffix."""
    return str(PurePosixPath(name).with_suffix(""))


def split_unspeakable(sources: Iterable[Source]) -> tuple[list[Source], dict[str, str]]:
    """Returns the sources whose names can be written to tables, and a message for each of the others, by name."""
    kept, faults = [], {}
    for source in sources:
        if printable(source.name) == source.name:
            kept.append(source)
        else:
            name = printable(source.name)
            faults[name] = f"{printable(str(source.path))}: its name is not UTF-8, as tables need it; rename the file"
    return kept, faults


def _matches(text: str, output: Path, passed: dict[str, list[str]]) -> Iterator[tuple[Path, Path]]:
    """Yields the images of one input, each with the folder to which its name is relative; paths are absolute.

    Skipped files are added to ``passed``, by reason.
    """
    path = Path(os.path.abspath(text))
    if path.is_dir():
        yield from ((file, path) for file in _walk(path, output, passed))
    elif path.exists():
        yield path, path.parent
    elif glob.has_magic(text):
        root = _fixed_part(path)
        for match in sorted(glob.glob(str(path), recursive=True)):
            if os.path.isdir(match):
                yield from ((file, root) for file in _walk(Path(match), output, passed))
            elif _is_taken(Path(match), root, output, passed):
                yield Path(match), root


def _walk(folder: Path, output: Path, passed: dict[str, list[str]]) -> Iterator[Path]:
    results = Path(os.path.abspath(output))
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        for name in folders:
            if os.path.islink(Path(parent, name)) and not name.startswith("."):
                passed.setdefault("linked folders (name them to have them searched)", []).append(
                    str(Path(parent, name))
                )
        folders[:] = sorted(name for name in folders if not name.startswith(".") and Path(parent, name) != results)
        yield from (path for name in sorted(files) if _is_taken(path := Path(parent, name), folder, results, passed))


def _is_taken(path: Path, root: Path, output: Path, passed: dict[str, list[str]]) -> bool:
    """Whether a file in a folder is an image to segment; if not, the reason is noted."""
    reason = ""
    if path.is_relative_to(os.path.abspath(output)) and (
        path.name in (*TABLES, RUN_FILE) or _is_result(path, root, output)
    ):
        return False  # results of this command are not noted
    if not path.name.lower().endswith(IMAGE_SUFFIXES):
        reason = f"files ending in {path.suffix.lower()}" if path.suffix else "files without an ending"
    elif path.name.startswith("."):
        reason = "hidden files"
    elif _is_result(path, root, output):
        reason = "results of earlier runs"
    if reason:
        passed.setdefault(reason, []).append(str(path))
    return not reason


def _refuse(error: OSError) -> None:
    raise ConfigError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions or move it")


def _is_result(path: Path, root: Path, output: Path) -> bool:
    """Whether an image was written by this run or, below ``root``, by an earlier one."""
    named = path.name.endswith((LABELS_ENDING, OVERLAY_ENDING)) or (MAP_PART in path.name and path.suffix == ".png")
    return named and (
        path.is_relative_to(os.path.abspath(output))
        or any((folder / MARKS).is_dir() for folder in path.parents if folder.is_relative_to(root))
    )


def _fixed_part(pattern: Path) -> Path:
    """The folder before the first part of a pattern with a wildcard."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _common_folder(roots: Iterable[Path]) -> Path:
    try:
        return Path(os.path.commonpath([str(root) for root in set(roots)]))
    except ValueError:
        raise ConfigError("the inputs are on different drives; segment each drive in a separate run") from None
