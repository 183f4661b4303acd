"""Writing a dataset of pseudo-labels: images, one COCO file with areas to ignore, and a record of how it came about."""

from __future__ import annotations

import datetime
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import tifffile
from pydantic import ValidationError

from cytotome.datasets import open_dataset
from cytotome.datasets.coco import CocoDataset
from cytotome.datasets.splits import known_folds
from cytotome.errors import ConfigError, CytotomeError, DataError
from cytotome.inference.model import Model
from cytotome.io.coco import write_coco
from cytotome.io.files import atomic_path, read_json_object
from cytotome.io.images import IMAGE_SUFFIXES
from cytotome.models.card import Card, TrainedOn, inherited
from cytotome.pseudolabels.agreement import PseudoLabelSettings, check_models, label_image
from cytotome.types import Dataset, Image, Instances, Sample

RECORD = "run.json"
COMMAND = "pseudolabel"
"""Stands as ``command`` in the record."""
RUNNING, FINISHED = "running", "finished"


@dataclass(frozen=True)
class PseudoLabelTally:
    """What came of it.

    Attributes:
        images: written.
        empty: names of images in which nothing was sure; they are left out, since they would only teach background.
        kept: cells that became labels, by cell type.
        ignored: share of the written images' pixels that are ignored.
        failures: why an image cannot be used, by its name.
    """

    images: int
    empty: tuple[str, ...]
    kept: Mapping[str, int]
    ignored: float
    failures: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class _Labelled:
    """What is kept of an image until the end: runs, no pixels.

    Attributes:
        file: its path below the dataset.
        cells: its labels.
        ignore: the ignored area, as one instance or none.
    """

    file: str
    cells: Instances
    ignore: Instances


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

    ``output`` holds ``images/``, ``<name of the folder>.json`` (COCO; ignored areas are marked ``iscrowd``) and
    ``run.json``. The masks count as approximate: they are trained on and never evaluated on. An image that cannot be
    used stops no other. What a run that was broken off has left is replaced.

    Args:
        models: one, or several that must agree.
        data: its labelled images are skipped.
        output: folder, made where it is missing.
        settings: when a found cell becomes a label.
        overwrite: replace what a former run wrote to its end.
        advance: called after each image.

    Raises:
        ConfigError: if the models do not fit together, or the folder is in use.
        DataError: if there is no unlabelled image, none can be used, or nothing was sure in any.
    """
    settings = settings or PseudoLabelSettings()
    names = check_models(models, settings)
    dataset = data if isinstance(data, Dataset) else open_dataset(data)
    unlabelled = [i for i, info in enumerate(dataset.infos) if not info.is_labelled]
    if not unlabelled:
        raise DataError(f"{dataset.name}: all {len(dataset)} images are labelled; give images without masks")
    folder = _clear(Path(output), overwrite)
    labelled: dict[int | str, _Labelled] = {}
    empty: list[str] = []
    failures: dict[str, str] = {}
    for index in unlabelled:
        name = dataset.infos[index].id
        try:
            if _file_stem(name) in labelled:
                raise DataError(f"{name}: another image is written as {_file_stem(name)} already; rename one")
            one = _label(models, dataset[index], folder / "images", settings)
            if one is None:
                empty.append(name)
            else:
                labelled[_file_stem(name)] = one
        except CytotomeError as error:
            failures[name] = str(error)
        advance()
    if not labelled:
        raise DataError(f"{dataset.name}: {_why_nothing(empty, failures)}")
    _write_annotations(_annotations(folder), labelled)
    tally = _tally(list(labelled.values()), names, empty, failures)
    _write_record(folder / RECORD, models, dataset, settings, tally)
    return tally


def _tally(
    labelled: Sequence[_Labelled], names: Sequence[str], empty: Sequence[str], failures: Mapping[str, str]
) -> PseudoLabelTally:
    pixels = sum(math.prod(one.cells.shape) for one in labelled)
    return PseudoLabelTally(
        images=len(labelled),
        empty=tuple(empty),
        kept={name: sum(int((one.cells.classes == k).sum()) for one in labelled) for k, name in enumerate(names)},
        ignored=sum(int(one.ignore.areas.sum()) for one in labelled) / pixels,
        failures=dict(sorted(failures.items())),
    )


def _label(models: Sequence[Model], sample: Sample, images: Path, settings: PseudoLabelSettings) -> _Labelled | None:
    """Labels and writes one image; None if nothing in it is certain."""
    labels = label_image(models, sample.image, settings)
    if not len(labels.instances):
        return None
    file = _write_image(images, _file_stem(sample.info.id), sample.image)
    return _Labelled(file, replace(labels.instances, soft=None), Instances.from_label_map(labels.ignore))


def _file_stem(name: str) -> str:
    return name.replace("/", "_")


def _why_nothing(empty: Sequence[str], failures: Mapping[str, str]) -> str:
    reasons = [f"the models are sure of nothing in {len(empty)} images; lower the confidence"] if empty else []
    if failures:
        reasons.append(f"{len(failures)} images cannot be used, first {next(iter(failures.values()))}")
    return "; ".join(reasons)


def _write_annotations(path: Path, labelled: Mapping[int | str, _Labelled]) -> None:
    write_coco(
        path,
        {name: one.cells for name, one in labelled.items()},
        file_names={name: one.file for name, one in labelled.items()},
        ignore={name: one.ignore for name, one in labelled.items()},
        facts={
            name: {"mask_quality": "approximate", "cell_type": _cell_type(one.cells)} for name, one in labelled.items()
        },
    )


def label_card(dataset: Dataset) -> Card:
    """What the labels of a dataset inherit from the models that made them; empty if people made them."""
    record = read_json_object(dataset.folder / RECORD) if isinstance(dataset, CocoDataset) else None
    if not record or record.get("command") != COMMAND:
        return Card()
    try:
        return Card.model_validate(record["inherited"])
    except (KeyError, ValidationError):  # older records name the images alone
        return Card(trained_on={str(record.get("data")): TrainedOn()})


def _clear(folder: Path, overwrite: bool) -> Path:
    """The folder without what a former run wrote; its record is put there first.

    Raises:
        ConfigError: if the folder holds anything but what a former run wrote that was broken off or is to be
            replaced.
    """
    own = folder / "images"
    if folder.is_dir() and any(folder.iterdir()):
        state = _state(folder / RECORD)
        if state is None:
            raise ConfigError(f"{folder}: contains files that are not pseudo-labels; use another folder")
        if state == FINISHED and not overwrite:
            raise ConfigError(f"{folder}: contains pseudo-labels; use --overwrite to replace them, or another folder")
        shutil.rmtree(own, ignore_errors=True)
        _annotations(folder).unlink(missing_ok=True)
    own.mkdir(parents=True, exist_ok=True)
    _write_json(folder / RECORD, {"command": COMMAND, "state": RUNNING})
    return folder


def _state(path: Path) -> str | None:
    """That of the run whose record this is; None if it is no record of pseudo-labels."""
    record = read_json_object(path)
    return str(record.get("state")) if record and record.get("command") == COMMAND else None


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
    # What is unlabelled is in no fold, so that no fold of the dataset has been seen by way of its images.
    images = Card(trained_on={dataset.name: TrainedOn(held_out=known_folds(dataset))}, licence=dataset.licence)
    heritage = inherited([*(model.file.card for model in models), images])
    record: dict[str, Any] = {
        "command": COMMAND,
        "state": FINISHED,
        "models": [{"name": model.card.name, "family": model.method, "hash": model.digest} for model in models],
        "data": dataset.name,
        "inherited": heritage.model_dump(mode="json", include={"trained_on", "licence"}),
        "settings": {**vars(settings), "by_type": dict(settings.by_type)},
        "tally": {**vars(tally), "kept": dict(tally.kept), "failures": dict(tally.failures)},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    _write_json(path, record)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
