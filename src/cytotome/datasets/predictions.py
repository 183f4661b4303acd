"""Predictions from files of any kind, matched to the images of a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

from cytotome.datasets.coco import CocoDataset
from cytotome.datasets.files import NAMED, nearest, walk
from cytotome.datasets.folders import ENDINGS
from cytotome.datasets.known_cells import CELLS_FILE, KnownCells, read_known_cells
from cytotome.errors import DataError
from cytotome.io.coco import CocoImage, read_coco
from cytotome.io.geojson import read_geojson
from cytotome.io.imagej import read_rois
from cytotome.io.labels import LABEL_SUFFIXES, read_labels
from cytotome.io.submission import read_submission
from cytotome.types import Dataset, Instances, Note, Subset

NO_SCORES = Note(
    "a table without the columns image, cell and score is not used; all scores are 1 and classes unknown", (CELLS_FILE,)
)
OUTLINES: Mapping[str, Callable[[Path, tuple[int, int]], Instances]] = {
    ".geojson": read_geojson,
    ".zip": read_rois,
    ".roi": read_rois,
}
"""Readers of files of outlines by suffix; they take the ``(H, W)`` of the image."""
OUTLINE_ENDINGS = ("_cells", "_rois")
"""Endings of the names of such files, as ``segment --export`` writes them."""
REMEDY = f"name label maps NAME_labels with {', '.join(LABEL_SUFFIXES)}"


def read_predictions(path: str | os.PathLike[str], dataset: Dataset) -> Predictions:
    """Reads predicted instances by the id of the image in ``dataset``; ``notes`` lists what is not used.

    >>> import cytotome as ct
    >>> dataset = ct.open_dataset("images/")  # doctest: +SKIP
    >>> print(ct.evaluate(ct.read_predictions("results/", dataset), dataset))  # doctest: +SKIP

    Args:
        path: folder of label maps, GeoJSON files or ROI sets; submission CSV; COCO JSON (ground truth or results).
        dataset: provides ids and sizes of images.

    Raises:
        DataError: if the path is of another kind or damaged, or contains two predictions of one image.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, dataset)
    if path.suffix.lower() == ".csv":
        positions = {info.id: index for index, info in enumerate(dataset.infos)}
        return Predictions(read_submission(path, lambda name: _shape(dataset, positions[name])))
    if path.name.endswith((".json", ".json.gz")):
        return _read_coco(path, dataset)
    found = "is of another kind" if path.exists() else "is not there"
    raise DataError(f"{path}: {found}; expected a folder of label maps, a submission .csv, or COCO .json or .json.gz")


class Predictions(Mapping[str, Instances]):
    """Predicted instances by the id of their image.

    Attributes:
        notes: remarks on files or entries that are not used.
    """

    def __init__(self, found: Mapping[str, Instances], notes: Sequence[Note] = ()) -> None:
        self._found = found
        self.notes = tuple(notes)

    def __getitem__(self, name: str) -> Instances:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class MaskFolder(Predictions):
    """Files of a folder with the masks of one image each, by the id of their image.

    Attributes:
        one: what messages call such a file.
        paths: paths of the files, by id.
        notes: remarks on files in the folder that are not used.

    Raises:
        DataError: if two files belong to one image.
    """

    one: ClassVar[str]

    def __init__(self, folder: Path, files: Sequence[Path], ids: set[str]) -> None:
        self.folder = folder
        self.paths: dict[str, Path] = {}
        for path in files:
            name = self._id(path, ids)
            other = self.paths.setdefault(name, path)
            if other != path:
                raise DataError(f"{path}: a second {self.one} of {name!r}, as well as {other}; remove one of them")
        self.notes = tuple(self._strange(ids))

    def _id(self, path: Path, ids: set[str]) -> str:
        return _image_id([_stem(path.relative_to(self.folder))], ids)

    def _strange(self, ids: set[str]) -> Iterator[Note]:
        strange = [path for name, path in self.paths.items() if name not in ids]
        if strange:
            names = tuple(
                str(path.relative_to(self.folder)) + (nearest(self._id(path, ids), ids) if number < NAMED else "")
                for number, path in enumerate(strange)
            )
            yield Note(f"{self.one}s fit no image and are not used", names, "rename them after their images")

    def __contains__(self, name: object) -> bool:  # the default of Mapping would read the file
        return name in self.paths

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


class OutlineFolder(MaskFolder):
    """GeoJSON files or ROI sets of a folder, read on demand.

    Raises:
        DataError: if two files belong to one image.
    """

    one = "outline file"

    def __init__(self, folder: Path, files: Sequence[Path], dataset: Dataset) -> None:
        self.dataset = dataset
        self.positions = {info.id: index for index, info in enumerate(dataset.infos)}
        super().__init__(folder, files, set(self.positions))

    def __getitem__(self, name: str) -> Instances:
        path = self.paths[name]
        return OUTLINES[path.suffix.lower()](path, _shape(self.dataset, self.positions[name]))


