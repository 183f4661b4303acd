"""Writing a dataset of pseudo-labels: images, one COCO file with areas to ignore, and a record of how it came about."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import tifffile

from cytotome.datasets import open_dataset
from cytotome.errors import ConfigError, DataError
from cytotome.inference.model import Model
from cytotome.io.coco import write_coco
from cytotome.io.files import atomic_path
from cytotome.io.images import IMAGE_SUFFIXES
from cytotome.training.pseudolabels import PseudoLabels, PseudoLabelSettings, check_models, label_image
from cytotome.types import BoolArray, Dataset, Image, Instances

RECORD = "run.json"
COMMAND = "pseudolabel"
"""Stands in the record, so that nothing is ever replaced that was not written here."""


@dataclass(frozen=True)
class PseudoLabelTally:
    """What came of it.

    Attributes:
        images: written.
        empty: names of images in which nothing was sure; they are left out, since they would teach background alone.
        kept: cells that became labels, by cell type.
        ignored: share of the written images' pixels that are ignored.
    """

    images: int
    empty: tuple[str, ...]
    kept: Mapping[str, int]
    ignored: float


def write_pseudolabels(
    models: Sequence[Model],
    data: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str],
    settings: PseudoLabelSettings | None = None,
    *,
    overwrite: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> PseudoLabelTally:
    """Labels the unlabelled images of a dataset and writes them as a dataset that ``train`` takes.

    ``output`` holds ``images/``, ``<name of the folder>.json`` (COCO; what is to be ignored is marked ``iscrowd``) and
    ``run.json``. The masks count as approximate: they are trained on and never evaluated on.

    Args:
        models: one, or several that must agree.
        data: its labelled images are passed over.
        output: folder, made where it is missing.
        settings: when a found cell becomes a label.
        overwrite: replace what a former run wrote.
        advance: called after each image.

    Raises:
        ConfigError: where the models do not fit together, or the folder is in use.
        DataError: where there is no unlabelled image, or nothing was sure in any.
    """
    settings = settings or PseudoLabelSettings()
    names = check_models(models, settings)
    dataset = data if isinstance(data, Dataset) else open_dataset(data)
    unlabelled = [i for i, info in enumerate(dataset.infos) if info.mask_quality == "none"]
    if not unlabelled:
        raise DataError(f"{dataset.name}: all {len(dataset)} images are labelled; give images without masks")
    folder = _clear(Path(output), overwrite)
    found: dict[int | str, Instances] = {}
    ignore: dict[int | str, BoolArray] = {}
    files: dict[int | str, str] = {}
    empty = []
    for index in unlabelled:
        sample = dataset[index]
        labels: PseudoLabels = label_image(models, sample.image, settings)
        if len(labels.instances):
            name = sample.info.id.replace("/", "_")
            files[name] = _write_image(folder / "images", name, sample.image)
            found[name], ignore[name] = labels.instances, labels.ignore
        else:
            empty.append(sample.info.id)
        advance()
    if not found:
        raise DataError(
            f"{dataset.name}: the models are sure of nothing in {len(unlabelled)} images; lower the confidence"
        )
    facts = {name: {"mask_quality": "approximate", "cell_type": _cell_type(cells)} for name, cells in found.items()}
    write_coco(_annotations(folder), found, file_names=files, ignore=ignore, facts=facts)
    pixels = sum(mask.size for mask in ignore.values())
    kept = {name: sum(int((one.classes == k).sum()) for one in found.values()) for k, name in enumerate(names)}
    tally = PseudoLabelTally(len(found), tuple(empty), kept, sum(int(mask.sum()) for mask in ignore.values()) / pixels)
    _write_record(folder / RECORD, models, dataset, settings, tally)
    return tally


def _clear(folder: Path, overwrite: bool) -> Path:
    """The folder without what a former run wrote; its record is put there first.

    Raises:
        ConfigError: where the folder holds anything, unless a former run wrote it and it is to be replaced.
    """
    own = folder / "images"
    if folder.is_dir() and any(folder.iterdir()):
        if not _is_ours(folder / RECORD):
            raise ConfigError(f"{folder}: holds files that are no pseudo-labels; give another folder")
        if not overwrite:
            raise ConfigError(f"{folder}: holds pseudo-labels; give --overwrite to replace them, or another folder")
        shutil.rmtree(own, ignore_errors=True)
        _annotations(folder).unlink(missing_ok=True)
    own.mkdir(parents=True, exist_ok=True)
    _write_json(folder / RECORD, {"command": COMMAND, "state": "running"})
    return folder


def _is_ours(path: Path) -> bool:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("command") == COMMAND


def _annotations(folder: Path) -> Path:
    """The COCO file; a dataset has the name of its file, so that of the folder."""
    return folder / f"{folder.resolve().name}.json"


def _write_image(folder: Path, name: str, image: Image) -> str:
    """Copies the image's file, or writes its pixels where it has none; gives its path below the dataset."""
    source = Path(image.source)
    suffix = source.suffix.lower()
    if suffix in IMAGE_SUFFIXES and source.is_file():
        with atomic_path(folder / (name + suffix)) as temporary:
            shutil.copyfile(source, temporary)
        return f"{folder.name}/{name}{suffix}"
    suffix = ".tif" if image.pixels.dtype.kind == "f" else ".png"
    with atomic_path(folder / (name + suffix)) as temporary:
        if suffix == ".png":
            temporary.write_bytes(imagecodecs.png_encode(image.pixels))
        else:
            tifffile.imwrite(temporary, image.pixels)
    return f"{folder.name}/{name}{suffix}"


def _cell_type(instances: Instances) -> str:
    """The name of the class that most of the cells have."""
    counts = [int((instances.classes == k).sum()) for k in range(len(instances.class_names))]
    return instances.class_names[counts.index(max(counts))]


def _write_record(
    path: Path, models: Sequence[Model], dataset: Dataset, settings: PseudoLabelSettings, tally: PseudoLabelTally
) -> None:
    record: dict[str, Any] = {
        "command": COMMAND,
        "state": "finished",
        "models": [{"name": model.file.card.name, "family": model.family.name, "hash": model.hash} for model in models],
        "data": dataset.name,
        "settings": {**vars(settings), "by_type": dict(settings.by_type)},
        "tally": {**vars(tally), "kept": dict(tally.kept)},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    _write_json(path, record)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
