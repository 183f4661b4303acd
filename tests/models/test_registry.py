"""Models are found by name or path, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cytotome.data.normalise import Normalisation
from cytotome.errors import ModelError
from cytotome.families.flow.config import FlowConfig, FlowParameters
from cytotome.models.card import Card, TrainedOn
from cytotome.models.file import ModelFile, read_model, save_model
from cytotome.models.registry import bundled_models, find_model, list_models, read_card

MOST_BYTES = 15_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("zebra", "ant"):
        model = ModelFile(
            "flow", FlowConfig(), FlowParameters(), Normalisation(), {"w": torch.ones(1)}, Card(name=name)
        )
        save_model(tmp_path / f"{name}.safetensors", model)
    (tmp_path / ".0123456789ab.part.half.safetensors").write_bytes(b"unfinished")
    (tmp_path / "readme.txt").write_text("no model")
    return tmp_path


def test_models_of_a_folder_by_name(folder: Path) -> None:
    assert bundled_models(folder) == {name: folder / f"{name}.safetensors" for name in ("ant", "zebra")}
    assert [(entry.name, entry.header.card.name, entry.header.family) for entry in list_models(folder)] == [
        ("ant", "ant", "flow"),
        ("zebra", "zebra", "flow"),
    ]


def test_a_name_or_any_path_is_found(folder: Path) -> None:
    assert find_model("ant", folder) == folder / "ant.safetensors"
    assert find_model(str(folder / "readme.txt"), folder) == folder / "readme.txt"
    assert find_model(folder / "zebra.safetensors") == folder / "zebra.safetensors"


def test_an_unknown_name_lists_the_known_ones(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"bee: neither a model file nor a bundled model \(ant, zebra\)"):
        find_model("bee", folder)
    with pytest.raises(ModelError, match="none is bundled"):
        find_model("bee", folder / "nowhere")


def test_listing_imports_no_torch() -> None:
    code = "import sys, cytotome.models.registry as r; r.list_models(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_bundled_models_are_small_and_whole(name: str) -> None:
    path = bundled_models()[name]
    assert path.stat().st_size <= MOST_BYTES
    model = read_model(path)
    assert model.card.name == name
    assert model.card.trained_on
    assert model.card.licence
    assert {weight.dtype for weight in model.weights.values() if weight.ndim >= 2} == {torch.float16}


def test_the_card_of_an_ensemble_has_what_its_members_were_trained_on(folder: Path) -> None:
    for name, folds in (("ant", (0, 1)), ("zebra", (1,))):
        card = Card(name=name, licence=f"{name} licence", trained_on={"own": TrainedOn(held_out=folds)})
        model = ModelFile("flow", FlowConfig(), FlowParameters(), Normalisation(), {"w": torch.ones(1)}, card)
        save_model(folder / f"{name}.safetensors", model)
    (folder / "both.yaml").write_text("members: [{model: ant}, {model: zebra.safetensors}]\ncard: {name: both}\n")
    card = read_card("both", folder)
    assert (card.name, card.licence) == ("both", "ant licence; zebra licence")
    assert [card.may_have_seen("own", fold) for fold in (0, 1)] == [True, False]
    assert read_card(folder / "both.yaml", folder) == card
    assert read_card("ant", folder).licence == "ant licence"
    (folder / "both.yaml").write_text("members: 3\n")
    with pytest.raises(ModelError, match="not an ensemble file"):
        read_card("both", folder)


def test_the_bundled_models_know_what_they_have_seen() -> None:
    for name in ("neurons", "neurons-rcnn", "neurons-ensemble"):
        card = read_card(name)
        assert [card.may_have_seen("sartorius", fold) for fold in (0, 1, None)] == [False, True, True], name
        assert card.may_have_seen("livecell", 0)
        assert "CC BY-NC" in card.licence
