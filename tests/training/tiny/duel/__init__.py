"""A small family with two stages, of which one has two phases and an unlabelled stream: a segmenter and its critic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from cytotome.contract import Batch, DecodeParameters, Family, FamilyConfig, Phase, Stage
from cytotome.outputs import Dense
from cytotome.types import AnyArray, DenseMaps, Instances, OutputSpec, Sample


class DuelConfig(FamilyConfig):
    """``explode_at`` makes the loss infinite where the image is brighter; for tests of that."""

    width: int = 8
    explode: bool = False


class DuelParameters(DecodeParameters):
    """``threshold`` of the cell probability."""

    threshold: float = 0.5


class DuelNet(nn.Module):
    """Cell logits of a few convolutions; a critic that judges maps."""

    stride = 1

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.segmenter = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Conv2d(width, 1, 3, padding=1),
        )
        self.critic = nn.Sequential(nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.segmenter(images)


def _entropy(net: nn.Module, batch: Batch) -> Tensor:
    error = functional.binary_cross_entropy_with_logits(net(batch["image"]).float(), batch["cell"], reduction="none")
    return (error * batch["valid"]).sum() / batch["valid"].sum().clamp(min=1)


def _warm(config: DuelConfig):
    def loss(net: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        total = _entropy(net, batch)
        return {"total": total / 0 if config.explode else total}

    return loss


def _judge(net: nn.Module, maps: Tensor) -> Tensor:
    return net.critic(maps).mean(dim=(1, 2, 3))


def _segment(net: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    if batch["labelled"].all():
        raise ValueError("the stage must see unlabelled images")
    entropy = _entropy(net, batch)
    doubt = functional.softplus(-_judge(net, torch.sigmoid(net(batch["image"])))).mean()
    return {"entropy": entropy, "total": entropy + 0.01 * doubt}


def _criticise(net: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    with torch.no_grad():
        made = torch.sigmoid(net(batch["image"]))
    true = batch["cell"][batch["labelled"]]
    return {"total": functional.softplus(_judge(net, made)).mean() + functional.softplus(-_judge(net, true)).mean()}


def _stages(config: DuelConfig) -> tuple[Stage, ...]:
    def segmenter(net: nn.Module):
        return net.segmenter.parameters()

    def critic(net: nn.Module):
        return net.critic.parameters()

    return (
        Stage("warm", (Phase("segment", segmenter, _warm(config)),), share=3.0),
        Stage(
            "duel",
            (Phase("segment", segmenter, _segment), Phase("criticise", critic, _criticise, every=2)),
            share=1.0,
            streams=("labelled", "unlabelled"),
        ),
    )


def _targets(instances: Instances, config: DuelConfig) -> dict[str, AnyArray]:
    return {"cell": (instances.to_label_map() > 0).astype(np.float32)[None]}


def _predict(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    return {"cell": torch.sigmoid(net(images))}


def _decode(maps: DenseMaps, parameters: DuelParameters, class_names: Sequence[str]) -> Instances:
    labels, _ = ndimage.label(maps["cell"][0] > parameters.threshold)
    found = Instances.from_label_map(labels.astype(np.int32), class_names=class_names)
    return found.select(found.areas >= parameters.min_area)


def _calibrate(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: DuelParameters, class_names: Sequence[str]
) -> DuelParameters:
    """The mean probability half way between cells and background."""
    inside, outside = [], []
    for maps, sample in pairs:
        assert sample.instances is not None
        mask = sample.instances.to_label_map() > 0
        inside.append(maps["cell"][0][mask])
        outside.append(maps["cell"][0][~mask])
    middle = (np.concatenate(inside).mean() + np.concatenate(outside).mean()) / 2
    return parameters.model_copy(update={"threshold": float(middle)})


FAMILY = Family(
    name="duel",
    summary="a tiny segmenter and its critic",
    config=DuelConfig,
    parameters=DuelParameters,
    outputs=lambda config: Dense((OutputSpec("cell", 1),)),
    stride=lambda net: net.stride,
    build=lambda config: DuelNet(config.channels, config.width),
    targets=_targets,
    oracle=lambda targets, config: {"cell": targets["cell"]},
    stages=_stages,
    predict=_predict,
    decode=_decode,
    ceiling=0.9,
    calibrate=_calibrate,
)
