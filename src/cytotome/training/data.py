"""Preparation of datasets for a run: sources of crops, images for validation and calibration, class names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cytotome.data.sampling import Source
from cytotome.datasets import combine, open_dataset, splits
from cytotome.errors import TrainingError
from cytotome.models.card import Card, inherited
from cytotome.training.ancestry import data_card, data_digests
from cytotome.training.recipe import Recipe, SourceSettings
from cytotome.types import Dataset

Data: TypeAlias = "str | os.PathLike[str] | Dataset"
Place: TypeAlias = tuple[Dataset, int]
"""A dataset and a position in it."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """The data of one run.

    Attributes:
        sources: training data, labelled and unlabelled.
        validation: images for validation; none without a fold.
        calibration: images for fitting the decoder parameters, used for training or not, depending on the recipe.
        class_names: class names of the datasets for which the model is made, in order of appearance: those used for
            validation according to their settings, or all if there are none.
        offset: offset of the first of these datasets, with those with masks of full quality first.
        missing: names of datasets with settings in the recipe that were not given.
        origin: what the model inherits from the data: names, held-out folds, licences.
    """

    sources: tuple[Source, ...]
    validation: tuple[Place, ...]
    calibration: tuple[Place, ...]
    class_names: tuple[str, ...]
    offset: tuple[float, float] = (0.0, 0.0)
    missing: tuple[str, ...] = ()
    origin: Card = field(default_factory=Card)

    @property
    def digests(self) -> dict[str, str]:
        """Returns a hash of the content of each sample used for training or calibration, by name."""
        return data_digests(self.sources, self.calibration)


def open_all(data: Data | Sequence[Data], layout: str | None = None) -> list[Dataset]:
    """Returns the datasets, opened if they are given as paths.

    Args:
        data: a dataset, its path, or several of them.
        layout: layout of all paths; detected from the files if None.

    Raises:
        DataError: if a dataset cannot be read.
    """
    given: Sequence[Data] = [data] if isinstance(data, str | os.PathLike | Dataset) else data
    return [one if isinstance(one, Dataset) else open_dataset(one, layout=layout) for one in given]


def prepare(recipe: Recipe, data: Data | Sequence[Data], fold: int | None) -> Prepared:
    """Opens and splits the datasets.

    Args:
        recipe: its ``sampling.sources`` are found by the datasets' names.
        data: a dataset, its path, or several of them.
        fold: fold held out of every dataset with masks of full quality, except sources with ``validated: false``; None
            for no validation.

    Raises:
        TrainingError: if no image is labelled, or none of them contains a cell.
        DataError: if a dataset cannot be read.
    """
    datasets = open_all(data)
    if not datasets:
        raise TrainingError("no dataset to train on; give one by --data")
    sources: list[Source] = []
    made_for: list[Source] = []
    validation: list[Place] = []
    calibration: list[Place] = []
    origins: list[Card] = []
    for dataset in datasets:
        settings = recipe.sampling.sources.get(dataset.name, SourceSettings())
        if settings.classes:
            dataset = combine([dataset], class_map=settings.classes)
        held_out = fold if settings.validated and _any_full([dataset]) else None
        training, held = splits(dataset, held_out)
        validation += [(dataset, i) for i in held]
        if settings.weight == 0:
            continue
        origins.append(data_card(dataset, held_out))
        if settings.validated and not calibration:
            fitted_on = _calibration_part(dataset, training, recipe.calibration_images, recipe.calibration_held_out)
            calibration += [(dataset, i) for i in fitted_on]
            if recipe.calibration_held_out:
                groups = {dataset.infos[i].split_key for i in fitted_on}
                training = [i for i in training if dataset.infos[i].split_key not in groups]
        sources.append(Source(dataset.subset(training), settings.weight, settings.scale, settings.offset))
        if settings.validated:
            made_for.append(sources[-1])
    if fold is not None and not validation and not _any_full(datasets):
        raise TrainingError(f"fold {fold}: no dataset has masks of full quality to validate on; give no fold")
    check_labelled(sources)
    made_for = made_for or sources
    names = tuple(dict.fromkeys(name for source in made_for for name in source.dataset.class_names))
    offset = max(made_for, key=lambda source: _any_full([source.dataset])).offset
    missing = tuple(name for name in recipe.sampling.sources if name not in {dataset.name for dataset in datasets})
    origin = inherited(origins)
    return Prepared(tuple(sources), tuple(validation), tuple(calibration), names, offset, missing, origin)


def labelled_places(sources: Sequence[Source]) -> list[Place]:
    """The labelled images for training."""
    return [
        (source.dataset, i) for source in sources for i, info in enumerate(source.dataset.infos) if info.is_labelled
    ]


def check_labelled(sources: Sequence[Source]) -> None:
    """Checks that the labelled images contain a cell.

    Raises:
        TrainingError: if there is none.
    """
    labelled = labelled_places(sources)
    names = ", ".join(source.dataset.name for source in sources)
    if not labelled:
        raise TrainingError(f"{names}: no image is labelled, so there is nothing to learn from; add masks")
    for dataset, i in labelled:
        instances = dataset.instances(i)
        if instances is not None and len(instances.runs):
            return
    raise TrainingError(f"{names}: the masks of all {len(labelled)} labelled images are empty; check the labels")


def _calibration_part(dataset: Dataset, training: Sequence[int], count: int, held_out: bool) -> list[int]:
    """Up to ``count`` training images with full masks, alternating between cell types, in the order of a hash.

    At most half of them if they are held out of training.
    """
    full = [i for i in training if dataset.infos[i].is_scored]
    by_type: dict[str, list[int]] = {}
    for i in sorted(full, key=lambda i: hashlib.sha256(dataset.infos[i].id.encode()).digest()):
        by_type.setdefault(dataset.infos[i].cell_type, []).append(i)
    turns = [(turn, kind) for kind, members in by_type.items() for turn in range(len(members))]
    ordered = [by_type[kind][turn] for turn, kind in sorted(turns)]
    return ordered[: min(count, len(full) // 2) if held_out else count]


def _any_full(datasets: Sequence[Dataset]) -> bool:
    return any(info.is_scored for dataset in datasets for info in dataset.infos)
