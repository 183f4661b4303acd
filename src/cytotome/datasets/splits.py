"""Splits into training and validation, by the dataset's own folds or by distributing the groups."""

from __future__ import annotations

import hashlib

from cytotome.errors import DataError
from cytotome.types import Dataset, SampleInfo

FOLDS = 5


def splits(dataset: Dataset, fold: int | None) -> tuple[list[int], list[int]]:
    """Returns the positions of the training and the validation samples.

    If any sample has a fold, samples of ``fold`` are used for validation, and samples without a fold or with fold -1
    for training. Otherwise, the groups with full masks are distributed over five folds, by cell type and in the order
    of a hash of their names, so that every fold gets a share of every type and folds are the same on every machine.
    Only masks of full quality are used for validation; unlabelled samples are in the training part, for methods that
    learn from them. No group is in both parts.

    Args:
        dataset: any; no pixel is read.
        fold: the validation fold; None to train on everything, without validation.

    Raises:
        DataError: if there is no sample for validation, or none is left for training.
    """
    if fold is None:
        return list(range(len(dataset))), []
    validation = of_fold(dataset, fold)
    held = {dataset.infos[i].split_key for i in validation}
    training = [i for i, info in enumerate(dataset.infos) if info.split_key not in held]
    if not any(dataset.infos[i].is_labelled for i in training):
        raise DataError(f"{dataset.name}: fold {fold} leaves no labelled image to train on; add images or give no fold")
    return training, validation


def of_fold(dataset: Dataset, fold: int) -> list[int]:
    """Returns the positions of the validation samples of :func:`splits`, even if none are left for training.

    Raises:
        DataError: if the fold has none.
    """
    folds = _folds(dataset.infos)
    validation = [i for i, info in enumerate(dataset.infos) if folds[i] == fold and info.is_scored]
    if not validation:
        known = ", ".join(map(str, known_folds(dataset))) or "none"
        raise DataError(f"{dataset.name}: fold {fold} has no image with full masks; choose one of: {known}")
    return validation


def known_folds(dataset: Dataset) -> tuple[int, ...]:
    """The folds of a dataset with at least one image for validation, in order."""
    folds = zip(_folds(dataset.infos), dataset.infos, strict=True)
    return tuple(sorted({fold for fold, info in folds if info.is_scored} - {-1}))


def _folds(infos: tuple[SampleInfo, ...]) -> list[int]:
    if any(info.fold is not None for info in infos):
        return [-1 if info.fold is None else info.fold for info in infos]
    kinds = {info.split_key: info.cell_type for info in infos if info.is_scored}
    order = sorted(kinds, key=lambda group: (kinds[group], _hash(group)))
    dealt = {group: number % FOLDS for number, group in enumerate(order)}
    return [dealt.get(info.split_key, -1) for info in infos]


def _hash(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()
