"""The flow family: its losses, its decoder's parameters and its scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cytotome.datasets import open_dataset
from cytotome.families.flow import FAMILY
from cytotome.families.flow.config import FlowConfig, FlowParameters
from cytotome.families.flow.decode import fit_scores
from cytotome.families.flow.loss import flow_loss
from cytotome.metrics.challenge import image_score
from cytotome.types import DenseMaps, Image, Instances, Sample, SampleInfo

NAMES = ("round", "long")
CONFIG = FlowConfig(class_names=NAMES)


def _two_cells(first: int = 0, second: int = 1) -> Instances:
    labels = np.zeros((48, 64), np.int32)
    labels[5:25, 5:25] = 1
    labels[30:40, 20:60] = 2
    return Instances.from_label_map(labels, classes=np.array([first, second], np.int32), class_names=NAMES)


def _maps(instances: Instances) -> dict[str, np.ndarray]:
    return dict(FAMILY.oracle(FAMILY.targets(instances, CONFIG), CONFIG))


def _decode(maps: DenseMaps, **parameters: object) -> Instances:
    return FAMILY.decode(maps, FlowParameters.model_validate(parameters), NAMES)


def test_classes_and_masks_come_back() -> None:
    truth = _two_cells()
    found = _decode(_maps(truth))
    assert (found.runs == truth.runs).all()
    assert found.classes.tolist() == [0, 1]
    assert found.class_names == NAMES


def test_smaller_instance_gets_shared_pixels() -> None:
    big, small = np.zeros((2, 30, 30), bool)
    big[2:28, 2:28] = True
    small[10:16, 10:16] = True
    targets = FAMILY.targets(Instances.from_masks([big, small], classes=np.array([0, 1]), class_names=NAMES), CONFIG)
    assert (targets["cell_type"][0][small] == 1).all()
    assert (targets["cell_type"][0][big & ~small] == 0).all()


@pytest.mark.parametrize(
    ("parameters", "left"),
    [
        ({"min_area": 401}, 0),
        ({"min_area": 400}, 2),
        ({"max_area": 399}, 0),
        ({"min_score": 0.999}, 0),
        ({"cell_threshold": 1.0}, 0),
    ],
)
def test_limits_drop_instances(parameters: dict[str, float], left: int) -> None:
    assert len(_decode(_maps(_two_cells()), **parameters)) == left


def test_parameters_follow_the_cell_type_of_the_image() -> None:
    by_class = {"round": {"min_area": 1000}}
    assert len(_decode(_maps(_two_cells(0, 0)), by_class=by_class)) == 0
    assert len(_decode(_maps(_two_cells(1, 1)), by_class=by_class)) == 2


def test_wrong_flow_lowers_the_score_and_is_dropped() -> None:
    maps = _maps(_two_cells())
    noise = np.random.default_rng(0).normal(0, 0.6, maps["flow"].shape).astype(np.float32)
    maps["flow"] = np.where(np.arange(48)[:, None] < 27, maps["flow"], maps["flow"] + noise).astype(np.float32)
    found = _decode(maps, max_flow_error=10)
    rows = found.boxes[:, 0]
    assert found.scores[rows < 27].min() > found.scores[rows >= 27].max()
    assert (_decode(maps, max_flow_error=0.3).boxes[:, 2] <= 27).all()


def test_fitted_scores_are_the_share_of_hits() -> None:
    """Of instances with certain cells and uncertain ones that are wrong half of the time, scores tell which."""
    rng = np.random.default_rng(1)
    pairs = []
    for _ in range(12):
        labels = np.zeros((160, 160), np.int32)
        certain = np.zeros((160, 160), np.float32)
        true = []
        for number in range(16):
            y, x = 40 * (number // 4) + 8, 40 * (number % 4) + 8
            labels[y : y + 20, x : x + 20] = number + 1
            sure = number % 2 == 0
            certain[y : y + 20, x : x + 20] = 0.98 if sure else 0.6
            if sure or rng.random() < 0.5:
                true.append(number)
        every = Instances.from_label_map(labels, classes=np.zeros(16, np.int32), class_names=NAMES)
        maps = _maps(every)
        maps["cell"] = certain[None]
        sample = Sample(SampleInfo("a"), Image(np.zeros((160, 160), np.uint8)), every.select(true))
        pairs.append((maps, sample))
    fitted = fit_scores(pairs, FlowParameters(), NAMES)
    found = FAMILY.decode(pairs[0][0], fitted, NAMES)
    rows = found.boxes[:, 1] // 40 % 2
    assert found.scores[rows == 0].mean() > 0.85
    assert found.scores[rows == 1].mean() == pytest.approx(0.5, abs=0.12)


def test_scores_stay_where_nothing_can_be_fitted() -> None:
    truth = _two_cells()
    sample = Sample(SampleInfo("a"), Image(np.zeros((48, 64), np.uint8)), truth)
    parameters = FlowParameters()
    assert fit_scores([(_maps(truth), sample)], parameters, NAMES) == parameters


def _batch(valid: float = 1.0) -> dict[str, torch.Tensor]:
    targets = {key: torch.from_numpy(value)[None] for key, value in FAMILY.targets(_two_cells(), CONFIG).items()}
    return {"image": torch.rand(1, 1, 48, 64), "valid": torch.full((1, 1, 48, 64), valid), **targets}


class _Oracle(torch.nn.Module):
    """Answers with the logits of the truth, off by ``error`` in the flow."""

    def __init__(self, batch: dict[str, torch.Tensor], error: float = 0.0) -> None:
        super().__init__()
        classes = torch.arange(2)[None, :, None, None]
        types = torch.nn.functional.max_pool2d(batch["cell_type"].float(), 8)
        self.outputs = {
            "flow": batch["flow"] + error,
            "cell": 40 * batch["cell"] - 20,
            "cell_type": 40.0 * (types == classes),
        }

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.outputs


def test_loss_of_the_truth_is_zero_and_of_an_error_its_square() -> None:
    batch = _batch()
    assert flow_loss(_Oracle(batch), batch, CONFIG)["total"].item() == pytest.approx(0, abs=1e-4)
    off = flow_loss(_Oracle(batch, 0.1), batch, CONFIG)
    assert off["flow"].item() == pytest.approx(2 * 0.1**2, rel=1e-4)
    assert off["total"].item() == pytest.approx(CONFIG.flow_weight * 2 * 0.1**2, rel=1e-2)


def test_invalid_pixels_add_nothing() -> None:
    batch = _batch(0.0)
    wrong = _Oracle(batch, 5.0)
    wrong.outputs = {key: -value for key, value in wrong.outputs.items()}
    assert flow_loss(wrong, batch, CONFIG)["total"].item() == 0


def test_config_names_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match=r"input_scale[\s\S]*network"):
        FlowConfig(network="transformer", input_scale=0)  # type: ignore[arg-type]


def test_ceiling_on_real_images(real_data: Path) -> None:
    """Label maps give 0.980 on these images, a round trip of Cellpose's flows 0.972."""
    dataset = open_dataset(real_data / "sartorius")
    config = FlowConfig(class_names=dataset.class_names)
    parameters = FlowParameters(min_area=30, by_class={"astro": {"min_area": 100}})
    scores = []
    for index, info in enumerate(dataset.infos):
        if info.mask_quality == "full":
            truth = dataset.instances(index)
            maps = FAMILY.oracle(FAMILY.targets(truth, config), config)
            scores.append(image_score(FAMILY.decode(maps, parameters, config.class_names), truth))
    assert scores
    assert np.mean(scores) > 0.968


def test_targets_keep_ids_out() -> None:
    """Ids may be large and have gaps; targets depend on the masks alone."""
    truth = _two_cells()
    renamed = replace(truth, ids=np.array([70_000, 3], np.int32))
    for key, value in FAMILY.targets(truth, CONFIG).items():
        assert (FAMILY.targets(renamed, CONFIG)[key] == value).all()
