"""Pretraining on other data, followed by training: two runs of one recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cytotome.errors import TrainingError
from cytotome.training.data import Data, open_all
from cytotome.training.recipe import Recipe
from cytotome.types import Dataset

FOLDER = "pretraining"


@dataclass(frozen=True)
class FirstRun:
    """The pretraining run.

    Attributes:
        recipe: recipe without ``pretrain``.
        data: its training data.
        output: its folder, within that of the whole run.
    """

    recipe: Recipe
    data: tuple[Dataset, ...]
    output: Path


def split_pretraining(
    recipe: Recipe, data: Data | Sequence[Data], output: Path
) -> tuple[FirstRun | None, Recipe, Sequence[Dataset]]:
    """Returns the first run, if the recipe has one, and recipe and data of the subsequent run.

    Raises:
        TrainingError: if a dataset for pretraining is not given, or none is left for the run itself.
    """
    datasets = open_all(data)
    if recipe.pretrain is None:
        return None, recipe, datasets
    names = recipe.pretrain.data
    missing = [name for name in names if name not in {dataset.name for dataset in datasets}]
    if missing:
        listed = ", ".join(dataset.name for dataset in datasets) or "none"
        raise TrainingError(f"pretrain.data: {', '.join(missing)} is not given, only {listed}; give it by --data too")
    rest = [dataset for dataset in datasets if dataset.name not in names]
    if not rest:
        raise TrainingError("pretrain.data: names every dataset; give one more to fine-tune on")
    first = FirstRun(
        _first_recipe(recipe), tuple(dataset for dataset in datasets if dataset.name in names), output / FOLDER
    )
    weights = str(first.output / f"{first.recipe.name}.safetensors")
    own = {name: settings for name, settings in recipe.sampling.sources.items() if name not in names}
    sampling = recipe.sampling.model_copy(update={"sources": own})
    return first, recipe.model_copy(update={"pretrain": None, "weights": weights, "sampling": sampling}), rest


def _first_recipe(recipe: Recipe) -> Recipe:
    pretrain = recipe.pretrain
    assert pretrain is not None
    changed = {name: getattr(pretrain, name) for name in ("steps", "minutes", "learning_rate")}
    given = {name: value for name, value in changed.items() if value is not None}
    schedule = recipe.schedule.model_copy(update={**given, "patience": 0})  # no image is held out of the first run
    config = {name: value for name, value in recipe.config.items() if name != "class_names"}
    if pretrain.class_names:
        config["class_names"] = pretrain.class_names
    sources = {name: settings for name, settings in recipe.sampling.sources.items() if name in pretrain.data}
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-pretrained",
            "pretrain": None,
            "teacher": None,
            "calibration_images": 0,
            "config": config,
            "schedule": schedule,
            "sampling": recipe.sampling.model_copy(update={"sources": sources}),
        }
    )
