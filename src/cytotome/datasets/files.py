"""What the dataset layouts share: finding image files and checking that a sample fits together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
