"""From what a user typed to the images that are meant, each with the name of its results."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from cytotome.errors import ConfigError, ImageError
from cytotome.io.images import IMAGE_SUFFIXES, page_count, read_image
from cytotome.types import Image

LABELS_ENDING, OVERLAY_ENDING, MAP_PART = "_labels.tif", "_overlay.png", "_map_"
MARKS = ".done"
"""Folder, in that of a run's results, that says which images are done."""


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One image.

    Attributes:
        name: its path below the common folder of all inputs, with ``/`` and with its suffix: what tables call it.
        path: the file.
        page: of a file of which every page is an image of its own, None of any other.
    """

    name: str
    path: Path
    page: int | None = None

    @property
    def stem(self) -> str:
        """The name without its suffix; results are named after it."""
        return str(PurePosixPath(self.name).with_suffix(""))

    @property
    def place(self) -> str:
        """The file, and the page where it is one of several: what is told from all other images by."""
        return str(self.path) if self.page is None else f"{self.path}, page {self.page}"

    def read(self, page: int = 0) -> Image:
        """The image: its own page of the file, or the given one where it has none of its own.

        Raises:
            ImageError: where it cannot be used.
        """
        image = read_image(self.path, page=page if self.page is None else self.page)
        return replace(image, source=self.place)

    def pages(self) -> list[Source]:
        """Each page of the file by itself, named ``NAME_p000.tif`` and so on; the image itself where it has no other.

        Also a file that cannot be read is left as it is, to be told of when it is.
        """
        try:
            count = page_count(self.path)
        except ImageError:
            return [self]
        if count == 1:
            return [self]
        suffix, digits = PurePosixPath(self.name).suffix, max(3, len(str(count - 1)))
        return [Source(f"{self.stem}_p{page:0{digits}d}{suffix}", self.path, page) for page in range(count)]


def discover(inputs: Sequence[str], output: Path) -> list[Source]:
    """The images of files, folders and globs, by name, each once.

    Folders are searched with their subfolders. Hidden files, the folder of results and the results themselves, also
    those of earlier runs, are passed over. Names are relative to the folder that all inputs have in common,
    so that subfolders are mirrored.

    Raises:
        ConfigError: where an input is not there, all such inputs at once, where there is no image in any, or where a
            folder cannot be read.
    """
    found: dict[Path, Path] = {}
    missing = []
    for text in inputs:
        matches = list(_matches(text, output))
        missing += [] if matches or Path(text).is_dir() else [text]
        for path, root in matches:
            found.setdefault(path, root)
    if missing:
        raise ConfigError(f"{', '.join(missing)}: no such file, folder or match; check the path")
    if not found:
        raise ConfigError(f"{', '.join(inputs)}: no image found; expected files ending in {', '.join(IMAGE_SUFFIXES)}")
    common = _common_folder(found.values())
    return sorted(Source(path.relative_to(common).as_posix(), path) for path in found)


def split_clashes(sources: Iterable[Source]) -> tuple[list[Source], dict[str, str]]:
    """The sources whose results have names of their own, and a message for each of the others, by its name."""
    first: dict[str, Source] = {}
    clashes = {}
    for source in sources:
        other = first.setdefault(source.stem.casefold(), source)
        if other is not source:
            clashes[source.name] = (
                f"{source.path}: its results would have the names of those of {other.name}; rename one of the two"
            )
    return list(first.values()), clashes


def _matches(text: str, output: Path) -> Iterator[tuple[Path, Path]]:
    """Images of one input, each with the folder that its name is relative to; paths are absolute."""
    path = Path(os.path.abspath(text))
    if path.is_dir():
        yield from ((file, path) for file in _walk(path, output))
    elif path.exists():
        yield path, path.parent
    elif glob.has_magic(text):
        root = _fixed_part(path)
        for match in sorted(glob.glob(str(path), recursive=True)):
            if os.path.isdir(match):
                yield from ((file, root) for file in _walk(Path(match), output))
            elif match.lower().endswith(IMAGE_SUFFIXES) and not _is_result(Path(match), root, output):
                yield Path(match), root


def _walk(folder: Path, output: Path) -> Iterator[Path]:
    results = Path(os.path.abspath(output))
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and Path(parent, name) != results)
        for name in sorted(files):
            path = Path(parent, name)
            is_image = name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
            if is_image and not _is_result(path, folder, results):
                yield path


def _refuse(error: OSError) -> None:
    raise ConfigError(f"{error.filename}: cannot be read ({error.strerror}); mend its rights, or move it elsewhere")


def _is_result(path: Path, root: Path, output: Path) -> bool:
    """Whether an image was made by this run or, below ``root``, by an earlier one."""
    named = path.name.endswith((LABELS_ENDING, OVERLAY_ENDING)) or (MAP_PART in path.name and path.suffix == ".png")
    return named and (
        path.is_relative_to(os.path.abspath(output))
        or any((folder / MARKS).is_dir() for folder in path.parents if folder.is_relative_to(root))
    )


def _fixed_part(pattern: Path) -> Path:
    """The folder before the first part of a pattern that has a wildcard."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _common_folder(roots: Iterable[Path]) -> Path:
    try:
        return Path(os.path.commonpath([str(root) for root in set(roots)]))
    except ValueError:
        raise ConfigError("the inputs lie on different drives; segment them in runs of their own") from None
