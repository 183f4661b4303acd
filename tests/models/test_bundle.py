"""``scripts/bundle`` takes facts as data."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from cytotome.data.normalise import Normalisation
from cytotome.families.flow.config import FlowConfig, FlowParameters
from cytotome.models.card import Card, TrainedOn
from cytotome.models.file import ModelFile, read_model, save_model

SCRIPT = Path(__file__).parents[2] / "scripts" / "bundle"


@pytest.mark.parametrize("given", [True, False])
def test_what_a_bundled_model_was_trained_on_is_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("bundle_script", str(SCRIPT))
    spec = importlib.util.spec_from_loader("bundle_script", loader)
    assert spec is not None
    script = importlib.util.module_from_spec(spec)
    loader.exec_module(script)
    facts = {"mine": TrainedOn(held_out=(3,))}
    model = ModelFile(
        "flow", FlowConfig(), FlowParameters(), Normalisation(), {"w": torch.ones(2, 2)}, Card(trained_on=facts)
    )
    save_model(tmp_path / "in.safetensors", model)
    monkeypatch.setattr(script, "BUNDLED", tmp_path / "out")
    options = ["--trained-on", "sartorius:0,1", "--trained-on", "livecell"] if given else []
    command = ["bundle", str(tmp_path / "in.safetensors"), "small", "--licence", "CC0", "--command", "none", *options]
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    card = read_model(tmp_path / "out" / "small.safetensors").card
    expected = {"sartorius": TrainedOn(held_out=(0, 1)), "livecell": TrainedOn()} if given else facts
    assert (card.name, card.licence, card.trained_on) == ("small", "CC0", expected)
