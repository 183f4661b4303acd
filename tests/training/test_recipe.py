"""Recipes: found, read, overridden, and all their faults named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cytotome.errors import ConfigError
from cytotome.models.file import read_model
from cytotome.models.registry import bundled_models, find_model
from cytotome.training.recipe import Recipe, find_recipe, load_recipe, recipe_names
from cytotome.training.warm_start import load_weights


def test_every_fault_is_named_at_once(recipe: dict[str, Any]) -> None:
    content = {
        **recipe,
        "name": "a b",
        "tempo": 3,
        "config": {"width": "wide", "depth": 2},
        "decode": {"threshold": []},
        "normalisation": {"low": 60, "high": 40},
        "schedule": {"steps": 0, "ema": 1.0},
        "augmentation": {"flip": 2, "scale": [2, 1]},
    }
    with pytest.raises(ConfigError) as caught:
        load_recipe(content)
    text = str(caught.value)
    assert "\n" not in text
    for place in (
        "name:",
        "tempo: there is no such field",
        "config.width:",
        "config.depth: there is no such field",
        "decode.threshold:",
        "normalisation: needs 0 <= low < high",
        "schedule.steps:",
        "schedule.ema:",
        "augmentation.flip:",
    ):
        assert place in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("config.widths=[8, 16]", r"config: blocks must have one number for each of the 2 widths, got 4"),
        ("config.widths=[]", r"config\.widths: Tuple should have at least 1 item"),
        ("config.input_scale=0", r"config\.input_scale: Input should be greater than 0, got 0"),
        ("config.channels=0", r"config\.channels: Input should be greater than or equal to 1, got 0"),
        ("config.class_names=[]", r"config\.class_names: Tuple should have at least 1 item"),
        ("config={1: 2}", r"config\.1\S*: Input should be a valid string"),
        ("decode={1: 2}", r"decode\.1\S*: Input should be a valid string"),
        ("decode.min_score=.nan", r"decode\.min_score: Input should be a finite number"),
        ("decode.by_class={cort: {nonsense: 1}}", r"decode\.by_class\.cort\.nonsense: there is no such field"),
    ],
)
@pytest.mark.parametrize("family", ["embedding", "flow"])
def test_values_that_no_network_or_decoder_takes_are_told(family: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe({"name": "a", "family": family}, [override])


def test_keys_that_are_no_names_are_told(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("{name: a, family: flow, 1: 2}")
    with pytest.raises(ConfigError, match=r"1: Keys should be strings"):
        load_recipe(path)


def test_a_missing_family_is_told_with_those_there_are(recipe: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"there is no 'dual', only .*duel"):
        load_recipe({**recipe, "family": "dual"})
    with pytest.raises(ConfigError, match="family: Field required"):
        load_recipe({"name": "x"})


def test_overrides_reach_into_sections(recipe: dict[str, Any]) -> None:
    checked = load_recipe(recipe, ["schedule.steps=7", "config.width=16", "sampling.crop=[64, 96]", "weights=null"])
    assert checked.schedule.steps == 7
    assert checked.schedule.learning_rate == 0.02
    assert checked.sampling.crop == (64, 96)
    assert checked.family_config().model_dump()["width"] == 16
    assert recipe["schedule"]["steps"] == 40  # what was given stays as it was


def test_faulty_overrides_are_told(recipe: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        load_recipe(recipe, ["schedule.steps"])
    with pytest.raises(ConfigError, match="the value is not YAML"):
        load_recipe(recipe, ["schedule.steps=[1"])
    with pytest.raises(ConfigError, match=r"schedule\.stepz: there is no such field"):
        load_recipe(recipe, ["schedule.stepz=5"])


def test_a_file_gives_what_its_content_gives(recipe: dict[str, Any], tmp_path: Path) -> None:
    checked = load_recipe(recipe)
    path = tmp_path / "tiny.yaml"
    path.write_text(checked.model_dump_json())  # JSON is YAML
    assert load_recipe(path) == checked
    assert load_recipe(checked) == checked


def test_files_that_are_no_recipes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("[1, 2]")
    with pytest.raises(ConfigError, match="must hold fields such as name and family, got list"):
        load_recipe(path)
    path.write_text("a: [1")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_recipe(path)
    with pytest.raises(ConfigError, match="there is no such recipe file"):
        find_recipe(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="neither a recipe file nor the name of a recipe"):
        find_recipe("no-such-recipe")


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_that_come_with_the_package_are_sound(name: str) -> None:
    checked = load_recipe(name)
    assert checked.name == name
    checked.family_config(("a", "b"))
    checked.decode_parameters()


@pytest.mark.parametrize("name", [name for name in recipe_names() if load_recipe(name).weights in bundled_models()])
def test_recipes_that_start_from_a_bundled_model_have_its_network(name: str) -> None:
    """Every weight of the trunk is taken; layers of other classes may be new."""
    checked = load_recipe(name)
    start = read_model(find_model(str(checked.weights)))
    said = load_weights(checked.get_family().build(checked.family_config(start.config.class_names)), start.weights)
    taken = int(said.split()[2])
    assert taken >= len(start.weights) - 2, said


def test_class_names_are_those_of_the_data_unless_given(recipe: dict[str, Any]) -> None:
    assert load_recipe(recipe).family_config(("a", "b")).class_names == ("a", "b")
    given = load_recipe({**recipe, "config": {"class_names": ["c"]}})
    assert given.family_config(("a", "b")).class_names == ("c",)


def test_one_source_must_count(recipe: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must give one dataset a weight above 0"):
        load_recipe(recipe, ["sampling.sources={disks: {weight: 0}}"])
    assert isinstance(load_recipe(recipe, ["sampling.sources={disks: {weight: 2}}"]), Recipe)


def test_crops_of_one_cell_size_need_that_size() -> None:
    content = {"name": "a", "family": "flow", "sampling": {"sized": 0.5}}
    with pytest.raises(ConfigError, match=r"sampling\.sized: .*give config\.cell_size too"):
        load_recipe(content)
    assert load_recipe({**content, "config": {"cell_size": 30}}).sampling.sized == 0.5
    with pytest.raises(ConfigError, match=r"sampling: sized_scale must be the smaller number first"):
        load_recipe({**content, "config": {"cell_size": 30}, "sampling": {"sized_scale": [2.0, 1.0]}})


@pytest.mark.parametrize(
    "override",
    [
        "summary=better",
        "weights=null",
        "schedule.minutes=5",
        "schedule.checkpoint_minutes=9",
        "schedule={validate_every: 7, patience: 3, validation_images: 2}",
        "schedule.pictures_every=5",
        "sampling={workers: 3, cache_megabytes: 10}",
        "schedule.accumulate=1",
        "normalisation={guidance: null}",
        "augmentation.flip=0.5",
    ],
)
def test_what_does_not_change_the_result_does_not_hinder_resuming(override: str) -> None:
    plain = {"name": "a", "family": "flow"}
    assert load_recipe(plain, [override]).digest == load_recipe(plain).digest


def test_what_changes_the_result_is_in_the_digest() -> None:
    plain = {"name": "a", "family": "flow"}
    changes = (
        "seed=1",
        "weights=neurons",
        "config.widths=[8, 8, 8, 8]",
        "decode.min_area=9",
        "normalisation={guidance: {}}",
        "sampling.crop=[64, 64]",
        "sampling.sources={more: {weight: 2}}",
        "augmentation.flip=0",
        "schedule.steps=5",
        "schedule.accumulate=2",
        "schedule.stages={flow: {learning_rate: 0.1}}",
        "teacher={}",
        "calibration_images=3",
    )
    digests = {load_recipe(plain, [change] if change else []).digest for change in ("", *changes)}
    assert len(digests) == len(changes) + 1
