"""A small real family whose right answers are known: its network's weights are set by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cytotome.contract import DecodeParameters, Family, FamilyConfig
from cytotome.data.normalise import Normalisation
from cytotome.inference.model import Model, build_model
from cytotome.models.file import ModelFile
from cytotome.outputs import Dense
from cytotome.types import AnyArray, DenseMaps, FloatArray, Instances, OutputSpec


class GradientConfig(FamilyConfig):
    """``output_stride`` 2 gives maps at half the resolution."""

    output_stride: int = 1


class GradientParameters(DecodeParameters):
    threshold: float = 0.5


class GradientNet(nn.Module):
    """A 3x3 mean, twice, as brightness, and its central differences as a vector: commutes with all symmetries."""

    stride = 4

    def __init__(self, config: GradientConfig) -> None:
        super().__init__()
        self.output_stride = config.output_stride
        self.mean = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.BatchNorm2d(1), nn.ReLU(inplace=True))
        self.difference = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        with torch.no_grad():
            self.mean[0].weight.fill_(1 / 9)
            self.mean[1].running_mean.fill_(0.1)
            self.mean[1].running_var.fill_(4.0)
            self.mean[1].weight.fill_(2.0)
            self.mean[1].bias.fill_(0.1)
            self.difference.weight.zero_()
            self.difference.weight[0, 0, :, 1] = torch.tensor([-0.5, 0, 0.5])
            self.difference.weight[1, 0, 1, :] = torch.tensor([-0.5, 0, 0.5])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        mean = self.mean(images)
        mean = self.mean(mean) + 0 * images
        if self.output_stride > 1:
            mean = functional.avg_pool2d(mean, self.output_stride)
        return {"bright": mean, "slope": self.difference(mean)}


def predict(net: nn.Module, images: Tensor) -> Mapping[str, Tensor]:
    outputs: Mapping[str, Tensor] = net(images)
    return outputs


def decode(maps: DenseMaps, parameters: GradientParameters, class_names: Sequence[str]) -> Instances:
    """Connected components above the threshold, scored by their mean brightness."""
    bright = maps["bright"][0]
    count, labels = cv2.connectedComponents((bright > parameters.threshold).astype(np.uint8), connectivity=4)
    if count == 1:
        return Instances.empty(bright.shape, class_names)
    areas = np.bincount(labels.ravel(), minlength=count)
    scores = np.clip(np.bincount(labels.ravel(), bright.ravel(), count) / areas, 0, 1)
    cells = Instances.from_label_map(labels, scores=scores[1:], class_names=class_names)
    return cells.select((cells.areas >= parameters.min_area) & (cells.scores >= parameters.min_score))


def no_targets(instances: Instances, config: GradientConfig) -> dict[str, AnyArray]:
    raise TypeError("this family is never trained")


FAMILY = Family(
    name="gradient",
    summary="thresholded brightness",
    config=GradientConfig,
    parameters=GradientParameters,
    outputs=lambda config: Dense((OutputSpec("bright", 1), OutputSpec("slope", 2, "vector"))),
    build=GradientNet,
    stride=lambda net: net.stride,
    targets=no_targets,
    oracle=lambda targets, config: {name: np.asarray(target, np.float32) for name, target in targets.items()},
    stages=lambda config: (),
    predict=predict,
    decode=decode,
    ceiling=0.0,
)


@pytest.fixture(scope="session")
def gradient_family() -> Family:
    return FAMILY


@pytest.fixture(scope="session")
def make_model() -> object:
    """``make_model(precision="float32", **config)``."""

    def make(precision: str = "float32", **settings: object) -> Model:
        config = GradientConfig.model_validate(settings)
        weights = GradientNet(config).state_dict()
        normalisation = Normalisation(low=0, high=100)
        file = ModelFile("gradient", config, GradientParameters(), normalisation, weights)
        return build_model(file, family=FAMILY, device="cpu", precision=precision)

    return make


def draw_discs(shape: tuple[int, int], count: int, seed: int) -> tuple[FloatArray, AnyArray]:
    """Bright discs that lie apart, with soft edges, and their label map."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, np.float32)
    labels = np.zeros(shape, np.int32)
    rows, columns = np.indices(shape)
    label = 0
    for y, x in rng.uniform((10, 10), (shape[0] - 10, shape[1] - 10), (50 * count, 2)):
        distance = np.hypot(rows - y, columns - x)
        if label == count or labels[distance < 16].any():
            continue
        label += 1
        labels[distance < 6] = label
        image = np.maximum(image, np.clip(6.5 - distance, 0, 1).astype(np.float32))
    return image, labels


@pytest.fixture(scope="session")
def discs() -> object:
    """``discs(shape, count, seed)`` gives an image and its label map."""
    return draw_discs
