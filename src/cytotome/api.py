"""Commands of the command line as functions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from cytotome.ensemble.load import load_model
from cytotome.inference.inputs import ImageLike
from cytotome.tuning.nested import Tuned
from cytotome.types import Instances

if TYPE_CHECKING:
    from cytotome.app.compare.results import Comparison

PathLike = str | os.PathLike[str]


@overload
def segment(images: ImageLike, model: PathLike = ..., *, device: str = ..., **options: Any) -> Instances: ...


@overload
def segment(
    images: Iterable[ImageLike], model: PathLike = ..., *, device: str = ..., **options: Any
) -> list[Instances]: ...


def segment(
    images: ImageLike | Iterable[ImageLike], model: PathLike = "neurons", *, device: str = "auto", **options: Any
) -> Instances | list[Instances]:
    """Finds the cells in one or several images.

    The model is loaded in each call; for repeated calls, use :func:`cytotome.load_model` and its ``segment`` method.

    >>> import cytotome as ct
    >>> sample = ct.open_dataset("synthetic:1")[0]
    >>> ct.segment(sample.image, "nuclei")  # doctest: +ELLIPSIS
    Instances(... cells, ...)

    Args:
        images: an :class:`~cytotome.types.Image`, a path, a ``(H, W)`` or ``(H, W, C)`` array, or a sequence of these.
        model: name of a bundled model or ensemble, or path of a model or ensemble file.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        **options: as in :meth:`cytotome.Model.segment`, such as ``tta``, ``tile``, ``diameter`` and ``min_score``.

    Returns:
        The instances of the image; for several images, a list with the instances of each.

    Raises:
        ImageError: if an image cannot be read or used.
        ModelError: if the model does not exist or its file is damaged.
        ConfigError: if an option is unknown or out of range.
    """
    return load_model(model, device=device).segment(images, **options)


def tune(
    models: str | Sequence[str],
    data: PathLike,
    output: PathLike,
    *,
    layout: str | None = None,
    fold: int | None = None,
    search: Literal["optuna", "greedy"] = "optuna",
    trials: int = 30,
    seed: int = 0,
    tta: bool = False,
    device: str = "auto",
) -> Tuned:
    """Tunes the decoder of a model, or the fusion of several models, on images that they were not trained on.

    >>> import cytotome as ct
    >>> tuned = ct.tune("run/flow.safetensors:0", "sartorius/", "tuned.safetensors")  # doctest: +SKIP
    >>> print(tuned.text())  # doctest: +SKIP

    Args:
        models: one or more, each ``MODEL``, ``MODEL:FOLD`` or, for models of one method trained for several folds,
            ``MODEL:0,MODEL:1``.
        data: a dataset, as in :func:`cytotome.open_dataset`.
        output: the model file (``.safetensors``) or, for several models, the ensemble file (``.yaml``) to write.
        layout: layout of the dataset; detected if None.
        fold: use only images of this fold.
        search: ``optuna``, or ``greedy`` to search one setting after the other.
        trials: number of trials of Optuna.
        seed: random seed of the search.
        tta: tune on predictions averaged over flips and quarter turns.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Returns:
        The tuned settings, with scores of each image before and after tuning; each image is scored with settings chosen
        on others.

    Raises:
        ConfigError: if the models do not match the images or the output, or Optuna is not installed.
    """
    from cytotome.app.tune.run import TuneOptions, run_tune

    chosen = [models] if isinstance(models, str) else list(models)
    options = TuneOptions(Path(output), layout, fold, search, trials, seed, tta=tta, device=device, quiet=True)
    return run_tune(chosen, os.fspath(data), options)


def compare(
    data: PathLike,
    output: PathLike,
    *,
    recipes: Sequence[str] = (),
    models: Sequence[str] = (),
    folds: Sequence[int] = (0,),
    budget_minutes: float = 120.0,
    overrides: Sequence[str] = (),
    layout: str | None = None,
    tta: bool = False,
    device: str = "auto",
) -> Comparison:
    """Trains, scores and fuses several methods on the same held-out images; an interrupted run is resumed.

    >>> import cytotome as ct
    >>> comparison = ct.compare("images/", "bakeoff/", models=["neurons", "nuclei"])  # doctest: +SKIP
    >>> print(comparison.recommendation)  # doctest: +SKIP

    Args:
        data: a dataset, as in :func:`cytotome.open_dataset`.
        output: folder for the models, results and the page ``compare.html``.
        recipes: recipes to train with; by default, if no models are given either, one per family.
        models: trained models, as in :func:`tune`.
        folds: validation folds for which models are trained.
        budget_minutes: total time in minutes.
        overrides: changes to every recipe, such as ``"schedule.steps=1000"``.
        layout: layout of the dataset; detected if None.
        tta: average over flips and quarter turns.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Returns:
        The content of ``results.json`` in the folder.

    Raises:
        ConfigError: if there is nothing to compare, or Lightning is needed and not installed.
    """
    from cytotome.app.compare.run import CompareOptions, run_compare

    options = CompareOptions(
        Path(output),
        tuple(recipes),
        tuple(models),
        tuple(folds),
        60 * budget_minutes,
        layout,
        tta,
        device,
        tuple(overrides),
        quiet=True,
    )
    return run_compare(os.fspath(data), options)
