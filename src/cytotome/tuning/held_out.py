"""Methods and their predictions for images that their networks were not trained on, computed once per image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cytotome.datasets import splits
from cytotome.errors import ConfigError, DataError, ModelError
from cytotome.inference.model import Model, load_single_model
from cytotome.io.files import atomic_path
from cytotome.models.registry import read_card
from cytotome.types import AnyArray, Dataset, Sample


@dataclass(frozen=True, slots=True)
class FoldModel:
    """A model file and the fold that it was not trained on; None if it saw none of the images."""

    path: str
    fold: int | None


@dataclass(frozen=True, slots=True)
class Method:
    """One method: a model that saw no images, or models of several folds, each for the images that it did not see."""

    name: str
    models: tuple[FoldModel, ...]


def parse_method(text: str) -> Method:
    """Parses ``MODEL``, ``MODEL:FOLD`` or several of these, separated by commas.

    Raises:
        ConfigError: if a fold is given twice, or only some models have a fold.
    """
    models = []
    for part in text.split(","):
        path, colon, fold = part.strip().rpartition(":")
        models.append(FoldModel(path, int(fold)) if colon and fold.isdigit() else FoldModel(part.strip(), None))
    folds = [model.fold for model in models]
    if len(set(folds)) < len(folds) or (None in folds and len(folds) > 1):
        raise ConfigError(f"{text}: expected MODEL, or MODEL:FOLD,MODEL:FOLD with each fold once")
    return Method(Path(models[0].path).stem, tuple(models))


def held_out_images(methods: Sequence[Method], dataset: Dataset, *, only: int | None = None) -> dict[int, int]:
    """Returns the fold by position of each image that no method was trained on, in order.

    Args:
        methods: methods with their folds.
        dataset: only images of full mask quality are used.
        only: restrict the images to this fold.

    Raises:
        ConfigError: if no images are left.
    """
    fold_of: dict[int, int] = {}
    wanted = {model.fold for method in methods for model in method.models if model.fold is not None}
    for fold in sorted(wanted) if wanted else _folds(dataset):
        fold_of |= dict.fromkeys(splits(dataset, fold)[1], fold)
    for method in methods:
        folds = {model.fold for model in method.models}
        if None not in folds:
            fold_of = {position: fold for position, fold in fold_of.items() if fold in folds}
    if only is not None:
        fold_of = {position: fold for position, fold in fold_of.items() if fold == only}
    if not fold_of:
        raise ConfigError("no labelled image is held out of all models; give MODEL:FOLD for models of the same folds")
    return dict(sorted(fold_of.items()))


def may_have_seen(methods: Sequence[Method], dataset: Dataset) -> list[str]:
    """Returns a warning for each model that was trained, according to its card, on images it is scored on."""
    warnings = []
    for model in (model for method in methods for model in method.models):
        try:
            card = read_card(model.path)
        except ModelError:  # reported when the model is needed
            continue
        if card.may_have_seen(dataset.name, model.fold):
            given = "" if model.fold is None else f"; fold {model.fold} is not held out"
            unseen = card.trained_on[dataset.name].held_out
            folds = ", ".join(f"{model.path}:{fold}" for fold in unseen)
            remedy = f": give {folds} to score it on images that it has not seen" if unseen else ""
            warnings.append(
                f"warning: {model.path} was trained on {card.describe_training(dataset.name)}{given}; if that means "
                f"these images, its scores are too good{remedy}"
            )
    return warnings


def training_images(methods: Sequence[Method], dataset: Dataset) -> dict[int, int]:
    """Returns the fold by position of each image of full mask quality that all models were trained on.

    Raises:
        ConfigError: if the models are not all of one fold.
    """
    folds = {model.fold for method in methods for model in method.models}
    if len(folds) != 1 or None in folds:
        raise ConfigError("--training: give each model as MODEL:FOLD, all of the same fold")
    fold = next(iter(folds))
    assert fold is not None
    return {i: fold for i in splits(dataset, fold)[0] if dataset.infos[i].is_scored}


def _folds(dataset: Dataset) -> list[int]:
    known = sorted({info.fold for info in dataset.infos if info.fold is not None and info.fold >= 0})
    return known or [fold for fold in range(5) if _has_fold(dataset, fold)]


def _has_fold(dataset: Dataset, fold: int) -> bool:
    try:
        return bool(splits(dataset, fold)[1])
    except DataError:
        return False


class CachedOutputs:
    """Inputs of the decoders of a method's models for each image, cached in a folder.

    Args:
        method: the method; its models are opened on first use.
        cache: folder for the outputs, which are written atomically.
        tta: average over symmetries.
        device: device of the networks.
        advance: called after each image.
    """

    def __init__(
        self,
        method: Method,
        cache: Path,
        *,
        tta: bool = False,
        device: str = "auto",
        advance: Callable[[], None] | None = None,
    ) -> None:
        self.method, self.cache, self.tta, self.device = method, cache, tta, device
        self.advance = advance or (lambda: None)
        self._models: dict[str, Model] = {}

    def model_of(self, fold: int) -> Model:
        """Returns the model that did not see images of this fold.

        Raises:
            ModelError: if it is an ensemble, which has no decoder.
        """
        path = next(model.path for model in self.method.models if model.fold in (None, fold))
        if path not in self._models:
            self._models[path] = load_single_model(path, device=self.device)
        return self._models[path]

    def outputs(self, samples: Sequence[Sample], folds: Sequence[int]) -> list[Any]:
        """Returns the input of the decoder for each image, from the cache if possible."""
        return list(self._outputs(samples, folds))

    def _outputs(self, samples: Sequence[Sample], folds: Sequence[int]) -> Iterator[Any]:
        for sample, fold in zip(samples, folds, strict=True):
            path, model = self.path_of(sample, fold), self.model_of(fold)
            if not path.is_file():
                self.keep(sample, fold, model.outputs(sample.image, tta=self.tta))
            self.advance()
            yield model.kind.from_arrays(read_outputs(path))

    def keep(self, sample: Sample, fold: int, outputs: Any) -> None:
        """Writes the input of the decoder for an image to the cache."""
        write_outputs(self.path_of(sample, fold), self.model_of(fold).kind.to_arrays(outputs))

    def path_of(self, sample: Sample, fold: int) -> Path:
        """File of the outputs for an image; its name depends on the model, the pixels and the views."""
        model = self.model_of(fold)
        pixels = hashlib.sha256(np.ascontiguousarray(sample.image.pixels).tobytes()).hexdigest()
        key = hashlib.sha256(f"{model.digest} {pixels} {self.tta} {model.precision}".encode()).hexdigest()[:32]
        return self.cache / f"{key}.npz"


def write_outputs(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    """Writes the input of a decoder atomically, as the arrays of its kind of outputs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]


def read_outputs(path: Path) -> dict[str, AnyArray]:
    """Reads the arrays written by :func:`write_outputs`."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
