"""Shared by all dataset layouts: finding image files and checking samples for consistency."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from cytotome.errors import DataError
from cytotome.io.files import cached_file_hash
from cytotome.io.images import IMAGE_SUFFIXES
from cytotome.types import Note, SampleInfo

NAMED = 20
"""Maximum number of label maps without an image for which the nearest name is searched."""
PASSED_OVER = (
    *(".csv", ".tsv", ".xls", ".xlsx", ".ods", ".json", ".gz", ".yaml", ".yml", ".xml", ".txt", ".md", ".html", ".pdf"),
    *(".log", ".ini", ".db", ".py", ".ipynb"),
)
"""Suffixes of tables and texts, which are ignored without a note."""


def walk(folder: Path, *, recursive: bool = True) -> list[Path]:
    """Files of a folder and its subfolders, sorted by name; none if there is no folder.

    Linked subfolders are searched like others, each folder once. Hidden files and folders are skipped.

    Raises:
        DataError: if a folder cannot be read.
    """
    if not folder.is_dir():
        return []
    found: list[Path] = []
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        place = os.path.realpath(parent)
        folders[:] = [name for name in folders if not name.startswith(".")] if recursive and place not in seen else []
        found += [Path(parent, name) for name in names if not name.startswith(".") and place not in seen]
        seen.add(place)
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions")


def is_image(path: Path) -> bool:
    """Whether the suffix is that of a supported image format."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def image_files(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Image files of a folder, by suffix, sorted by name; none if there is no folder."""
    return [path for path in walk(folder, recursive=recursive) if is_image(path)]


def note_of_others(files: Iterable[Path], root: Path) -> tuple[Note, ...]:
    """Returns a note of unexpected files, which are not read."""
    others = [path for path in files if path.suffix.lower() not in PASSED_OVER]
    if not others:
        return ()
    names = tuple(str(path.relative_to(root)) for path in others)
    return (Note("files of unsupported types", names, "convert them to TIFF or PNG"),)


def nearest(name: str, images: Iterable[str]) -> str:
    """Returns a hint at the image with the name most similar to ``name``; empty if there is no image."""
    found = get_close_matches(name, list(images), 1, 0.0)
    return f" (nearest image: {found[0]})" if found else ""


def by_name(files: Iterable[Path], source: str) -> dict[str, Path]:
    """Files by their name without folder and suffix.

    Raises:
        DataError: if two files have the same name.
    """
    named: dict[str, Path] = {}
    for path in files:
        if path.stem in named:
            raise DataError(f"{source}: both {named[path.stem]} and {path} are named {path.stem!r}; rename one")
        named[path.stem] = path
    return named


def check_shape(source: object, image: tuple[int, int], annotation: tuple[int, int]) -> None:
    """Raises DataError if the size of an image differs from that of its annotation."""
    if image != annotation:
        raise DataError(
            f"{source}: the image is {image[0]}x{image[1]} (height x width), its annotation {annotation[0]}x"
            f"{annotation[1]}; they do not belong together"
        )


def check_unique(infos: Sequence[SampleInfo], source: object) -> tuple[SampleInfo, ...]:
    """Returns the infos after checking that ids are unique."""
    seen: set[str] = set()
    for info in infos:
        if info.id in seen:
            raise DataError(f"{source}: two samples are named {info.id!r}; rename one")
        seen.add(info.id)
    return tuple(infos)


def content_digest(*parts: Path | str) -> str:
    """A hash of the content of files and of texts; a file is only read again if its size or time has changed.

    Raises:
        DataError: if a file cannot be read.
    """
    digest = hashlib.sha256()
    for part in parts:
        part_hash = _file_hash(part) if isinstance(part, Path) else hashlib.sha256(part.encode()).hexdigest()
        digest.update(part_hash.encode())
    return digest.hexdigest()


def _file_hash(path: Path) -> str:
    try:
        return cached_file_hash(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None
