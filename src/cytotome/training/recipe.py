"""Recipes: everything needed to train one model again, in one YAML file that is validated before any work."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from cytotome.contract import DecodeParameters, FamilyConfig
from cytotome.data.augment import Augmentation, Probability
from cytotome.data.normalise import Normalisation, image_channels
from cytotome.errors import ConfigError, describe
from cytotome.families import FORMER_NAMES, AnyFamily, family_names, get_family
from cytotome.training.plan import stage_faults
from cytotome.training.schedule import (
    NOT_OF_THE_RESULT,
    AtLeastOne,
    Count,
    Positive,
    Pretraining,
    Schedule,
    Section,
    TeacherSettings,
    result_fields,
)

PACKAGE = Path(__file__).resolve().parents[1]
RECIPE_FOLDERS = (PACKAGE / "recipes", PACKAGE.parents[1] / "recipes")
"""Folders of recipes in a wheel and in a source tree."""


class SourceSettings(Section):
    """Settings for sampling from one dataset.

    Attributes:
        weight: share of crops, relative to the other datasets.
        scale: factor by which its images are enlarged, if its cells have another size than those of the model.
        offset: shift in pixels, down and right, of its cells against their masks, see ``benchmarks/alignment.py``.
        classes: new names of its classes, such as ``SHSY5Y: shsy5y``.
        validated: whether a fold of it is held out for validation; otherwise all of it is used for training.
    """

    weight: Annotated[float, Field(ge=0)] = 1.0
    scale: Positive = 1.0
    offset: tuple[float, float] = (0.0, 0.0)
    classes: dict[str, str] = {}
    validated: bool = True


class Sampling(Section):
    """Settings of the batches.

    Attributes:
        crop: height and width of a crop in pixels of the network's input, multiples of the network's stride.
        batch: crops per batch, at least one of each stream of a stage.
        cell_bias: probability that a crop is placed over a cell.
        balance: 1 to sample each cell type of a dataset equally often, 0 for each image.
        sized: probability that a crop's image is first scaled such that its median cell has the config's ``cell_size``,
            as in the second pass of prediction; ``sized_scale`` is then used instead of the augmentation's ``scale``.
        sized_scale: minimum and maximum further enlargement of such crops.
        sources: settings by name of the dataset; others have weight 1 and scale 1.
        workers: number of processes that make crops; 0 to make them between steps.
        cache_megabytes: memory for cached images in each worker, in megabytes.
    """

    crop: tuple[AtLeastOne, AtLeastOne] = (384, 384)
    batch: AtLeastOne = 8
    cell_bias: Probability = 0.7
    balance: Probability = 1.0
    sized: Probability = 0.0
    sized_scale: tuple[Positive, Positive] = (0.8, 1.25)
    sources: dict[str, SourceSettings] = {}
    workers: Annotated[Count, NOT_OF_THE_RESULT] = 1
    cache_megabytes: Annotated[Positive, NOT_OF_THE_RESULT] = 1024.0

    @model_validator(mode="after")
    def _check(self) -> Sampling:
        if self.sized_scale[0] > self.sized_scale[1]:
            raise ValueError(f"sized_scale must be the smaller number first, got {list(self.sized_scale)}")
        return self


class Recipe(Section):
    """One training run.

    Attributes:
        name: name of the model file.
        family: name of the family.
        summary: one line for the model's card.
        config: fields of the family's config; by default, class names and offset are those of the data.
        decode: fields of the family's decoder parameters.
        normalisation: conversion of grey levels to network input.
        sampling: settings of the batches.
        augmentation: random changes of crops.
        schedule: steps, time, learning rate.
        weights: model file, by path or name, whose weights are used for initialisation if their shapes match.
        pretrain: a first run on other data, whose weights are used for initialisation.
        teacher: mean teacher for learning from unlabelled images.
        calibration_images: number of images of the training folds on which the decoder parameters are fitted at the
            end.
        calibration_held_out: exclude these images from training. Not recommended for short runs, whose networks score
            similarly on training images and new ones.
        seed: random seed of weights, crops and everything else.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    family: str
    summary: Annotated[str, NOT_OF_THE_RESULT] = ""
    config: dict[str, Any] = {}
    decode: dict[str, Any] = {}
    normalisation: Normalisation = Normalisation()
    sampling: Sampling = Sampling()
    augmentation: Augmentation = Augmentation()
    schedule: Schedule = Schedule()
    weights: Annotated[str | None, NOT_OF_THE_RESULT] = None
    pretrain: Pretraining | None = None
    teacher: TeacherSettings | None = None
    calibration_images: Count = 0
    calibration_held_out: bool = True
    seed: Count = 0

    @model_validator(mode="after")
    def _check_sources(self) -> Recipe:
        sources = self.sampling.sources
        if self.pretrain is not None and self.weights is not None:
            raise ValueError("weights and pretrain both say what to start from; leave one out")
        if sources and not any(source.weight for source in sources.values()):
            raise ValueError("sampling.sources must give one dataset a weight above 0")
        return self

    @property
    def digest(self) -> str:
        """A hash of the fields that determine the result; the initial model counts by its content, not by its name."""
        content = [result_fields(self), self.weights is not None]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def get_family(self) -> AnyFamily:
        """Imports and returns the family."""
        return get_family(self.family)

    def family_config(self, class_names: Sequence[str] = (), offset: tuple[float, float] = (0.0, 0.0)) -> FamilyConfig:
        """The family's config; ``class_names`` and ``offset`` are those of the data unless given in the recipe."""
        config = {"offset": offset, **self.config}
        if class_names and "class_names" not in config:
            config["class_names"] = tuple(class_names)
        return self.get_family().config(**config)

    def decode_parameters(self) -> DecodeParameters:
        """The decoder parameters of the model file if nothing is calibrated."""
        return self.get_family().parameters(**self.decode)


