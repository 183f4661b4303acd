"""Images with label maps, in commonly used folder structures and naming schemes."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cytotome.datasets.files import (
    NAMED,
    by_name,
    check_shape,
    check_unique,
    content_digest,
    image_files,
    is_image,
    nearest,
    note_of_others,
    walk,
)
from cytotome.errors import DataError
from cytotome.io.images import read_image
from cytotome.io.labels import LABEL_SUFFIXES, read_label_map
from cytotome.types import Dataset, Instances, Note, Sample, SampleInfo

LABEL_FOLDERS = ("labels", "masks")
LABEL_ENDINGS = ("_labels", "_masks", "_label", "_mask", "_cp_masks")
ENDINGS = tuple(sorted(LABEL_ENDINGS, key=len, reverse=True))
"""Longest first: ``_cp_masks`` before ``_masks``."""


class FoldersDataset(Dataset):
    """Images and label maps (0 is background, each label is one cell, even if it has several parts).

    Two layouts are supported: ``images/NAME.*`` with ``labels/NAME.*`` (or ``masks/``), in the folder itself or in each
    of its subfolders, such as ``train/`` and ``test/``; or flat, ``NAME.tif`` next to ``NAME_labels.tif`` (or
    ``_masks``). An image without a label map is unlabelled. Ids are names, prefixed with ``SUBFOLDER/`` if there are
    subfolders.

    Args:
        root: the folder.
        class_name: class of all instances.
        unlabelled: include images without label maps.

    Raises:
        DataError: if no image is found, no label map matches an image, or two label maps match the same image.
    """

    def __init__(self, root: str | os.PathLike[str], *, class_name: str = "cell", unlabelled: bool = True) -> None:
        self.root = Path(root)
        self.name = self.root.resolve().name
        self.class_names = (class_name,)
        self._pairs: list[tuple[Path, Path | None]] = []
        infos = []
        parts = _find_parts(self.root)
        for part in parts:
            for image, labels in part.pairs:
                if labels is not None or unlabelled:
                    self._pairs.append((image, labels))
                    key = part.prefix + image.stem
                    infos.append(SampleInfo(key, class_name, key, None, "full" if labels else "none"))
        if not infos:
            raise DataError(
                f"{self.root}: no image found; expected images/ with labels/, or NAME.tif with NAME_labels.tif"
            )
        self.infos = check_unique(infos, self.root)
        self.notes = _notes(self.root, parts)

    def read(self, index: int) -> Sample:
        """One sample with its pixels."""
        image = read_image(self._pairs[index][0])
        instances = self.instances(index)
        if instances is not None:
            check_shape(image.source, image.shape, instances.shape)
        return Sample(self.infos[index], image, instances)

    def instances(self, index: int) -> Instances | None:
        """The masks of one sample, without reading its pixels."""
        labels = self._pairs[index][1]
        if labels is None:
            return None
        try:
            return Instances.from_label_map(read_label_map(labels), class_names=self.class_names)
        except DataError as error:
            raise error if str(labels) in str(error) else DataError(f"{labels}: {error}") from None

    def digest(self, index: int) -> str:
        """Returns a hash of the files of one sample."""
        return content_digest(*(path for path in self._pairs[index] if path is not None))


def has_images(root: Path) -> bool:
    """Whether :class:`FoldersDataset` would find an image in the folder."""
    return bool(image_files(root) or any(image_files(part / "images") for part in (root, *_subfolders(root))))


def _subfolders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


@dataclass(frozen=True)
class _Part:
    """The images of one folder with their label maps.

    Attributes:
        prefix: prefix of the ids.
        pairs: each image with its label map or None.
        spare: label maps that match no image.
        searched: the folders that were searched.
    """

    prefix: str
    pairs: list[tuple[Path, Path | None]]
    spare: list[Path]
    searched: tuple[Path, ...]


def _find_parts(root: Path) -> list[_Part]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; check the path")
    if (root / "images").is_dir():
        return [_parallel(root, "")]
    parts = [_parallel(part, f"{part.name}/") for part in _subfolders(root) if (part / "images").is_dir()]
    return parts or [_flat(root)]


def _parallel(part: Path, prefix: str) -> _Part:
    folders = [part / name for name in LABEL_FOLDERS]
    labels = [path for folder in folders for path in walk(folder, recursive=False) if _may_be_labels(path)]
    return _paired(prefix, image_files(part / "images"), labels, part, (part / "images", *folders))


def _flat(root: Path) -> _Part:
    labels = [path for path in walk(root, recursive=False) if _may_be_labels(path) and _has_ending(path)]
    images = [path for path in image_files(root) if not _is_made(path)]
    return _paired("", images, labels, root, (root,))


def _paired(prefix: str, images: list[Path], labels: list[Path], part: Path, searched: tuple[Path, ...]) -> _Part:
    """Pairs each image with the label map of the same name, with or without an ending.

    Raises:
        DataError: if two images have the same name, or two label maps match one image.
    """
    named: dict[str, list[Path]] = {}
    for path in labels:
        named.setdefault(path.stem, []).append(path)
    pairs: list[tuple[Path, Path | None]] = []
    for name, image in by_name(images, str(part)).items():
        fitting = [path for ending in ("", *LABEL_ENDINGS) for path in named.pop(name + ending, ())]
        if len(fitting) > 1:
            raise DataError(f"{image}: has two label maps, {fitting[0]} and {fitting[1]}; remove one of them")
        pairs.append((image, fitting[0] if fitting else None))
    return _Part(prefix, pairs, sorted(path for paths in named.values() for path in paths), searched)


def _may_be_labels(path: Path) -> bool:
    return path.suffix.lower() in LABEL_SUFFIXES


def _has_ending(path: Path) -> bool:
    return path.stem.endswith(LABEL_ENDINGS)


def _is_made(path: Path) -> bool:
    """Whether the name is that of a label map, or of an overlay written by ``segment``."""
    return path.stem.endswith((*LABEL_ENDINGS, "_overlay"))


def _notes(root: Path, parts: list[_Part]) -> tuple[Note, ...]:
    """Notes of files in the folder that are not used.

    Raises:
        DataError: if there are label maps and none matches an image.
    """
    spare = [path for part in parts for path in part.spare]
    pairs = [pair for part in parts for pair in part.pairs]
    notes: tuple[Note, ...] = ()
    if spare:
        names = tuple(_with_nearest(path, pairs, root) for path in spare[:NAMED])
        names += tuple(str(path.relative_to(root)) for path in spare[NAMED:])
        if not any(labels for _, labels in pairs):
            raise DataError(f"{root}: no label map is named like an image, for example {names[0]}; rename them")
        notes = (Note("label maps fit no image and are not used", names, "rename or remove them"),)
    searched = {folder.resolve() for part in parts for folder in part.searched}
    used = {path for pair in pairs for path in pair if path} | set(spare)
    rest = [path for path in walk(root) if path not in used]
    outside = [path for path in rest if path.parent.resolve() not in searched and is_image(path) and not _is_made(path)]
    if outside:
        folders = Counter(str(path.parent.relative_to(root)) for path in outside)
        names = tuple(f"{folder} ({count})" for folder, count in folders.items())
        notes += (Note(f"{len(outside)} images are in folders that are not searched; folders", names, "move them"),)
    others = [path for path in rest if path.parent.resolve() in searched and not path.stem.endswith("_overlay")]
    return notes + note_of_others(others, root)


def _with_nearest(labels: Path, pairs: list[tuple[Path, Path | None]], root: Path) -> str:
    """The name of a label map, with the most similar name of an image, preferring images without a label map."""
    images = [image for image, known in pairs if known is None] or [image for image, _ in pairs]
    ending = next((ending for ending in ENDINGS if labels.stem.endswith(ending)), "")
    return str(labels.relative_to(root)) + nearest(labels.stem.removesuffix(ending), [image.stem for image in images])
