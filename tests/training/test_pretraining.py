"""Pretraining and fine-tuning: two runs of one recipe, and layers that are named where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from cytotome.errors import ConfigError, TrainingError
from cytotome.models.file import read_model
from cytotome.training.pretraining import split_pretraining
from cytotome.training.recipe import load_recipe
from cytotome.training.train import train
from cytotome.training.warm_start import load_weights

SMALL = {"widths": [8, 8], "blocks": [0, 1], "input_scale": 1.0}


def recipe_of(**more: Any) -> dict[str, Any]:
    return {
        "name": "tuned",
        "family": "flow",
        "config": SMALL,
        "sampling": {"crop": [32, 32], "batch": 2, "workers": 0, "sources": {"first": {"weight": 3}}},
        "schedule": {"steps": 4, "learning_rate": 0.01, "precision": "float32"},
        "pretrain": {"data": ["first"], "steps": 6, "learning_rate": 0.02},
        **more,
    }


def test_a_run_starts_from_what_was_pretrained(disks: Any, quiet: Any, tmp_path: Path) -> None:
    path = train(recipe_of(), [disks(name="first"), disks(name="own")], output=tmp_path, console=quiet, device="cpu")
    first = read_model(tmp_path / "pretraining" / "tuned-pretrained.safetensors")
    assert list(first.card.trained_on) == ["first"]
    assert read_model(path).card.trained_on.keys() == {"own", "first"}
    said = (tmp_path / "said.txt").read_text()
    assert f"started from {len(first.weights)} of the network's {len(first.weights)} weights\n" in said
    again = train(recipe_of(), [disks(name="first"), disks(name="own")], output=tmp_path, console=quiet, device="cpu")
    assert read_model(again).weights.keys() == first.weights.keys()


def test_a_pretrained_encoder_is_learned_on_and_its_file_is_forgotten(disks: Any, quiet: Any, tmp_path: Path) -> None:
    torch.manual_seed(7)
    source = timm.create_model("test_resnet", in_chans=1).state_dict()
    torch.save(source, tmp_path / "weights.pth")
    encoded = {"network": "timm", "encoder": "test_resnet", "decoder": "compact", "widths": [8] * 5}
    config = {"input_scale": 1.0, **encoded, "pretrained": str(tmp_path / "weights.pth")}
    recipe = {name: value for name, value in recipe_of(config=config).items() if name != "pretrain"}
    recipe["schedule"] |= {"learning_rate": 1e-5, "ema": 0}
    file = read_model(train(recipe, disks(), output=tmp_path / "run", console=quiet, device="cpu"))
    assert not file.config.model_dump()["pretrained"]
    weight = file.weights["encoder.model.layer1.0.conv1.weight"]
    torch.testing.assert_close(weight, source["layer1.0.conv1.weight"], rtol=0, atol=1e-3)
    assert not torch.equal(weight, source["layer1.0.conv1.weight"])


def test_a_start_that_has_seen_the_fold_is_warned_of(disks: Any, quiet: Any, tmp_path: Path) -> None:
    plain = {name: value for name, value in recipe_of().items() if name != "pretrain"}
    said = tmp_path / "said.txt"
    first = train(plain, disks(9), output=tmp_path / "first", fold=0, console=quiet, device="cpu")
    same = train({**plain, "weights": str(first)}, disks(9), output=tmp_path / "same", fold=0, console=quiet)
    assert read_model(same).card.describe_training("disks") == "disks (all but fold 0)"
    assert "warning" not in said.read_text()
    other = train({**plain, "weights": str(first)}, disks(9), output=tmp_path / "other", fold=1, console=quiet)
    assert f"warning: weights: {first} (disks (all but fold 0)) may have seen images of fold 1 of disks" in (
        said.read_text()
    )
    card = read_model(other).card
    assert [card.may_have_seen("disks", fold) for fold in (0, 1, None)] == [True, True, True]


def test_the_first_run_has_its_own_schedule_and_data(disks: Any, tmp_path: Path) -> None:
    first, then, rest = split_pretraining(load_recipe(recipe_of()), [disks(name="first"), disks(name="own")], tmp_path)
    assert first is not None
    assert (first.recipe.schedule.steps, first.recipe.schedule.learning_rate) == (6, 0.02)
    assert first.recipe.sampling.sources["first"].weight == 3
    assert (then.schedule.steps, then.pretrain, then.sampling.sources) == (4, None, {})
    assert [dataset.name for dataset in rest] == ["own"]


def test_faults_of_pretraining_are_told(disks: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"pretrain\.data: first is not given, only own; give it by --data too"):
        split_pretraining(load_recipe(recipe_of()), disks(name="own"), tmp_path)
    with pytest.raises(TrainingError, match="names every dataset; give one more to fine-tune on"):
        split_pretraining(load_recipe(recipe_of()), disks(name="first"), tmp_path)
    with pytest.raises(ConfigError, match="weights and pretrain both say what to start from"):
        load_recipe(recipe_of(weights="neurons"))


class Net(nn.Module):
    def __init__(self, classes: int, *, extra: bool = False) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3)
        self.head = nn.Conv2d(4, classes, 1)
        if extra:
            self.more = nn.Linear(2, 2)


def test_every_layer_that_does_not_fit_is_named() -> None:
    torch.manual_seed(0)
    source, target = Net(3, extra=True), Net(5)
    said = load_weights(target, source.state_dict())
    assert torch.equal(target.body.weight, source.body.weight)
    assert said == (
        "started from 2 of the network's 4 weights; of another shape, so new: head (3x4x1x1 to 5x4x1x1), "
        "head (3 to 5); not in the network, so unused: more"
    )
    assert load_weights(Net(3, extra=True), Net(3).state_dict()).endswith("not in the model, so new: more")


def test_many_layers_are_named_by_their_part() -> None:
    net = nn.ModuleDict({"a": nn.Linear(2, 2), "deep": nn.Sequential(*(nn.Linear(2, 2) for _ in range(20)))})
    said = load_weights(net, nn.ModuleDict({"a": nn.Linear(2, 2)}).state_dict())
    assert said.endswith("not in the model, so new: deep (20 layers)")


def test_a_model_may_be_a_part_of_the_network() -> None:
    torch.manual_seed(0)
    source = Net(3)
    net = nn.ModuleDict({"head": nn.Linear(2, 2), "trunk": nn.ModuleDict({"net": Net(5)})})
    said = load_weights(net, source.state_dict())
    assert torch.equal(net.get_parameter("trunk.net.body.weight"), source.body.weight)
    assert said == (
        "started from 2 of the network's 6 weights, all in trunk.net; of another shape, so new: trunk.net.head "
        "(3x4x1x1 to 5x4x1x1), trunk.net.head (3 to 5); not in the model, so new: head"
    )


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(TrainingError, match="none of the model fits this network"):
        load_weights(Net(3), nn.Linear(2, 2).state_dict())