def recipe_names() -> tuple[str, ...]:
    """Names of the bundled recipes."""
    return tuple(sorted({path.stem for folder in RECIPE_FOLDERS for path in folder.glob("*.yaml")}))


def find_recipe(name_or_path: str | Path) -> Path:
    """Returns the file of a recipe.

    Raises:
        ConfigError: if there is none.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if path.is_file():
            return path
        raise ConfigError(f"{path}: there is no such recipe file; see the names by `cytotome models list`")
    for folder in RECIPE_FOLDERS:
        if (folder / f"{name_or_path}.yaml").is_file():
            return folder / f"{name_or_path}.yaml"
    names = recipe_names()
    near = difflib.get_close_matches(str(name_or_path), names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names) or 'none'}"
    raise ConfigError(f"{name_or_path}: neither a recipe file nor the name of a recipe; {hint}")


def load_recipe(recipe: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str] = ()) -> Recipe:
    """Loads and validates a recipe.

    Args:
        recipe: name, path of a YAML file, or its content.
        overrides: ``key=value`` with keys such as ``schedule.steps`` and values in YAML.

    Raises:
        ConfigError: lists all errors of the recipe, of the family's config and of the decoder parameters.
    """
    if isinstance(recipe, Recipe):
        content, place = recipe.model_dump(exclude_unset=True), recipe.name
    elif isinstance(recipe, Mapping):
        content, place = dict(recipe), str(recipe.get("name", "recipe"))
    else:
        path = find_recipe(recipe)
        content, place = _read_yaml(path), str(path)
    for override in overrides:
        _apply(content, override)
    return check_recipe(content, place)


def check_recipe(content: Mapping[str, Any], place: str = "recipe") -> Recipe:
    """Validates the recipe in a mapping; see :func:`load_recipe`."""
    faults: list[str] = []
    checked: Recipe | None = None
    try:
        checked = Recipe.model_validate(content)
    except ValidationError as error:
        faults += describe(error)
    family = content.get("family")
    if isinstance(family, str):
        if family not in (*family_names(), *FORMER_NAMES):
            faults.append(f"family: there is no {family!r}, only {', '.join(family_names())}")
        else:
            faults += _family_faults(get_family(family), content)
    if checked is not None and not faults:
        faults += _stage_faults(checked)
    if faults or checked is None:
        raise ConfigError(f"{place}: {'; '.join(faults)}")
    return checked


def _family_faults(family: AnyFamily, content: Mapping[str, Any]) -> list[str]:
    faults: list[str] = []
    sampling, config = (content.get(name) for name in ("sampling", "config"))
    sized = isinstance(sampling, Mapping) and sampling.get("sized")
    if sized and not (isinstance(config, Mapping) and config.get("cell_size")):
        faults.append("sampling.sized: needs a size to bring cells to; give config.cell_size too")
    for section, kind in (("config", family.config), ("decode", family.parameters)):
        values = content.get(section, {})
        if isinstance(values, Mapping):
            try:
                kind.model_validate(values)
            except ValidationError as error:
                faults += describe(error, f"{section}.")
            except ConfigError as error:
                faults.append(f"{section}: {error}")
    return faults + _guidance_faults(family, content)


def _guidance_faults(family: AnyFamily, content: Mapping[str, Any]) -> list[str]:
    """Checks that the network's input has channels for the edges."""
    try:
        guidance = Normalisation.model_validate(content.get("normalisation", {})).guidance
        if guidance is not None:
            image_channels(family.config.model_validate(content.get("config", {})).channels, guidance)
    except ConfigError as error:
        return [str(error)]
    except ValidationError:  # reported elsewhere
        pass
    return []


def _stage_faults(recipe: Recipe) -> list[str]:
    """Errors in the recipe's settings of single stages; its config must be valid."""
    stages = recipe.get_family().stages(recipe.family_config())
    if recipe.teacher is not None:
        stages = tuple(replace(stage, streams=recipe.teacher.streams) for stage in stages)
    faults = stage_faults(stages, recipe.schedule, recipe.sampling.batch)
    if recipe.teacher is not None:
        from cytotome.training.teacher import teacher_faults  # torch takes seconds to import

        faults += teacher_faults(recipe.get_family(), recipe.family_config(), recipe.schedule)
    return faults


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML ({' '.join(str(error).split())}); correct it") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold fields such as name and family, got {type(content).__name__}")
    return content


def _apply(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r}: expected key=value, such as schedule.steps=500")
    *sections, last = key.strip().split(".")
    for section in sections:
        inner = content.get(section)
        content[section] = dict(inner) if isinstance(inner, Mapping) else {}
        content = content[section]
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the value is not YAML ({' '.join(str(error).split())})") from error
