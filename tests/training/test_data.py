"""What is trained, validated and calibrated on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cytotome.errors import DataError, TrainingError
from cytotome.training.data import open_all, prepare
from cytotome.training.recipe import load_recipe
from cytotome.training.train import train
from cytotome.types import Note


def ids(places: Any) -> set[str]:
    return {dataset.infos[position].id for dataset, position in places}


def test_a_fold_is_never_trained_on(recipe: dict[str, Any], disks: Any) -> None:
    prepared = prepare(load_recipe(recipe), disks(), 1)
    trained = {info.id for info in prepared.sources[0].dataset.infos}
    assert ids(prepared.validation) == {"disks1"}
    assert trained == {"disks0", "disks2", "disks3", "disks4", "disks5"}
    assert prepare(load_recipe(recipe), disks(), None).validation == ()


def test_calibration_images_are_never_trained_on(recipe: dict[str, Any], disks: Any) -> None:
    prepared = prepare(load_recipe(recipe, ["calibration_images=2"]), disks(12, 0), 0)
    trained = {info.id for info in prepared.sources[0].dataset.infos}
    assert len(prepared.calibration) == 2
    assert not trained & (ids(prepared.calibration) | ids(prepared.validation))
    assert len(trained) == 12 - 4 - 2


def test_calibration_images_may_be_trained_on(recipe: dict[str, Any], disks: Any) -> None:
    overrides = ["calibration_images=20", "calibration_held_out=false"]
    prepared = prepare(load_recipe(recipe, overrides), disks(12, 0), 0)
    assert ids(prepared.calibration) == {info.id for info in prepared.sources[0].dataset.infos}
    assert len(prepared.calibration) == 12 - 4


def test_sources_take_their_settings_by_name(recipe: dict[str, Any], disks: Any) -> None:
    settings = "sampling.sources={more: {weight: 2, scale: 0.5, validated: false, classes: {disk: spot}}}"
    prepared = prepare(load_recipe(recipe, [settings]), [disks(), disks(name="more")], 0)
    first, second = prepared.sources
    assert (first.weight, first.scale, len(first.dataset)) == (1, 1, 4)
    assert (second.weight, second.scale, len(second.dataset)) == (2, 0.5, 6)
    assert ids(prepared.validation) == {"disks0", "disks3"}
    assert prepared.class_names == ("disk",)  # what the model is made for; `more` is there to learn from alone


def test_cells_are_given_the_offset_of_the_data_that_the_model_is_made_for(recipe: dict[str, Any], disks: Any) -> None:
    settings = "sampling.sources={disks: {offset: [0.4, 0.1]}, more: {offset: [1, 1], validated: false}}"
    checked = load_recipe(recipe, [settings])
    prepared = prepare(checked, [disks(name="more"), disks()], 0)
    assert prepared.offset == (0.4, 0.1)
    assert prepare(checked, [disks(name="pseudo", quality="approximate"), disks()], 0).offset == (0.4, 0.1)
    assert checked.family_config(prepared.class_names, prepared.offset).offset == (0.4, 0.1)
    assert load_recipe(recipe, ["config.offset=[0, 0]"]).family_config(("a",), (0.4, 0.1)).offset == (0.0, 0.0)


def test_the_identity_tells_data_apart(recipe: dict[str, Any], disks: Any) -> None:
    checked = load_recipe(recipe)
    assert prepare(checked, disks(), 0).digests == prepare(checked, [disks()], 0).digests
    assert prepare(checked, disks(), 0).digests != prepare(checked, disks(), 1).digests


def test_datasets_that_the_recipe_names_may_be_left_out(recipe: dict[str, Any], disks: Any) -> None:
    checked = load_recipe(recipe, ["sampling.sources={plates: {weight: 2}, disks: {weight: 3}}"])
    prepared = prepare(checked, disks(), None)
    assert prepared.missing == ("plates",)
    assert [source.weight for source in prepared.sources] == [3.0]


def test_paths_are_opened_in_the_layout_given(tmp_path: Path, disks: Any) -> None:
    for name in ("images/a.png", "labels/a.png", "one.json", "two.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="expected one COCO file"):
        open_all(tmp_path)
    given = disks()
    opened = open_all([given, tmp_path], "folders")
    assert opened[0] is given
    assert [info.id for info in opened[1].infos] == ["a"]


def test_nothing_labelled_is_told(recipe: dict[str, Any], disks: Any) -> None:
    with pytest.raises(TrainingError, match="disks: no image is labelled"):
        prepare(load_recipe(recipe), disks(3, 3), None)


def test_empty_masks_are_told(recipe: dict[str, Any], disks: Any) -> None:
    with pytest.raises(TrainingError, match="the masks of all 4 labelled images are empty"):
        prepare(load_recipe(recipe), disks(empty=True), None)


def test_no_data_and_missing_data_are_told(recipe: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="no dataset to train on"):
        prepare(load_recipe(recipe), [], None)
    with pytest.raises(DataError, match="no such file or folder"):
        prepare(load_recipe(recipe), "/no/such/folder", None)


def test_what_is_not_used_of_the_data_is_said_first(
    recipe: dict[str, Any], disks: Any, tmp_path: Path, quiet: Console
) -> None:
    data = disks(3, 3)
    data.notes = (Note("label maps fit no image", ("gt_a.png",), "rename them"),)
    with pytest.raises(TrainingError, match="no image is labelled"):
        train(recipe, data, output=tmp_path / "run", console=quiet)
    quiet.file.flush()
    assert (tmp_path / "said.txt").read_text() == "note: disks: label maps fit no image (1): gt_a.png; rename them\n"
