"""What the dataset layouts share: finding image files and checking that a sample fits together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from cytotome.errors import DataError
from cytotome.io.images import IMAGE_SUFFIXES
from cytotome.types import SampleInfo


def image_files(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Image files of a folder, known by their suffix, in the order of their names; none where there is no folder."""
    found = folder.rglob("*") if recursive else folder.glob("*")
    suffixes = {suffix.lower() for suffix in IMAGE_SUFFIXES}
    return sorted(path for path in found if path.suffix.lower() in suffixes and not path.name.startswith("."))


def by_name(files: Iterable[Path], source: str) -> dict[str, Path]:
    """Files by their bare name without folder and suffix.

    Raises:
        DataError: where two files have the same name.
    """
    named: dict[str, Path] = {}
    for path in files:
        if path.stem in named:
            raise DataError(f"{source}: both {named[path.stem]} and {path} are named {path.stem!r}; rename one")
        named[path.stem] = path
    return named


def check_shape(source: object, image: tuple[int, int], annotation: tuple[int, int]) -> None:
    """Raises DataError where an image is not of the size that its annotation was made for."""
    if image != annotation:
        raise DataError(
            f"{source}: the image is {image[0]}x{image[1]} (height x width), its annotation {annotation[0]}x"
            f"{annotation[1]}; they do not belong together"
        )


def check_unique(infos: Sequence[SampleInfo], source: object) -> tuple[SampleInfo, ...]:
    """The infos, once it is clear that no two have the same id."""
    seen: set[str] = set()
    for info in infos:
        if info.id in seen:
            raise DataError(f"{source}: two samples are named {info.id!r}; rename one")
        seen.add(info.id)
    return tuple(infos)


def content_digest(*parts: Path | str) -> str:
    """A hash of the content of files and of texts; a file is read again only where its size or time has changed.

    Raises:
        DataError: where a file cannot be read.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update((_file_digest_now(part) if isinstance(part, Path) else _hash(part.encode())).encode())
    return digest.hexdigest()


def _file_digest_now(path: Path) -> str:
    try:
        state = path.stat()
        return _file_digest(path.absolute(), state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None


@lru_cache(maxsize=100_000)
def _file_digest(path: Path, size: int, time: int) -> str:
    return _hash(path.read_bytes())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
