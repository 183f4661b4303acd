"""Recipes: all that is needed to train one model again, in one YAML file that is checked whole before any work."""

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
"""Where the wheel keeps recipes, and where a source tree does."""


class SourceSettings(Section):
    """How one dataset is drawn from.

    Attributes:
        weight: share of crops, relative to the other datasets.
        scale: enlarges its images, if their cells are of another size than those the model is made for.
        offset: pixels, down and right, by which its cells lie beside their masks, as
            ``benchmarks/alignment.py`` measures.
        classes: new names of its classes, such as ``SHSY5Y: shsy5y``.
        validated: whether a fold of it is held out and validated on; else all of it is trained on.
    """

    weight: Annotated[float, Field(ge=0)] = 1.0
    scale: Positive = 1.0
    offset: tuple[float, float] = (0.0, 0.0)
    classes: dict[str, str] = {}
    validated: bool = True


class Sampling(Section):
    """What a batch is made of.

    Attributes:
        crop: height and width of a crop in pixels of the network's input, multiples of the network's stride.
        batch: crops of a batch, one or more of each stream of a stage.
        cell_bias: probability that a crop is laid over a cell.
        balance: 1 draws each cell type of a dataset equally often, 0 each image.
        sized: probability that a crop's image is first brought to the config's ``cell_size`` by its median cell, as in
            the second pass of prediction; then ``sized_scale`` is used instead of the augmentation's ``scale``.
        sized_scale: minimum and maximum further enlargement of such crops.
        sources: settings by name of the dataset; those not named have weight 1 and scale 1.
        workers: processes that make crops; 0 makes them between the steps.
        cache_megabytes: memory of each worker for images that were read.
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
        name: of the model file.
        family: method.
        summary: one line for the model's card.
        config: fields of the family's config; class names and offset are those of the data if they are not given.
        decode: fields of the family's decode parameters.
        normalisation: grey levels to network input.
        sampling: what a batch is made of.
        augmentation: how crops are changed.
        schedule: steps, time, learning rate.
        weights: model file, by path or by name, whose weights training starts from if their shapes agree.
        pretrain: a first run on other data, whose weights are then started from.
        teacher: learn from unlabelled images by a mean teacher.
        calibration_images: images of the training folds that the decode parameters are fitted on at the end.
        calibration_held_out: these images are not trained on; else all are. Networks of short runs, which do as well on
            new images as on their own, are better off with all.
        seed: of weights, crops and everything else that is drawn.
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
        """A hash of the fields that decide the result; a model to start from counts by its content, not by its name."""
        content = [result_fields(self), self.weights is not None]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def get_family(self) -> AnyFamily:
        """The family, imported."""
        return get_family(self.family)

    def family_config(self, class_names: Sequence[str] = (), offset: tuple[float, float] = (0.0, 0.0)) -> FamilyConfig:
        """The family's config; ``class_names`` and ``offset`` of the data hold if the recipe gives none."""
        config = {"offset": offset, **self.config}
        if class_names and "class_names" not in config:
            config["class_names"] = tuple(class_names)
        return self.get_family().config(**config)

    def decode_parameters(self) -> DecodeParameters:
        """The decode parameters that the model file holds if nothing is calibrated."""
        return self.get_family().parameters(**self.decode)


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted({path.stem for folder in RECIPE_FOLDERS for path in folder.glob("*.yaml")}))


def find_recipe(name_or_path: str | Path) -> Path:
    """The file of a recipe.

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
    """A checked recipe.

    Args:
        recipe: name, path of a YAML file, or its content.
        overrides: ``key=value`` with keys such as ``schedule.steps`` and values in YAML.

    Raises:
        ConfigError: names every fault of the recipe, of the family's config and of the decode parameters at once.
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
    """The recipe of a mapping; see :func:`load_recipe`."""
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
    """Whether the network's input has room for the channels of edges."""
    try:
        guidance = Normalisation.model_validate(content.get("normalisation", {})).guidance
        if guidance is not None:
            image_channels(family.config.model_validate(content.get("config", {})).channels, guidance)
    except ConfigError as error:
        return [str(error)]
    except ValidationError:  # named elsewhere
        pass
    return []


def _stage_faults(recipe: Recipe) -> list[str]:
    """Faults of what the recipe says of single stages; its config must be sound."""
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
