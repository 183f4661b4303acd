"""The UNETR family: the ceiling of both decoders on real images, and large images in windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cytotome.data.normalise import Normalisation
from cytotome.datasets import open_dataset
from cytotome.families.unetr import FAMILY
from cytotome.families.unetr.config import ForegroundParameters, UnetrConfig
from cytotome.inference.model import build_model
from cytotome.metrics.challenge import image_score
from cytotome.models.card import Card
from cytotome.models.file import ModelFile
from cytotome.training.recipe import load_recipe


def ceiling(folder: Path, *, border: bool) -> float:
    dataset = open_dataset(folder / "sartorius")
    config = UnetrConfig(class_names=dataset.class_names, border=border)
    scores = []
    for index, info in enumerate(dataset.infos):
        truth = dataset.instances(index) if info.mask_quality == "full" else None
        if truth is not None:
            maps = FAMILY.oracle(FAMILY.targets(truth, config), config)
            scores.append(image_score(FAMILY.decode(maps, ForegroundParameters(), config.class_names), truth))
    return float(np.mean(scores))


def test_the_border_lifts_the_ceiling_on_real_images(real_data: Path) -> None:
    """Connected components of the foreground join every cell that touches another."""
    with_border, without = ceiling(real_data, border=True), ceiling(real_data, border=False)
    assert with_border > 0.95
    assert 0.4 < without < 0.6


def test_an_image_larger_than_the_window_is_seen_in_windows() -> None:
    torch.manual_seed(0)
    config = UnetrConfig(window=(96, 96), hidden_size=16, mlp_size=16, heads=2, feature_size=4)
    net = FAMILY.build(config)
    weights = net.state_dict()
    file = ModelFile("unetr", config, ForegroundParameters(), Normalisation(), weights, Card())
    sizes = []
    hook = torch.nn.Module.register_forward_pre_hook
    model = build_model(file, device="cpu", precision="float32")
    hook(model.runner.net, lambda _, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    maps = model.predict_maps(np.random.default_rng(0).integers(0, 255, (150, 200), np.uint8))
    assert set(sizes) == {(96, 96)}
    assert {name: values.shape for name, values in maps.items()} == {
        "foreground": (1, 150, 200),
        "border": (1, 150, 200),
    }


def test_the_models_network_gives_what_the_trained_one_does() -> None:
    """What inference does to a network to make it quicker changes nothing at any size."""
    torch.manual_seed(0)
    config = UnetrConfig(window=(96, 96), hidden_size=16, mlp_size=16, heads=2, feature_size=4)
    net = FAMILY.build(config).eval()
    file = ModelFile("unetr", config, ForegroundParameters(), Normalisation(), net.state_dict(), Card())
    model = build_model(file, device="cpu", precision="float32")
    for size in ((96, 96), (32, 64)):
        images = torch.randn(2, 1, *size)
        with torch.no_grad():
            for name, values in FAMILY.predict(net, images).items():
                torch.testing.assert_close(model.runner.run(images)[name], values, atol=1e-5, rtol=1e-4)


def test_the_recipe_is_sound() -> None:
    recipe = load_recipe("unetr")
    assert recipe.sampling.crop == recipe.family_config().window
