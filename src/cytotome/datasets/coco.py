"""COCO annotations of any origin beside a folder of images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from cytotome.datasets.files import check_shape, check_unique, content_digest, image_files
from cytotome.errors import DataError
from cytotome.io.coco import UNKNOWN_CATEGORY, CocoFile, CocoImage, read_coco
from cytotome.io.images import read_image
from cytotome.types import Dataset, Instances, MaskQuality, Sample, SampleInfo

QUALITIES = get_args(MaskQuality)


class CocoDataset(Dataset):
    """The images of one COCO file; regions marked ``iscrowd`` become ``Sample.ignore``.

    The sample's id is the image's file name without folder and suffix, or the COCO id where two names would be equal.
    Annotations can be read where the pictures are missing: only :meth:`read` needs them.

    Args:
        annotations: JSON file, plain or ``.gz``.
        images: folder of the images, searched with its subfolders; beside the file where None.

    Raises:
        DataError: where the file is not laid out as COCO.
    """

    def __init__(self, annotations: str | os.PathLike[str], *, images: str | os.PathLike[str] | None = None) -> None:
        path = Path(annotations)
        self.name = path.name.removesuffix(".gz").removesuffix(".json")
        self.folder = Path(images) if images is not None else path.parent
        self.file: CocoFile = read_coco(path)
        self.class_names = self.file.class_names or ("cell",)
        names = [Path(entry.file_name).stem for entry in self.file.images]
        unique = all(names) and len(set(names)) == len(names)
        keys = names if unique else [str(entry.id) for entry in self.file.images]
        infos = [self._info(key, entry) for key, entry in zip(keys, self.file.images, strict=True)]
        self.infos = check_unique(infos, path)
        self._found: dict[str, Path] | None = None

    def _info(self, key: str, entry: CocoImage) -> SampleInfo:
        """The image's cell type is as given, or its class, where all of its cells have the same one."""
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
        """One sample with its pixels."""
        entry = self.file.images[index]
        image = read_image(self._path(entry))
        check_shape(image.source, image.shape, entry.shape)
        return Sample(self.infos[index], image, self.instances(index), self.file.crowd(entry.id))

    def instances(self, index: int) -> Instances | None:
        """The masks of one sample, without reading its pixels."""
        if self.infos[index].mask_quality == "none":
            return None
        instances = self.file.instances(self.file.images[index].id)
        return instances if self.file.class_names else replace(instances, class_names=self.class_names)

    def digest(self, index: int) -> str:
        """A hash of the image's file and of its annotations."""
        entry = self.file.images[index]
        return content_digest(self._path(entry), repr(self.file.annotations.get(entry.id)))

    def _path(self, entry: CocoImage) -> Path:
        """The image's file: as named, or the one of that name anywhere below the folder."""
        direct = self.folder / entry.file_name
        if entry.file_name and direct.is_file():
            return direct
        if self._found is None:
            self._found = {path.name: path for path in image_files(self.folder, recursive=True)}
        path = self._found.get(Path(entry.file_name).name)
        if path is None:
            name = entry.file_name or entry.id
            raise DataError(f"{self.file.source}: the image {name} is not below {self.folder}; add it")
        return path