class LabelFolder(MaskFolder):
    """Label maps of a folder, read on demand.

    Raises:
        DataError: if the folder contains no label map, or two of one image.
    """

    one = "label map"

    def __init__(self, folder: Path, files: Sequence[Path], dataset: Dataset) -> None:
        ids = {info.id for info in dataset.infos}
        super().__init__(folder, _label_files(files), ids)
        known = _known_cells(folder)
        self.cells = known or KnownCells()
        self.notes += (*self._missed(files, ids), *([NO_SCORES] if known is None else ()))

    def _missed(self, files: Sequence[Path], ids: set[str]) -> Iterator[Note]:
        used = set(self.paths.values())
        left = [path for path in files if path not in used and not path.stem.endswith("_overlay")]
        missed = [path for path in left if (name := self._id(path, ids)) in ids and name not in self.paths]
        names = tuple(str(path.relative_to(self.folder)) for path in missed)
        if missed:
            yield Note("files have the name of an image and are not read as its label map", names, REMEDY)

    def __getitem__(self, name: str) -> Instances:
        return self.read(name)[0]

    def read(self, name: str) -> tuple[Instances, float | None]:
        """Returns the instances of an image, and the microns per pixel if the label map has them."""
        path = self.paths[name]
        stem = str(_stem(path.relative_to(self.folder)))
        # Label maps written by segment need no check: a cell that others split into many parts is known to be one.
        labels, microns = read_labels(path, check=stem not in self.cells)
        return self.cells.apply(stem, Instances.from_label_map(labels)), microns


def _read_folder(folder: Path, dataset: Dataset) -> MaskFolder:
    """The label maps of a folder; if it has none, its GeoJSON files and ROI sets."""
    files = walk(folder)
    if _label_files(files):
        return LabelFolder(folder, files, dataset)
    outlines = [path for path in files if path.suffix.lower() in OUTLINES]
    if not outlines:
        expected = ", ".join((*LABEL_SUFFIXES, *OUTLINES))
        raise DataError(f"{folder}: contains no label map; expected files ending in {expected}")
    return OutlineFolder(folder, outlines, dataset)


def _label_files(files: Sequence[Path]) -> list[Path]:
    """The files with the ending of a label map; if there are none, all that are not overlays."""
    files = [path for path in files if path.suffix.lower() in LABEL_SUFFIXES]
    marked = [path for path in files if path.stem.endswith(ENDINGS)]
    return marked or [path for path in files if not path.stem.endswith("_overlay")]


def _stem(path: Path) -> PurePosixPath:
    """Path of a file of masks without suffix and ending."""
    stem = PurePosixPath(path.as_posix()).with_suffix("")
    ending = next((ending for ending in (*ENDINGS, *OUTLINE_ENDINGS) if stem.name.endswith(ending)), "")
    return stem.with_name(stem.name.removesuffix(ending) or stem.name)


def _image_id(paths: Sequence[PurePosixPath], ids: Container[str]) -> str:
    """The id that matches one of the paths or its last parts; the name of the last path if there is none."""
    candidates = ["/".join(path.parts[first:]) for path in paths for first in range(len(path.parts))]
    return next((name for name in candidates if name in ids), candidates[-1])


def _known_cells(folder: Path) -> KnownCells | None:
    """Scores and classes of cells, if the label maps are next to a ``cells.csv`` of segment; None for any other
    table.
    """
    path = folder / CELLS_FILE
    return read_known_cells(path) if path.is_file() else KnownCells()


def _read_coco(path: Path, dataset: Dataset) -> Predictions:
    """Instances of a COCO file, whose images are identified by file name, or by id if it has no names.

    Results for a COCO dataset are identified by the dataset's own ids.

    Raises:
        DataError: if two images of the file are predictions of one image.
    """
    whole = dataset
    while isinstance(whole, Subset):
        whole = whole.parent
    truth = whole.file if isinstance(whole, CocoDataset) else None
    file = read_coco(path, like=truth)
    if truth is not None and file.images is truth.images:
        named = zip((image.id for image in file.images), (info.id for info in whole.infos), strict=True)
        known = {name: file.instances(number) for number, name in named if number in file.annotations}
        return Predictions(known, file.notes)
    ids = {info.id for info in dataset.infos}
    found: dict[str, CocoImage] = {}
    for image in file.images:
        name = _image_id(_names(image), ids)
        if name in found:
            raise DataError(
                f"{path}: the images {found[name].file_name} and {image.file_name} are both predictions of {name!r}; "
                "name them by their folders, as the truth does"
            )
        found[name] = image
    return Predictions({name: file.instances(image.id) for name, image in found.items()}, file.notes)


def _names(image: CocoImage) -> list[PurePosixPath]:
    """Possible names of an image: its file name with and without suffix, and without the ending of a label map."""
    path = PurePosixPath((image.file_name or str(image.id)).replace("\\", "/"))
    return [path, path.with_suffix(""), _stem(Path(path))]


def _shape(dataset: Dataset, index: int) -> tuple[int, int]:
    instances = dataset.instances(index)
    return dataset[index].image.shape if instances is None else instances.shape
