"""Images with label maps, in the folders and under the names that people use."""

from __future__ import annotations

import os
from pathlib import Path

from cytotome.datasets.files import by_name, check_shape, check_unique, content_digest, image_files
from cytotome.errors import DataError
from cytotome.io.images import read_image
from cytotome.io.labels import read_label_map
from cytotome.ops.labels import from_label_map
from cytotome.types import Dataset, Instances, Sample, SampleInfo

LABEL_FOLDERS = ("labels", "masks")
LABEL_ENDINGS = ("_labels", "_masks", "_label", "_mask", "_cp_masks")
LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".npy")


class FoldersDataset(Dataset):
    """Images and label maps (0 is background, one label is one cell, in parts or not).

    Two layouts are known. ``images/NAME.*`` with ``labels/NAME.*`` (or ``masks/``), in the folder itself or in each of
    its subfolders, as in ``train/`` and ``test/``. Or flat: ``NAME.tif`` with ``NAME_labels.tif`` (or ``_masks``)
    beside it. An image without a label map is unlabelled. Ids are names, after ``SUBFOLDER/`` where there are such.

    Args:
        root: the folder.
        class_name: the one class of all instances.
        unlabelled: also gives the images without label maps.

    Raises:
        DataError: where no image is found.
    """

    def __init__(self, root: str | os.PathLike[str], *, class_name: str = "cell", unlabelled: bool = True) -> None:
        self.root = Path(root)
        self.name = self.root.resolve().name
        self.class_names = (class_name,)
        self._pairs: list[tuple[Path, Path | None]] = []
        infos = []
        for prefix, pairs in _find_pairs(self.root):
            for image, labels in pairs:
                if labels is not None or unlabelled:
                    self._pairs.append((image, labels))
                    key = prefix + image.stem
                    infos.append(SampleInfo(key, class_name, key, None, "full" if labels else "none"))
        if not infos:
            raise DataError(
                f"{self.root}: no image found; expected images/ with labels/, or NAME.tif with NAME_labels.tif"
            )
        self.infos = check_unique(infos, self.root)

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
            return from_label_map(read_label_map(labels), class_names=self.class_names)
        except DataError as error:
            raise error if str(labels) in str(error) else DataError(f"{labels}: {error}") from None

    def digest(self, index: int) -> str:
        """A hash of the files of one sample."""
        return content_digest(*(path for path in self._pairs[index] if path is not None))


def has_images(root: Path) -> bool:
    """Whether the folder is laid out so that :class:`FoldersDataset` would find an image in it."""
    return bool(image_files(root) or any(image_files(part / "images") for part in (root, *_subfolders(root))))


def _subfolders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _find_pairs(root: Path) -> list[tuple[str, list[tuple[Path, Path | None]]]]:
    """``(prefix of the ids, [(image, label map or None)])`` of each part of the dataset."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; check the path")
    if (root / "images").is_dir():
        return [("", _parallel(root))]
    parts = [(f"{part.name}/", _parallel(part)) for part in _subfolders(root) if (part / "images").is_dir()]
    return parts or [("", _flat(root))]


def _parallel(part: Path) -> list[tuple[Path, Path | None]]:
    labels: dict[str, Path] = {}
    for folder in LABEL_FOLDERS:
        found = [path for path in sorted((part / folder).glob("*")) if path.suffix.lower() in LABEL_SUFFIXES]
        labels |= by_name(found, str(part / folder))
    images = by_name(image_files(part / "images"), str(part / "images"))
    return [(path, _label_of(name, labels)) for name, path in images.items()]


def _label_of(name: str, labels: dict[str, Path]) -> Path | None:
    return next((labels[name + ending] for ending in ("", *LABEL_ENDINGS) if name + ending in labels), None)


def _flat(root: Path) -> list[tuple[Path, Path | None]]:
    files = sorted(path for path in root.glob("*") if path.suffix.lower() in LABEL_SUFFIXES)
    labels = by_name([path for path in files if path.stem.endswith(LABEL_ENDINGS)], str(root))
    images = [path for path in image_files(root) if not path.stem.endswith((*LABEL_ENDINGS, "_overlay"))]
    return [(path, _label_of(name, labels)) for name, path in by_name(images, str(root)).items()]
