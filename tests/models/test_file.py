"""A model file gives back what was saved, under a hash of its content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cytotome.data.normalise import Normalisation
from cytotome.errors import ModelError
from cytotome.families.flow import FAMILY
from cytotome.families.flow.config import FlowConfig, FlowParameters
from cytotome.models.card import Card, TrainedOn
from cytotome.models.file import ModelFile, content_digest, read_model, save_model
from cytotome.models.header import read_content


@pytest.fixture(scope="module")
def model() -> ModelFile:
    config = FlowConfig(class_names=("cort", "astro"), widths=(4, 8), blocks=(1, 1), input_scale=1.25)
    parameters = FlowParameters(min_area=33, by_class={"astro": {"cell_threshold": 0.3}})
    torch.manual_seed(0)
    return ModelFile(
        family="flow",
        config=config,
        parameters=parameters,
        normalisation=Normalisation(low=0.5, high=99.5),
        weights=FAMILY.build(config).state_dict(),
        card=Card(
            name="small",
            trained_on={"made up": TrainedOn(held_out=(0,))},
            scores={"mAP": 0.5},
            versions={"torch": "2.8"},
        ),
    )


def test_everything_comes_back(model: ModelFile, tmp_path: Path) -> None:
    digest = save_model(tmp_path / "m.safetensors", model)
    read = read_model(tmp_path / "m.safetensors")
    assert read.digest == digest
    for name in ("family", "config", "parameters", "normalisation", "card"):
        assert getattr(read, name) == getattr(model, name)
    assert read.weights.keys() == model.weights.keys()
    assert all(torch.equal(read.weights[name], weight) for name, weight in model.weights.items())


def test_models_without_guidance_are_written_as_before_there_was_any(model: ModelFile, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", model)
    content = read_content(tmp_path / "m.safetensors")
    assert content["normalisation"] == {"low": 0.5, "high": 99.5, "clip": 1.0}
    assert read_model(tmp_path / "m.safetensors").normalisation == model.normalisation


def test_half_precision_rounds_kernels_only(model: ModelFile, tmp_path: Path) -> None:
    large = {**model.weights, "large": torch.full((2, 2), 1e6)}
    save_model(tmp_path / "m.safetensors", replace(model, weights=large), half=True)
    read = read_model(tmp_path / "m.safetensors").weights
    for name, weight in large.items():
        if name != "large" and weight.ndim >= 2:
            assert read[name].dtype == torch.float16
            torch.testing.assert_close(read[name].float(), weight, rtol=2**-11, atol=2**-24)
        else:
            assert torch.equal(read[name], weight)


def test_the_hash_is_of_the_content(model: ModelFile, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    digest = save_model(path, model)
    first = path.read_bytes()
    turned = replace(model, weights=dict(reversed(model.weights.items())))
    assert save_model(path, turned) == digest
    assert path.read_bytes() == first
    name = next(iter(model.weights))
    nudged = {**model.weights, name: model.weights[name] + 1e-3}
    others = [
        replace(model, weights=nudged),
        replace(model, parameters=FlowParameters()),
        replace(model, card=Card(name="other")),
        replace(model, normalisation=Normalisation()),
    ]
    assert len({digest, *(save_model(path, other) for other in others)}) == 5


def test_the_hash_tells_shapes_and_types_apart() -> None:
    tensors = [
        torch.zeros(4),
        torch.zeros(2, 2),
        torch.zeros(4, dtype=torch.int32),
        torch.zeros(8, dtype=torch.bfloat16),
    ]
    assert len({content_digest({}, {"a": tensor}) for tensor in tensors}) == 4


def test_a_file_that_cannot_be_saved_leaves_the_old_one(model: ModelFile, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    before = path.read_bytes()
    with pytest.raises(ModelError, match=r"weight stem\.0\.weight is not finite"):
        save_model(path, replace(model, weights={"stem.0.weight": torch.tensor([1.0, float("nan")])}))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_others_may_read_the_file_as_any_other(model: ModelFile, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", model)
    (tmp_path / "plain").touch()
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_tied_weights_are_saved(model: ModelFile, tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    weights = {"a": shared, "b": shared, "view": shared[::2]}
    save_model(tmp_path / "m.safetensors", replace(model, weights=weights))
    read = read_model(tmp_path / "m.safetensors").weights
    assert all(torch.equal(read[name], weight) for name, weight in weights.items())


def test_a_family_that_is_not_installed(model: ModelFile, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", replace(model, family="astrology"))
    with pytest.raises(ModelError, match=r"m\.safetensors: there is no family 'astrology'"):
        read_model(tmp_path / "m.safetensors")


def test_a_config_of_another_version(model: ModelFile, tmp_path: Path) -> None:
    class LaterConfig(FlowConfig):
        telepathy: bool = True

    save_model(tmp_path / "m.safetensors", replace(model, config=LaterConfig()))
    with pytest.raises(ModelError, match="FlowConfig: telepathy: there is no such field; upgrade"):
        read_model(tmp_path / "m.safetensors")
