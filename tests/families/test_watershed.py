"""The watershed family: targets, losses against plain ones, stages, decoders, symmetries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from torch import Tensor, nn

from cytotome.data.normalise import Normalisation
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.families.watershed import FAMILY
from cytotome.families.watershed.config import WatershedConfig, WatershedParameters
from cytotome.families.watershed.decode import calibrate, features, segment
from cytotome.families.watershed.loss import (
    direction_loss,
    energy_loss,
    joint_loss,
    level_loss,
    semantic_loss,
    squared_angle,
)
from cytotome.families.watershed.net import build_network
from cytotome.inference.device import takes_bfloat16
from cytotome.inference.model import build_model
from cytotome.metrics.challenge import image_score
from cytotome.models.card import Card
from cytotome.models.file import ModelFile
from cytotome.ops.borders import contact_border, square
from cytotome.outputs.tta import with_symmetries
from cytotome.training.recipe import load_recipe
from cytotome.types import Image, Instances, Sample, SampleInfo

NAMES = ("round", "long")
CONFIG = WatershedConfig(class_names=NAMES, level_edges=(2.0, 3.0, 5.0))


def _cells() -> Instances:
    """Two that touch, one alone with a neck of two pixels."""
    labels = np.zeros((48, 64), np.int32)
    labels[4:20, 4:20], labels[4:20, 20:36] = 1, 2
    labels[28:44, 6:20], labels[35:37, 20:30], labels[28:44, 30:50] = 3, 3, 3
    return Instances.from_label_map(labels, classes=np.array([0, 0, 1], np.int32), class_names=NAMES)


def _maps(truth: Instances, config: WatershedConfig = CONFIG) -> dict[str, np.ndarray]:
    return dict(FAMILY.oracle(FAMILY.targets(truth, config), config))


def _decode(maps: dict[str, np.ndarray], **parameters: Any) -> Instances:
    return FAMILY.decode(maps, WatershedParameters(**parameters), NAMES)


def _batch(truth: Instances | None = None, config: WatershedConfig = CONFIG) -> dict[str, Tensor]:
    targets = FAMILY.targets(truth or _cells(), config)
    batch = {name: torch.from_numpy(value)[None] for name, value in targets.items()}
    return {**batch, "image": torch.rand(1, 1, 48, 64), "valid": torch.ones(1, 1, 48, 64)}


def test_walls_are_where_dilated_instances_overlap() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((60, 60), np.int32)
    for label in range(1, 12):
        y, x = rng.integers(0, 48, 2)
        labels[y : y + 12, x : x + 12] = label
    dilated = [ndimage.binary_dilation(labels == k, np.ones((5, 5))) for k in range(1, 12)]
    np.testing.assert_array_equal(contact_border(labels, square(2)), np.sum(dilated, axis=0) > 1)


def test_distances_over_the_union_do_not_know_where_cells_touch() -> None:
    own, union = (FAMILY.targets(_cells(), WatershedConfig(distance=kind)) for kind in ("instance", "union"))
    assert (own["energy"][0, 8:16, 19:21] == 1).all()
    assert (union["energy"][0, 10:14, 19:21] > 3).all()
    assert len(FAMILY.decode(_maps(_cells()), WatershedParameters(wall=0), NAMES)) == 4  # the neck is cut too
    found = FAMILY.decode(
        _maps(_cells(), CONFIG.model_copy(update={"distance": "union"})), WatershedParameters(wall=0), NAMES
    )
    assert (found.areas == 2 * 16 * 16).any()


@pytest.mark.parametrize("decoder", ["cut", "watershed"])
def test_both_decoders_give_cells_back_and_keep_necks(decoder: str) -> None:
    truth = _cells()
    found = _decode(_maps(truth), decoder=decoder)
    assert image_score(found, truth) == 1.0
    assert sorted(found.classes.tolist()) == [0, 0, 1]


def test_growth_follows_directions_and_overwrites_no_neighbour() -> None:
    """A ledge of one cell over the other goes to the cell that its directions lead to, though the other is nearer."""
    labels = np.zeros((40, 40), np.int32)
    labels[4:34, 4:14] = 1
    labels[4:10, 14:34] = 1
    labels[10:34, 14:34] = 2
    truth = Instances.from_label_map(labels, classes=np.zeros(2, np.int32), class_names=NAMES)
    found = _decode(_maps(truth), wall=0.0)
    assert image_score(found, truth) == 1.0
    assert found.areas.sum() == truth.areas.sum()


@pytest.mark.parametrize(
    ("parameters", "left"),
    [
        ({"min_area": 10_000}, 0),
        ({"max_area": 300}, 2),
        ({"energy": 50.0}, 0),
        ({"core_area": 400}, 1),
        ({"min_score": 0.9999}, 0),
        ({"by_class": {"round": {"min_area": 10_000}, "long": {"min_area": 10_000}}}, 0),
    ],
)
def test_parameters_drop_instances(parameters: dict[str, Any], left: int) -> None:
    assert len(_decode(_maps(_cells()), **parameters)) == left


class _Answers(nn.Module):
    """Says the truth: logits of the targets."""

    def __init__(self, batch: dict[str, Tensor], levels: int) -> None:
        super().__init__()
        self.batch = batch
        one_hot = torch.nn.functional.one_hot
        self.semantic_logits = 40.0 * one_hot(batch["semantic"][:, 0], 3).permute(0, 3, 1, 2)
        self.energy_logits = 40.0 * one_hot(batch["energy"][:, 0], levels).permute(0, 3, 1, 2)

    def semantic(self, images: Tensor) -> dict[str, Tensor]:
        return {"semantic": self.semantic_logits}

    def directions(self, images: Tensor, mask: Tensor) -> Tensor:
        return self.batch["direction"]

    def levels(self, direction: Tensor, mask: Tensor) -> Tensor:
        return self.energy_logits

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {
            "semantic": self.semantic_logits,
            "direction": self.batch["direction"],
            "energy": self.energy_logits,
        }


def test_the_truth_has_no_loss_in_any_stage() -> None:
    batch = _batch()
    net: Any = _Answers(batch, CONFIG.levels)
    assert semantic_loss(net, batch, CONFIG)["total"].item() == pytest.approx(0, abs=1e-5)
    assert direction_loss(net, batch)["total"].item() == pytest.approx(0, abs=1e-6)
    energy = energy_loss(net, batch, CONFIG)
    assert energy["total"].item() == pytest.approx(0, abs=1e-4)
    assert energy["accuracy"].item() == 1
    assert joint_loss(net, batch, CONFIG)["total"].item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("degrees", [5, 60, 135, 180])
def test_the_direction_loss_is_the_squared_angle(degrees: float) -> None:
    batch = _batch()
    turn = math.radians(degrees)
    y, x = batch["direction"][:, :1], batch["direction"][:, 1:]
    turned = torch.cat([math.cos(turn) * y - math.sin(turn) * x, math.sin(turn) * y + math.cos(turn) * x], dim=1)
    loss, angle = squared_angle(3 * turned, batch)
    assert loss.item() == pytest.approx(turn**2, rel=1e-3)
    assert angle.item() == pytest.approx(degrees, rel=1e-3)


def test_small_instances_weigh_more_by_the_root_of_their_area() -> None:
    batch = _batch()
    turned = batch["direction"].clone()
    first = torch.zeros(1, 1, 48, 64, dtype=torch.bool)
    first[:, :, 4:20, 4:20] = True
    turned = torch.where(first, -turned, turned)
    pointing = batch["direction"].square().sum(dim=1, keepdim=True) > 0.5
    areas = torch.full((1, 1, 48, 64), 256.0)
    areas[:, :, 28:] = 16 * 14 + 20 + 16 * 20
    weights = pointing / areas.sqrt()
    expected = math.pi**2 * weights[first].sum() / weights.sum()
    assert squared_angle(turned, batch)[0].item() == pytest.approx(expected.item(), rel=1e-3)


def test_the_direction_loss_has_a_gradient_at_zero_and_at_the_truth() -> None:
    batch = _batch()
    for start in (torch.zeros_like(batch["direction"]), batch["direction"].clone(), -batch["direction"]):
        start.requires_grad_()
        squared_angle(start, batch)[0].backward()
        assert torch.isfinite(start.grad).all()


def test_the_level_loss_is_two_sided() -> None:
    """Worked pixel by pixel: t log y + (1 - t) log (1 - y), each level with its weight."""
    config = WatershedConfig(level_edges=(2.0,), level_weights=(1.0, 3.0, 2.0))
    generator = torch.Generator().manual_seed(0)
    batch = _batch(config=config)
    logits = torch.randn(1, 3, 48, 64, generator=generator)
    probabilities = torch.softmax(logits, dim=1)
    total, weights = 0.0, 0.0
    for y in range(0, 48):
        for x in range(0, 64):
            true, weight = int(batch["energy"][0, 0, y, x]), float(batch["weight"][0, 0, y, x])
            for level, scale in enumerate((1.0, 3.0, 2.0)):
                p = float(probabilities[0, level, y, x])
                total -= weight * scale * math.log(p if level == true else 1 - p)
            weights += weight
    assert level_loss(logits, batch, config).item() == pytest.approx(total / weights, rel=1e-4)


def test_semantic_losses_are_weighed_as_the_team_did() -> None:
    batch = _batch()
    generator = torch.Generator().manual_seed(0)
    net: Any = _Answers(batch, CONFIG.levels)
    net.semantic_logits = torch.randn(1, 3, 48, 64, generator=generator)
    losses = semantic_loss(net, batch, CONFIG)
    probabilities = torch.softmax(net.semantic_logits, dim=1)[0]
    expected = 0.6 * torch.nn.functional.cross_entropy(net.semantic_logits, batch["semantic"][:, 0])
    for kind in (1, 2):
        true = (batch["semantic"][0, 0] == kind).float()
        shared, both = (probabilities[kind] * true).sum(), probabilities[kind].sum() + true.sum()
        expected = expected + 0.2 * (1 - 2 * shared / both)
    assert losses["total"].item() == pytest.approx(expected.item(), rel=2e-3)


@pytest.mark.parametrize("stage", ["semantic", "direction", "energy", "joint"])
def test_a_stage_changes_its_own_networks(stage: str) -> None:
    torch.manual_seed(0)
    net = build_network(CONFIG)
    chosen = next(one for one in FAMILY.stages(CONFIG) if one.name == stage)
    phase = chosen.phases[0]
    phase.loss(net, _batch())["total"].backward()
    for name in ("semantic", "direction", "energy"):
        own = {id(parameter) for parameter in getattr(net, name).parameters()}
        given = {id(parameter) for parameter in phase.parameters(net)}
        assert (own <= given) if stage in (name, "joint") else not (own & given)
        used = any(parameter.grad is not None for parameter in getattr(net, name).parameters())
        assert used == (stage in (name, "joint"))


def test_without_a_semantic_loss_the_joint_stage_leaves_that_network() -> None:
    config = WatershedConfig(semantic_weight=0)
    net = build_network(config)
    joint = next(stage for stage in FAMILY.stages(config) if stage.name == "joint")
    given = {id(parameter) for parameter in joint.phases[0].parameters(net)}
    assert not given & {id(parameter) for parameter in net.semantic.parameters()}


@pytest.mark.parametrize("network", ["compact", "vgg"])
def test_the_network_gives_unit_vectors_and_all_maps(network: str) -> None:
    config = WatershedConfig(
        class_names=NAMES,
        direction_network=network,
        energy_network=network,
        energy_blocks=(1, 1, 1),
        direction_blocks=(1, 2, 2, 2),
    )
    torch.manual_seed(1)
    file = ModelFile(
        "watershed", config, WatershedParameters(), Normalisation(), build_network(config).state_dict(), Card(name="x")
    )
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70), np.uint8)
    kinds = ("float32", "bfloat16") if takes_bfloat16(torch.device("cpu")) else ("float32",)
    maps = {kind: build_model(file, device="cpu", precision=kind).predict_maps(pixels) for kind in kinds}
    for kind in maps:
        assert {name: value.shape for name, value in maps[kind].items()} == {
            "semantic": (3, 50, 70),
            "direction": (2, 50, 70),
            "energy": (1, 50, 70),
            "cell_type": (2, 50, 70),
        }
        np.testing.assert_allclose(maps[kind]["semantic"].sum(axis=0), 1, atol=1e-2)
        assert (np.hypot(*maps[kind]["direction"]) <= 1.001).all()
        assert ((maps[kind]["energy"] >= 0) & (maps[kind]["energy"] <= config.levels - 1)).all()
    for kind in kinds:
        np.testing.assert_allclose(maps[kind]["semantic"], maps["float32"]["semantic"], atol=0.1)


class _Uphill(nn.Module):
    """An equivariant oracle: the vector of a pixel is the gradient of the blurred image there."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        smooth = images[0, 0].numpy()
        gradient = np.stack([ndimage.sobel(smooth, axis, mode="nearest") for axis in (0, 1)])
        vectors = torch.from_numpy(gradient / np.maximum(np.hypot(*gradient), 1e-6)).float()[None]
        energy = images[:, :1]
        return {"semantic": torch.cat([1 - energy, energy, 0 * energy], dim=1), "direction": vectors, "energy": energy}


