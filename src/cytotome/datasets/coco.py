"""COCO annotations of any origin, with a folder of images."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import cast, get_args

from cytotome.datasets.files import (
    check_shape,
    check_unique,
    content_digest,
    image_files,
    is_image,
    note_of_others,
    walk,
)
from cytotome.errors import DataError
from cytotome.io.coco import UNKNOWN_CATEGORY, CocoFile, CocoImage, read_coco
from cytotome.io.images import read_image
from cytotome.types import Dataset, Instances, MaskQuality, Note, Sample, SampleInfo

QUALITIES = get_args(MaskQuality)


class CocoDataset(Dataset):
    """The images of one COCO file; regions marked ``iscrowd`` become ``Sample.ignore``.

    The id of a sample is the image's file name without folder and suffix; to make ids unique, the folder and, if
    needed, the suffix are added. It is the COCO id if the file names no image files. Only :meth:`read` needs the image
    files; annotations can be read without them.

    Args:
        annotations: JSON file, plain or ``.gz``.
        images: folder of the images, searched with its subfolders; images without an entry in the file are noted. By
            default, the folder of the file.

    Raises:
        DataError: if the file is not in COCO format, or names one image file twice.
    """

    def __init__(self, annotations: str | os.PathLike[str], *, images: str | os.PathLike[str] | None = None) -> None:
        path = Path(annotations)
        self.name = path.name.removesuffix(".gz").removesuffix(".json")
        self.folder = Path(images) if images is not None else path.parent
        self.file: CocoFile = read_coco(path)
        self.class_names = self.file.class_names or ("cell",)
        keys = _ids(self.file)
        infos = [self._info(key, entry) for key, entry in zip(keys, self.file.images, strict=True)]
        self.infos = check_unique(infos, path)
        self._found: dict[str, list[Path]] | None = None
        self.notes = self.file.notes + (self._notes(path) if images is not None else ())

    def _info(self, key: str, entry: CocoImage) -> SampleInfo:
        """The cell type of the image is as given, or the class of its cells if all have the same one."""
        annotations = self.file.annotations.get(entry.id, ())
        found = {
            annotation.get("category_id", UNKNOWN_CATEGORY)
            for annotation in annotations
            if not annotation.get("iscrowd", 0)
        }
        names = dict(zip(self.file.category_ids, self.file.class_names, strict=True))
        kind = entry.cell_type or (names.get(found.pop(), "") if len(found) == 1 else "")
        quality = entry.mask_quality or "full"
        if quality not in QUALITIES:
            raise DataError(
                f"{self.file.source}: image {key}: mask_quality must be one of {', '.join(QUALITIES)}, got {quality!r}"
            )
        return SampleInfo(key, kind, key, None, cast(MaskQuality, quality))

    def read(self, index: int) -> Sample:
        """Reads one sample with its pixels."""
        entry = self.file.images[index]
        image = read_image(self._path(entry))
        check_shape(image.source, image.shape, entry.shape)
        return Sample(self.infos[index], image, self.instances(index), self.file.crowd(entry.id))

    def instances(self, index: int) -> Instances | None:
        """Returns the masks of one sample, without reading its pixels."""
        if not self.infos[index].is_labelled:
            return None
        instances = self.file.instances(self.file.images[index].id)
        return instances if self.file.class_names else replace(instances, class_names=self.class_names)

    def _notes(self, path: Path) -> tuple[Note, ...]:
        """Notes of images that are only in the folder or only in the file, and of files of other kinds."""
        named = {_plain_path(entry).name: entry.file_name for entry in self.file.images if entry.file_name}
        files = walk(self.folder)
        there = {file.name for file in files}
        missing = tuple(path for name, path in named.items() if name not in there)
        extra = tuple(str(file.relative_to(self.folder)) for file in files if is_image(file) and file.name not in named)
        notes: tuple[Note, ...] = ()
        if extra:
            notes += (Note(f"images are not in {path.name} and not used", extra, "add them to it"),)
        if missing:
            notes += (Note(f"images of {path.name} are missing and cannot be read", missing, "add them"),)
        return notes + note_of_others([file for file in files if not is_image(file)], self.folder)

    def digest(self, index: int) -> str:
        """Returns a hash of the image's file and its annotations."""
        entry = self.file.images[index]
        return content_digest(self._path(entry), repr(self.file.annotations.get(entry.id)))

    def _path(self, entry: CocoImage) -> Path:
        """The image's file: at the given path, or of that name anywhere below the folder.

        Raises:
            DataError: if there is none, or several match equally well.
        """
        name = _plain_path(entry)
        direct = self.folder / name
        if entry.file_name and direct.is_file():
            return direct
        if self._found is None:
            self._found = {}
            for path in image_files(self.folder, recursive=True):
                self._found.setdefault(path.name, []).append(path)
        fitting = self._found.get(name.name, [])
        fitting = [path for path in fitting if path.parts[-len(name.parts) :] == name.parts] or fitting
        if not fitting:
            shown = entry.file_name or entry.id
            raise DataError(f"{self.file.source}: the image {shown} is not in {self.folder}; add it")
        if len(fitting) > 1:
            raise DataError(
                f"{self.file.source}: the image {name} matches both {fitting[0]} and {fitting[1]}; "
                "add the folder to file_name"
            )
        return fitting[0]


def _ids(file: CocoFile) -> list[str]:
    """The ids of the samples: as short as possible while unique.

    Raises:
        DataError: if two images have the same file.
    """
    if not all(entry.file_name for entry in file.images):
        return [str(entry.id) for entry in file.images]
    paths = [_plain_path(entry) for entry in file.images]
    bare = [str(path.with_suffix("")) for path in paths]
    short = ([path.stem for path in paths], bare, [str(path) for path in paths])
    for ids in short:
        if len(set(ids)) == len(ids):
            return ids
    twice, count = Counter(ids).most_common(1)[0]
    raise DataError(f"{file.source}: {twice} is the file of {count} images; list each image file once")


def _plain_path(entry: CocoImage) -> PurePosixPath:
    """The file name as a path, with either kind of slash."""
    return PurePosixPath(entry.file_name.replace("\\", "/"))
