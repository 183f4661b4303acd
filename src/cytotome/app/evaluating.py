"""Reading predictions of any kind and scoring them against a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

from cytotome.app.console import warn
from cytotome.app.results import CELLS_FILE
from cytotome.datasets import of_fold, open_dataset
from cytotome.datasets.folders import LABEL_ENDINGS
from cytotome.errors import ConfigError, DataError
from cytotome.io.coco import CocoFile, read_coco
from cytotome.io.coco_entries import ImageId
from cytotome.io.files import atomic_path
from cytotome.io.labels import LABEL_SUFFIXES, read_labels
from cytotome.io.submission import read_submission
from cytotome.measure.known import KnownCells, read_known_cells
from cytotome.metrics.evaluate import evaluate
from cytotome.ops.labels import from_label_map
from cytotome.types import Dataset, Instances

if TYPE_CHECKING:
    from cytotome.metrics.challenge import Rule

RULES = ("matching", "kernel")
ENDINGS = tuple(sorted(LABEL_ENDINGS, key=len, reverse=True))  # the longest first: _cp_masks before _masks


def run_evaluate(
    predictions: Path, truth: str, *, json_file: Path | None, rule: str, layout: str | None, fold: int | None
) -> str:
    """The scores as text; they are written to ``json_file`` too.

    Raises:
        ConfigError: where the rule or the fold is not there.
        DataError: where predictions or truth cannot be read or have nothing in common.
    """
    if rule not in RULES:
        raise ConfigError(f"rule: must be one of {', '.join(RULES)}, got {rule!r}")
    dataset = open_dataset(truth, layout=layout)
    found = read_predictions(predictions, dataset)
    if fold is not None:
        dataset = dataset.subset(of_fold(dataset, fold))
    evaluation = evaluate(found, dataset, rule=cast("Rule", rule))
    if json_file is not None:
        try:
            with atomic_path(json_file) as temporary:
                temporary.write_text(evaluation.to_json() + "\n", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{json_file}: cannot be written ({error.strerror}); choose another place") from error
    return evaluation.to_text()


def read_predictions(path: Path, dataset: Dataset) -> Mapping[str, Instances]:
    """Instances by the id of the image in ``dataset``.

    Args:
        path: folder of label maps, submission CSV, or COCO JSON (ground truth or results).
        dataset: gives ids and sizes of images.

    Raises:
        DataError: where the path is of none of these kinds or damaged.
    """
    if path.is_dir():
        return LabelFolder(path, dataset)
    if path.suffix.lower() == ".csv":
        positions = {info.id: index for index, info in enumerate(dataset.infos)}
        return read_submission(path, lambda name: _shape(dataset, positions[name]))
    if path.name.endswith((".json", ".json.gz")):
        return _read_coco(path, dataset)
    found = "is of another kind" if path.exists() else "is not there"
    raise DataError(f"{path}: {found}; expected a folder of label maps, a submission .csv, or COCO .json or .json.gz")


class LabelFolder(Mapping[str, Instances]):
    """Label maps of a folder by the id of their image, read when they are asked for.

    Raises:
        DataError: where the folder holds no label map, or two of one image.
    """

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.folder = folder
        self.paths: dict[str, Path] = {}
        ids = {info.id for info in dataset.infos}
        for path in self._label_files():
            name = _image_id(path.relative_to(folder), ids)
            other = self.paths.setdefault(name, path)
            if other != path:
                raise DataError(f"{path}: a second label map of {name!r} beside {other}; remove one of the two")
        if not self.paths:
            raise DataError(f"{folder}: holds no label map; expected files ending in {', '.join(LABEL_SUFFIXES)}")
        self.cells = _known_cells(folder)

    def _label_files(self) -> list[Path]:
        files = [path for path in sorted(self.folder.rglob("*")) if path.suffix.lower() in LABEL_SUFFIXES]
        files = [
            path for path in files if not any(part.startswith(".") for part in path.relative_to(self.folder).parts)
        ]
        labels = [path for path in files if path.stem.endswith(ENDINGS)]
        return labels or [path for path in files if not path.stem.endswith("_overlay")]

    def __getitem__(self, name: str) -> Instances:
        return self.read(name)[0]

    def read(self, name: str) -> tuple[Instances, float | None]:
        """The instances of an image, and microns per pixel where the label map holds them."""
        path = self.paths[name]
        stem = _stem(path.relative_to(self.folder))
        # What segment wrote needs no check: of a cell that others cut into many parts it is known that it is one.
        labels, microns = read_labels(path, check=stem not in self.cells)
        return self.cells.apply(stem, from_label_map(labels)), microns

    def __contains__(self, name: object) -> bool:  # a Mapping's own would read the file
        return name in self.paths

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def _stem(path: Path) -> str:
    """Path of a label map without suffix and ending, with ``/``."""
    stem = PurePosixPath(path.as_posix()).with_suffix("")
    ending = next((ending for ending in ENDINGS if stem.name.endswith(ending)), "")
    return str(stem.with_name(stem.name[: len(stem.name) - len(ending)] or stem.name))


def _image_id(path: Path, ids: set[str]) -> str:
    """The id in the truth that the file's path, or else its last parts, stand for; its name where there is none."""
    parts = PurePosixPath(_stem(path)).parts
    candidates = ["/".join(parts[first:]) for first in range(len(parts))]
    return next((name for name in candidates if name in ids), candidates[-1])


def _known_cells(folder: Path) -> KnownCells:
    """Scores and classes of the cells where ``cells.csv`` of segment lies beside the label maps."""
    path = folder / CELLS_FILE
    known = read_known_cells(path) if path.is_file() else KnownCells()
    if known is None:
        warn(f"{path}: has no columns image, cell and score; all scores are 1 and classes unknown")
    return known or KnownCells()


def _read_coco(path: Path, dataset: Dataset) -> dict[str, Instances]:
    """Instances of a COCO file, whose images are told by file name, or by id where it has no names."""
    truth = getattr(dataset, "file", None) or getattr(getattr(dataset, "parent", None), "file", None)
    like = truth if isinstance(truth, CocoFile) else None
    file = read_coco(path, like=like)
    ids = {info.id for info in dataset.infos}
    names: dict[ImageId, str] = {}
    for image in file.images:
        if image.id in file.annotations or not isinstance(like, CocoFile):
            names[image.id] = _image_id(Path(image.file_name or str(image.id)), ids)
    return {name: file.instances(number) for number, name in names.items()}


def _shape(dataset: Dataset, index: int) -> tuple[int, int]:
    instances = dataset.instances(index)
    return dataset[index].image.shape if instances is None else instances.shape