def test_symmetries_turn_the_vectors_back() -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 40)), 3).astype(np.float32)
    images = torch.from_numpy((image - image.min()) / np.ptp(image))[None, None]
    oracle = _Uphill()
    specs = FAMILY.outputs(WatershedConfig()).specs
    plain, mean = oracle(images), with_symmetries(oracle, specs)(images)
    for name, values in plain.items():
        torch.testing.assert_close(mean[name], values, atol=1e-4, rtol=1e-4)


def test_calibration_tells_true_cells_from_false_ones() -> None:
    """False cells have a low probability; after calibration their scores are low."""
    pairs = []
    for seed in range(4):
        truth = SyntheticDataset(1, seed=seed, cell_types=("cort",), shape=(160, 160))[0].instances
        assert truth is not None
        true = np.arange(len(truth)) % 2 == 0
        maps = _maps(from_masks_of(truth))
        outside = _maps(from_masks_of(truth.select(~true)))["semantic"][0] < 0.5
        maps["semantic"] = np.where(outside, [[[0.4]], [[0.6]], [[0.0]]], maps["semantic"]).astype(np.float32)
        pairs.append((maps, Sample(SampleInfo(f"{seed}"), Image(np.zeros((160, 160), np.uint8)), truth.select(true))))
    fitted = calibrate(pairs, WatershedParameters(), NAMES)
    for maps, sample in pairs:
        found = FAMILY.decode(maps, fitted, NAMES)
        labels, count = segment(maps, fitted)
        assert features(labels, count, maps).shape == (count, len(fitted.score_weights))
        kept = found.select(found.scores > 0.5)
        assert image_score(kept, sample.instances) > 0.85


