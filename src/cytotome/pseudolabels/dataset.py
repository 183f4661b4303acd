"""Writing a dataset of pseudo-labels: images, one COCO file with ignored areas, and a record of its origin."""

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
"""Value of ``command`` in the record."""
RUNNING, FINISHED = "running", "finished"


@dataclass(frozen=True)
class PseudoLabelTally:
    """The result of pseudo-labelling.

    Attributes:
        images: number of images written.
        empty: names of images without confident cells; they are left out, as they would only provide background.
        kept: number of cells that became labels, by cell type.
        ignored: fraction of the written images' pixels that are ignored.
        failures: why an image cannot be used, by name.
    """

    images: int
    empty: tuple[str, ...]
    kept: Mapping[str, int]
    ignored: float
    failures: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class _Labelled:
    """The data of an image that is kept until the end: runs, no pixels.

    Attributes:
        file: path of the image relative to the dataset.
        cells: its labels.
        ignore: ignored pixels, as one instance or none.
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
    """Labels the unlabelled images of a dataset and writes them as a dataset for ``train``.

    ``output`` contains ``images/``, ``<name of the folder>.json`` (COCO, with ignored areas marked ``iscrowd``) and
    ``run.json``. The masks are approximate: they are used for training, never for evaluation. Unusable images are
    skipped. Results of an interrupted run are replaced.

    Args:
        models: one, or several that must agree.
        data: dataset; its labelled images are skipped.
        output: folder, created if it is missing.
        settings: when a found cell becomes a label.
        overwrite: replace the results of a completed run.
        advance: called after each image.

    Raises:
        ConfigError: if the models are not compatible, or the folder is in use.
        DataError: if there is no unlabelled image, none can be used, or none has confident cells.
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
    """Labels and writes one image; None if it has no confident cells."""
    labels = label_image(models, sample.image, settings)
    if not len(labels.instances):
        return None
    file = _write_image(images, _file_stem(sample.info.id), sample.image)
    return _Labelled(file, replace(labels.instances, soft=None), Instances.from_label_map(labels.ignore))


def _file_stem(name: str) -> str:
    return name.replace("/", "_")


def _why_nothing(empty: Sequence[str], failures: Mapping[str, str]) -> str:
    reasons = [f"the models find no certain cell in {len(empty)} images; lower the confidence"] if empty else []
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
    """Returns the facts that labels inherit from the models that made them; empty if they were made by people."""
    record = read_json_object(dataset.folder / RECORD) if isinstance(dataset, CocoDataset) else None
    if not record or record.get("command") != COMMAND:
        return Card()
    try:
        return Card.model_validate(record["inherited"])
    except (KeyError, ValidationError):  # older records only list the images
        return Card(trained_on={str(record.get("data")): TrainedOn()})


def _clear(folder: Path, overwrite: bool) -> Path:
    """Removes the results of a former run from the folder, and writes the record of this run first.

    Raises:
        ConfigError: if the folder contains anything except results of a former run that was interrupted or is to be
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
    """State of the run of this record; None if it is not a record of pseudo-labels."""
    record = read_json_object(path)
    return str(record.get("state")) if record and record.get("command") == COMMAND else None


def _annotations(folder: Path) -> Path:
    """The COCO file, named like the folder, as the name of a dataset is that of its file."""
    return folder / f"{folder.resolve().name}.json"


def _write_image(folder: Path, name: str, image: Image) -> str:
    """Copies the image's file, or writes its pixels if it has none; returns its path relative to the dataset."""
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
    """The name of the majority class of the cells."""
    counts = [int((instances.classes == k).sum()) for k in range(len(instances.class_names))]
    return instances.class_names[counts.index(max(counts))]


def _write_record(
    path: Path, models: Sequence[Model], dataset: Dataset, settings: PseudoLabelSettings, tally: PseudoLabelTally
) -> None:
    # Unlabelled images are in no fold, so no fold of the dataset counts as seen because of them.
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
