"""What a run inherits and what makes it the same run: content of data, models, pseudo-labels, licences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from cytotome.datasets import combine, open_dataset
from cytotome.errors import TrainingError
from cytotome.inference.model import load_single_model
from cytotome.models.card import Card, TrainedOn
from cytotome.models.file import read_model, save_model
from cytotome.pseudolabels.dataset import write_pseudolabels
from cytotome.training.ancestry import Identity, data_card
from cytotome.training.train import train


def write_label(path: Path, value: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(value))


def folder_of(root: Path, disks: Any, count: int = 3) -> Path:
    for index in range(count):
        sample = disks(count, 0)[index]
        labels = np.zeros(sample.image.shape, np.uint16)
        for number, mask in enumerate(sample.instances.masks(), start=1):
            labels[mask] = number
        write_label(root / "images" / f"a{index}.png", sample.image.pixels)
        write_label(root / "labels" / f"a{index}.png", labels)
    return root


@pytest.fixture
def short(recipe: dict[str, Any]) -> dict[str, Any]:
    return {**recipe, "schedule": {**recipe["schedule"], "steps": 1}}


def test_corrected_labels_are_not_taken_for_the_data_that_was_trained_on(
    short: dict[str, Any], disks: Any, quiet: Any, tmp_path: Path
) -> None:
    data = folder_of(tmp_path / "own", disks)
    train(short, data, output=tmp_path / "run", console=quiet, device="cpu")
    path = data / "labels" / "a1.png"
    labels = imagecodecs.png_decode(path.read_bytes())
    labels[labels == 1] = 0
    write_label(path, labels)
    with pytest.raises(TrainingError, match=r"images or labels \(1 changed, first own/a1\); choose .* --anew"):
        train(short, data, output=tmp_path / "run", console=quiet, device="cpu")
    write_label(data / "images" / "b.png", np.eye(48, dtype=np.uint8))
    with pytest.raises(TrainingError, match=r"1 changed, first own/a1; 1 new, first own/b"):
        train(short, data, output=tmp_path / "run", console=quiet, device="cpu")
    train(short, data, output=tmp_path / "run", console=quiet, device="cpu", resume=False)


def test_labels_of_a_dataset_without_files_count_too(
    short: dict[str, Any], disks: Any, quiet: Any, tmp_path: Path
) -> None:
    train(short, disks(4), output=tmp_path, console=quiet, device="cpu")
    with pytest.raises(TrainingError, match=r"images or labels \(2 changed, first disks/disks0\)"):
        train(short, disks(4, empty=False, quality="approximate"), output=tmp_path, console=quiet, device="cpu")


def test_another_model_to_start_from_is_another_run(
    short: dict[str, Any], disks: Any, quiet: Any, tmp_path: Path
) -> None:
    path = train(short, disks(), output=tmp_path / "a", console=quiet, device="cpu")
    then = {**short, "weights": str(path)}
    train(then, disks(), output=tmp_path / "b", console=quiet, device="cpu")
    train(then, disks(), output=tmp_path / "b", console=quiet, device="cpu")  # the same
    save_model(path, read_model(path), half=True)
    with pytest.raises(TrainingError, match="changed since this run was started: the model that training starts from"):
        train(then, disks(), output=tmp_path / "b", console=quiet, device="cpu")
    path.unlink()  # a finished run needs it no longer
    assert train(then, disks(), output=tmp_path / "b", console=quiet, device="cpu").is_file()


def test_all_changes_are_named_at_once() -> None:
    now = Identity("r", "s", {"a": "1", "c": "3"})
    before = {"recipe": "q", "start": "t", "data": {"b": "2", "a": "0"}}
    assert now.changes(before) == [
        "the recipe",
        "the model that training starts from",
        "images or labels (1 changed, first a; 1 new, first c; 1 missing, first b)",
    ]
    assert now.changes({"recipe": "r", "start": "s", "data": {"c": "3", "a": "1"}}) == ["the order of the images"]
    assert now.changes({"recipe": "r", "start": "s", "data": {"a": "1", "c": "3"}}) == []


def seen(path: Path, dataset: str = "disks") -> list[bool]:
    card = read_model(path).card
    return [card.may_have_seen(dataset, fold) for fold in (0, 1, None)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0, 0, [False, True, True]),
        (1, 0, [True, True, True]),
        (None, 0, [True, True, True]),
        (0, None, [True, True, True]),
    ],
)
def test_a_fine_tuned_model_has_seen_what_its_start_has_seen(
    short: dict[str, Any],
    disks: Any,
    quiet: Any,
    tmp_path: Path,
    first: int | None,
    second: int | None,
    expected: list[bool],
) -> None:
    path = train(short, disks(9), output=tmp_path / "a", fold=first, console=quiet, device="cpu")
    assert seen(path) == [first != 0, first != 1, True]
    then = {**short, "weights": str(path)}
    assert seen(train(then, disks(9), output=tmp_path / "b", fold=second, console=quiet, device="cpu")) == expected
    other = train(then, disks(9, name="other"), output=tmp_path / "c", fold=second, console=quiet, device="cpu")
    assert seen(other) == [first != 0, first != 1, True]
    assert seen(other, "other") == [second != 0, second != 1, True]


def test_licences_of_data_and_start_are_inherited(
    short: dict[str, Any], disks: Any, quiet: Any, tmp_path: Path
) -> None:
    data = disks(9)
    data.licence = "CC0"
    path = train(short, data, output=tmp_path / "a", console=quiet, device="cpu")
    assert read_model(path).card.licence == "CC0"
    file = read_model(path)
    object.__setattr__(file, "card", file.card.model_copy(update={"licence": "CC BY-NC 4.0; CC0"}))
    save_model(path, file)
    then = train({**short, "weights": str(path)}, data, output=tmp_path / "b", console=quiet, device="cpu")
    assert read_model(then).card.licence == "CC0; CC BY-NC 4.0"


def test_pseudo_labels_hand_on_what_their_model_has_seen(
    recipe: dict[str, Any], disks: Any, quiet: Any, tmp_path: Path
) -> None:
    labels = disks(9)
    labels.licence = "CC BY-NC 4.0"
    teacher = train(recipe, labels, output=tmp_path / "a", fold=0, console=quiet, device="cpu")
    model = load_single_model(teacher, device="cpu")
    write_pseudolabels([model], disks(4, 4, name="unlabelled"), tmp_path / "pseudo")
    again = open_dataset(tmp_path / "pseudo")
    student = train(recipe, [again, disks(9, name="own")], output=tmp_path / "b", console=quiet, device="cpu")
    card = read_model(student).card
    assert card.licence == "CC BY-NC 4.0"
    assert seen(student) == [False, True, True]
    assert card.may_have_seen("unlabelled", 0)
    assert card.may_have_seen("own", 0)
    (tmp_path / "pseudo" / "run.json").write_text('{"command": "pseudolabel", "data": "disks"}')  # as in older versions
    assert data_card(open_dataset(tmp_path / "pseudo"), None).may_have_seen("disks", 0)


def test_the_parts_of_a_combined_dataset_are_known_by_their_names(disks: Any) -> None:
    card = data_card(combine([disks(9, name="a"), disks(9, name="b")]), 0)
    assert card.trained_on == {name: TrainedOn(held_out=(0,)) for name in ("a+b", "a", "b")}
    assert data_card(open_dataset("synthetic:2").subset([0]), None) == Card(trained_on={"synthetic": TrainedOn()})