def from_masks_of(truth: Instances) -> Instances:
    """The same masks with the classes of this file."""
    return Instances(
        truth.shape, truth.runs, truth.offsets, truth.scores, np.zeros(len(truth), np.int32), truth.ids, NAMES
    )


def test_overlaps_go_to_the_smaller_cell() -> None:
    big, small = np.zeros((2, 48, 64), bool)
    big[4:44, 4:44] = True
    small[14:30, 30:54] = True
    targets = FAMILY.targets(Instances.from_masks([big, small], classes=np.array([0, 1]), class_names=NAMES), CONFIG)
    assert (targets["cell_type"][0][small] == 1).all()
    assert (targets["semantic"][0][small & big][:1] == 2).all()


def test_faulty_configs_are_told() -> None:
    with pytest.raises(ValidationError, match="one or more increasing distances above 1"):
        WatershedConfig(level_edges=(3.0, 2.0))
    with pytest.raises(ValidationError, match="level_weights must have a number for each of the 3 levels, got 2"):
        WatershedConfig(level_edges=(2.0,), level_weights=(1.0, 2.0))
    with pytest.raises(ValidationError, match="must be 0 or more"):
        WatershedConfig(level_edges=(2.0,), level_weights=(1.0, 2.0, -1.0))
    with pytest.raises(ValidationError, match="direction_blocks must have one number for each of the 2"):
        WatershedConfig(direction_widths=(8, 16), direction_blocks=(1,))


def test_the_original_recipe_has_the_settings_of_the_team() -> None:
    recipe = load_recipe("watershed-original")
    stages = recipe.schedule.stages
    assert recipe.schedule.optimiser == "adam"
    assert [stages[name].learning_rate for name in ("direction", "energy", "joint")] == [1e-5, 5e-4, 5e-6]
    config = recipe.family_config(NAMES).model_dump()
    assert config["encoder"] == "resnet152"
    assert len(config["level_edges"]) + 2 == 17
