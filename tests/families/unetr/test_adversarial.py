"""UNETR against a discriminator: what each phase changes, the team's form and the sound one, pictures, old files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.errors import ConfigError
from cytotome.families import family_names, get_family
from cytotome.families.unetr import FAMILY
from cytotome.families.unetr.adversarial import discriminator_loss, generator_loss
from cytotome.families.unetr.config import Adversarial, UnetrConfig
from cytotome.inference.model import build_model, load_single_model
from cytotome.models.file import read_model, save_model
from cytotome.training.recipe import load_recipe
from cytotome.training.train import train
from cytotome.types import Dataset, Instances, Sample, SampleInfo

TINY = {"window": (96, 96), "hidden_size": 16, "mlp_size": 16, "heads": 2, "feature_size": 4}
SHRUNK = [f"config.{name}={json.dumps(value)}" for name, value in TINY.items()]
SHRUNK += ["sampling.crop=[96, 96]", "sampling.batch=2", "sampling.workers=0", "schedule.precision=float32"]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Halved(Dataset):
    """Synthetic images, the second half without their masks."""

    def __init__(self, count: int = 4) -> None:
        self.whole = SyntheticDataset(count, seed=1, shape=(128, 128))
        self.name, self.class_names = "halved", self.whole.class_names
        self.infos = tuple(
            SampleInfo(info.id, info.cell_type, mask_quality="full" if index < count // 2 else "none")
            for index, info in enumerate(self.whole.infos)
        )

    def read(self, index: int) -> Sample:
        sample: Sample = self.whole[index]
        labelled = self.infos[index].mask_quality == "full"
        return Sample(self.infos[index], sample.image, sample.instances if labelled else None)


def net_and_batch(**fields: Any) -> tuple[Any, dict[str, Tensor], UnetrConfig, Adversarial]:
    torch.manual_seed(0)
    settings = Adversarial(width=4, **fields)
    config = UnetrConfig.model_validate({**TINY, "adversarial": settings})
    labels = np.zeros((64, 64), np.int32)
    labels[5:25, 5:25], labels[25:45, 5:25] = 1, 2
    targets = FAMILY.targets(Instances.from_label_map(labels, class_names=("cell",)), config)
    batch = {name: torch.from_numpy(value)[None].repeat(4, 1, 1, 1) for name, value in targets.items()}
    labelled = torch.tensor([True, False, True, False])
    for name in batch:
        batch[name][~labelled] = 1 if name == "typed" else 0
    valid = labelled.float()[:, None, None, None].expand(4, 1, 64, 64).clone()
    return (
        FAMILY.build(config),
        {"image": torch.rand(4, 1, 64, 64), "valid": valid, "labelled": labelled, **batch},
        config,
        settings,
    )


def test_each_phase_changes_its_own_part() -> None:
    net, _, config, _ = net_and_batch()
    (stage,) = FAMILY.stages(config)
    parts = [{id(p) for p in phase.parameters(net)} for phase in stage.phases]
    assert stage.streams == ("labelled", "unlabelled")
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == {id(p) for p in net.parameters()}


def test_the_generator_learns_from_unlabelled_images_by_the_discriminator_alone() -> None:
    net, batch, config, settings = net_and_batch(supervised_weight=0)
    losses = generator_loss(net, batch, config, settings)
    assert set(losses) == {"adversarial", "total"}
    losses["total"].backward()
    assert sum(float(p.grad.abs().sum()) for p in net.generator.parameters() if p.grad is not None) > 0
    without = net_and_batch(weight=0)
    assert set(generator_loss(*without)) == {"supervised", "total"}


def test_the_discriminator_is_judged_by_what_it_tells_apart() -> None:
    """Perfect predictions on the labelled images themselves cannot be told from the truth."""
    net, batch, _, settings = net_and_batch(judged="all")
    labelled = {name: value[batch["labelled"]] for name, value in batch.items()}
    net.forward = lambda images: {name: 60 * labelled[name] - 30 for name in net.heads}  # logits of the truth
    losses = discriminator_loss(net, labelled, settings)
    assert losses["distance"].item() == pytest.approx(0, abs=1e-5)
    net.forward = lambda images: {name: 30 - 60 * labelled[name] for name in net.heads}
    assert abs(discriminator_loss(net, labelled, settings)["distance"].item()) > 1e-4


def test_what_is_not_valid_is_covered_in_predictions_too() -> None:
    net, batch, _, settings = net_and_batch()
    batch["valid"][:, :, :, :40] = 0
    seen = []
    net.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    discriminator_loss(net, batch, settings)
    assert len(seen) == 3  # real, made, between
    assert all(float(pairs[:, :, :, :40].abs().sum()) == 0 for pairs in seen)
    assert all(float(pairs[:, :, :, 40:].abs().sum()) > 0 for pairs in seen)


def run(recipe: str, output: Path, *overrides: str) -> tuple[Path, list[dict[str, str]]]:
    with (output / "said.txt").open("w") as said:
        console = Console(file=said)
        path = train(recipe, Halved(), output=output, device="cpu", console=console, overrides=[*SHRUNK, *overrides])
    with (output / "metrics.csv").open(newline="") as handle:
        return path, list(csv.DictReader(handle))


def test_the_teams_recipe_runs(tmp_path: Path) -> None:
    recipe = load_recipe("unetr-gan-original")
    config: Any = recipe.family_config()
    duel = config.adversarial
    assert (duel.optimiser, duel.learning_rate, duel.clip_limit, duel.generator_every) == (
        "rmsprop",
        5e-4,
        0.01,
        5,
    )
    assert (duel.supervised_weight, config.border, duel.lipschitz) == (0, False, "clip")
    assert recipe.decode_parameters().threshold == 0.3  # type: ignore[attr-defined]
    path, rows = run("unetr-gan-original", tmp_path, "schedule.steps=10", "schedule.pictures_every=0")
    weights = read_model(path).weights
    largest = max(float(w.abs().max()) for name, w in weights.items() if name.startswith("discriminator."))
    assert largest == pytest.approx(0.01)
    losses = {name for name in rows[-1] if name.startswith("gan/")}
    assert losses == {
        *("gan/generator/adversarial", "gan/generator/total"),
        *("gan/discriminator/distance", "gan/discriminator/total"),
    }


def test_the_sound_recipe_runs_and_draws_what_it_finds(tmp_path: Path) -> None:
    path, rows = run("unetr-gan", tmp_path, "schedule.steps=10", "schedule.pictures_every=5")
    assert {"gan/generator/supervised", "gan/generator/adversarial", "gan/discriminator/penalty"} <= set(rows[-1])
    pictures = sorted(file.name for file in (tmp_path / "pictures").glob("*.png"))
    assert pictures == [f"{step:07d}-{kind}.png" for step in (5, 10) for kind in ("labelled", "unlabelled")]
    drawn = imagecodecs.imread(tmp_path / "pictures" / pictures[0])
    maps = len(load_single_model(path, device="cpu").file.config.class_names) + 1
    assert drawn.shape == (128, 128 * (1 + maps), 3)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(events.Tags()["images"]) == ["pictures/labelled", "pictures/unlabelled"]
    assert [event.step for event in events.Images("pictures/unlabelled")] == [5, 10]


def test_config_names_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="both 0; the generator would learn nothing"):
        Adversarial(supervised_weight=0, weight=0)
    with pytest.raises(ValidationError, match="levels must be a number if pooling is mean"):
        Adversarial(levels=None)


OLD_MODEL = Path(__file__).with_name("unetr_gan.safetensors")
"""Written by version 0.1.0, when the method was a family named unetr_gan."""


def test_a_model_file_of_the_former_family_gives_the_same(tmp_path: Path) -> None:
    file = read_model(OLD_MODEL)
    assert file.family == "unetr"
    assert file.config.adversarial == Adversarial(width=2, levels=2, judged="unlabelled", learning_rate=5e-4)  # type: ignore[attr-defined]
    assert file.digest == "d6c469af1414aac390a0ddbb062fd39e30ae71fc23fed9f7928cb75046d78f72"
    plain = UnetrConfig.model_validate({**file.config.model_dump(), "adversarial": None})
    prefix = "generator."
    weights = {name.removeprefix(prefix): w for name, w in file.weights.items() if name.startswith(prefix)}
    generator = build_model(replace(file, config=plain, weights=weights), device="cpu", precision="float32")
    pixels = np.random.default_rng(0).integers(0, 255, (100, 120), np.uint8)
    found = load_single_model(OLD_MODEL, device="cpu", precision="float32").predict_maps(pixels)
    assert set(found) == {"foreground", "border"}
    for name, values in generator.predict_maps(pixels).items():
        np.testing.assert_array_equal(found[name], values)
    save_model(tmp_path / "again.safetensors", file)
    again = read_model(tmp_path / "again.safetensors")
    assert (again.family, again.config.model_dump()) == ("unetr", file.config.model_dump())


def test_a_recipe_of_the_former_family_is_the_same_recipe() -> None:
    old: dict[str, Any] = {
        "name": "mine",
        "family": "unetr_gan",
        "config": {"window": [96, 96], "discriminator_width": 8, "adversarial_weight": 0.5, "judged": "unlabelled"},
        "sampling": {"batch": 4},
    }
    new = {
        **old,
        "family": "unetr",
        "config": {"window": [96, 96], "adversarial": {"width": 8, "weight": 0.5, "judged": "unlabelled"}},
    }
    former, today = (
        load_recipe(old, ["config.clip_limit=0.02"]),
        load_recipe(new, ["config.adversarial.clip_limit=0.02"]),
    )
    assert former.get_family().name == today.get_family().name == "unetr"
    assert former.family_config().model_dump() == today.family_config().model_dump()
    (stage,) = former.get_family().stages(former.family_config())
    assert (stage.name, stage.streams) == ("gan", ("labelled", "unlabelled"))
    assert load_recipe({"name": "bare", "family": "unetr_gan"}).family_config().adversarial == Adversarial()  # type: ignore[attr-defined]
    with pytest.raises(
        ConfigError, match=r"config\.adversarial\.clip_limit: .*greater than 0, got -1.*config\.depth: there is"
    ):
        load_recipe(old, ["config.clip_limit=-1", "config.depth=3"])


def test_the_former_family_is_not_listed() -> None:
    assert "unetr_gan" not in family_names()
    assert get_family("unetr_gan").name == "unetr"
