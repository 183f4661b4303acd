"""LIVECell (Edlund et al., Nature Methods 2021): COCO polygons, the cell line in the file name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from cytotome.datasets.files import (
    by_name,
    check_shape,
    check_unique,
    content_digest,
    image_files,
    is_image,
    note_of_others,
    walk,
)
from cytotome.errors import DataError
from cytotome.io.coco import CocoFile, read_coco
from cytotome.io.coco_entries import ImageId
from cytotome.io.images import read_image
from cytotome.types import Dataset, Instances, Note, Sample, SampleInfo

CELL_LINES = ("A172", "BT474", "BV2", "Huh7", "MCF7", "SHSY5Y", "SkBr3", "SKOV3")


class LivecellDataset(Dataset):
    """All images below ``images/``, labelled by any ``livecell_coco_*.json`` files found; the rest are unlabelled.

    The class of a cell is the cell line, the first part of the file name. Images of one line and well form a group, as
    they show the same place over time. Annotations of missing images are ignored, so that a part of the dataset can be
    used with all annotations.

    Args:
        root: folder with ``images/`` and the annotations (in it, or in ``annotations/``).
        unlabelled: include images without annotations.

    Raises:
        DataError: if images or annotations are missing, or an image is annotated twice.
    """

    licence = "CC BY-NC 4.0 (LIVECell, Edlund et al. 2021)"

    def __init__(self, root: str | os.PathLike[str], *, unlabelled: bool = True) -> None:
        self.root = Path(root)
        self.name = "livecell"
        self._files = by_name(image_files(self.root / "images", recursive=True), str(self.root))
        self._labels: dict[str, tuple[CocoFile, ImageId]] = {}
        missing: list[str] = []
        notes: tuple[Note, ...] = ()
        for path in annotation_files(self.root):
            coco = read_coco(path)
            notes += coco.notes
            for entry in coco.images:
                name = Path(entry.file_name).stem
                if name in self._labels:
                    raise DataError(f"{path}: {name} is annotated in {self._labels[name][0].source} too; remove one")
                if name in self._files:
                    self._labels[name] = (coco, entry.id)
                else:
                    missing.append(name)
        if not self._labels:
            raise DataError(f"{self.root}: no image in images/ belongs to a livecell_coco_*.json; unpack both here")
        lines = {cell_line(name) for name in self._files}
        self.class_names = CELL_LINES + tuple(sorted(lines - set(CELL_LINES)))
        names = sorted(self._labels) + (sorted(set(self._files) - set(self._labels)) if unlabelled else [])
        self.infos = check_unique([self._info(name) for name in names], self.root)
        if missing:
            notes += (Note("annotated images are not below images/ and not used", tuple(missing), "add them"),)
        others = [path for path in walk(self.root / "images") if not is_image(path)]
        self.notes = notes + note_of_others(others, self.root)

    def _info(self, name: str) -> SampleInfo:
        parts = name.split("_")
        group = "_".join(parts[:3]) if len(parts) >= 6 else name
        return SampleInfo(name, cell_line(name), group, None, "full" if name in self._labels else "none")

    def read(self, index: int) -> Sample:
        """One sample with its pixels."""
        info = self.infos[index]
        image = read_image(self._files[info.id])
        instances = self.instances(index)
        if instances is None:
            return Sample(info, image)
        check_shape(image.source, image.shape, instances.shape)
        coco, image_id = self._labels[info.id]
        return Sample(info, image, instances, coco.crowd(image_id))

    def instances(self, index: int) -> Instances | None:
        """The masks of one sample, without reading its pixels."""
        info = self.infos[index]
        if info.id not in self._labels:
            return None
        coco, image_id = self._labels[info.id]
        instances = coco.instances(image_id)
        classes = np.full(len(instances), self.class_names.index(info.cell_type), np.int32)
        return replace(instances, classes=classes, class_names=self.class_names)

    def digest(self, index: int) -> str:
        """A hash of the image's file and of its annotations."""
        key = self.infos[index].id
        coco, image_id = self._labels.get(key, (None, key))
        return content_digest(self._files[key], repr(coco.annotations.get(image_id)) if coco else "")


def annotation_files(root: Path) -> list[Path]:
    """LIVECell's annotation files in a folder."""
    return sorted(path for folder in (root, root / "annotations") for path in folder.glob("livecell_coco_*.json*"))


def cell_line(name: str) -> str:
    """The cell line of a file name such as ``A172_Phase_C7_1_00d20h00m_4``."""
    return name.split("_", maxsplit=1)[0]
