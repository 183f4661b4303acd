"""What every family must hold; a new family is found and held to it by being there."""

from __future__ import annotations

import csv
import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from cytotome.contract import Family
from cytotome.data.augment import Augmentation
from cytotome.data.normalise import Normalisation
from cytotome.data.sampling import Crops, CropSettings, Source, crop_loader
from cytotome.datasets import open_dataset
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.families import FORMER_NAMES, family_names, get_family
from cytotome.inference.model import build_model, load_model
from cytotome.inference.tiling import with_tiles
from cytotome.inference.tta import with_symmetries
from cytotome.metrics.challenge import image_score, mean_score
from cytotome.models.card import Card
from cytotome.models.file import ModelFile, read_model, save_model
from cytotome.ops.labels import from_label_map, from_layers, to_layers
from cytotome.ops.runs import empty_instances
from cytotome.training.train import train
from cytotome.types import Dataset, DenseMaps, Image, Instances, Sample, SampleInfo

CLASS_NAMES = ("cort", "astro", "shsy5y")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The networks see small images, on which threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=(*family_names(), *FORMER_NAMES), scope="module")
def family(request: pytest.FixtureRequest) -> Family:
    """Each family, and what reads the files of a former one."""
    return replace(get_family(request.param), name=request.param)


@pytest.fixture(scope="module")
def dense(family: Family) -> Family:
    """A family that predicts dense maps."""
    if not family.outputs(family.config(class_names=CLASS_NAMES)):
        pytest.skip(f"{family.name} predicts instances without maps")
    return family


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """One synthetic image of each cell type."""
    return list(SyntheticDataset(3, seed=5, shape=(256, 320)))


def oracle_of(family: Family, instances: Instances) -> DenseMaps:
    config = family.config(class_names=CLASS_NAMES)
    return family.oracle(family.targets(instances, config), config)


def decode(family: Family, maps: DenseMaps) -> Instances:
    return family.decode(maps, family.parameters(), CLASS_NAMES)


def ceiling_on(family: Family, truths: list[Instances]) -> float:
    return mean_score([decode(family, oracle_of(family, truth)) for truth in truths], truths)


def truth_of(sample: Sample) -> Instances:
    assert sample.instances is not None
    return sample.instances


def test_oracle_maps_are_those_that_the_family_declares(dense: Family, samples: list[Sample]) -> None:
    specs = dense.outputs(dense.config(class_names=CLASS_NAMES))
    maps = oracle_of(dense, truth_of(samples[0]))
    assert {name: (values.shape, values.dtype) for name, values in maps.items()} == {
        spec.name: ((spec.channels, 256, 320), np.float32) for spec in specs
    }


def test_synthetic_truth_comes_back_within_the_ceiling(dense: Family, samples: list[Sample]) -> None:
    assert ceiling_on(dense, [truth_of(sample) for sample in samples]) >= dense.ceiling


def test_real_truth_comes_back_within_the_ceiling(dense: Family, real_data: Path) -> None:
    dataset = open_dataset(real_data / "sartorius")
    full = [index for index, info in enumerate(dataset.infos) if info.mask_quality == "full"]
    truths = [truth for index in full if (truth := dataset.instances(index)) is not None]
    assert truths
    assert ceiling_on(dense, truths) >= dense.ceiling


def test_cell_types_come_back(dense: Family, samples: list[Sample]) -> None:
    if "cell_type" not in {spec.name for spec in dense.outputs(dense.config(class_names=CLASS_NAMES))}:
        pytest.skip(f"{dense.name} does not predict cell types")
    for sample in samples:
        expected = CLASS_NAMES.index(sample.info.cell_type)
        found = decode(dense, oracle_of(dense, truth_of(sample)))
        assert found.class_names == CLASS_NAMES
        assert (found.classes == expected).mean() > 0.99


def test_an_empty_image_gives_no_instance(dense: Family) -> None:
    found = decode(dense, oracle_of(dense, empty_instances((64, 96), CLASS_NAMES)))
    assert len(found) == 0
    assert found.shape == (64, 96)


@pytest.mark.parametrize("shape", [(33, 257), (101, 37)])
def test_odd_sizes_come_back(dense: Family, shape: tuple[int, int]) -> None:
    truth = truth_of(SyntheticDataset(1, seed=2, shape=(max(shape), max(shape)))[0])
    layers = to_layers(truth)[:, : shape[0], : shape[1]]
    cut = from_layers(np.ascontiguousarray(layers), truth)
    cut = cut.select(cut.areas >= 30)
    found = decode(dense, oracle_of(dense, cut))
    assert found.shape == shape
    assert image_score(found, cut) > 0.75


def test_tiled_equals_whole(dense: Family, samples: list[Sample]) -> None:
    specs = dense.outputs(dense.config(class_names=CLASS_NAMES))
    whole = oracle_of(dense, truth_of(samples[2]))
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values))[None] for name, values in whole.items()}
    seen = []

    def look_up(places: torch.Tensor) -> dict[str, torch.Tensor]:
        """The part of the oracle's maps that an image of row and column numbers asks for."""
        rows, columns = places[0, 0, :, 0].long(), places[0, 1, 0].long()
        seen.append(places.shape)
        return {
            name: values[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] for name, values in tensors.items()
        }

    places = torch.stack(torch.meshgrid(torch.arange(256.0), torch.arange(320.0), indexing="ij"))[None]
    with torch.inference_mode():
        tiled = with_tiles(look_up, specs, tile=128, stride=32)(places)
    assert len(seen) > 4
    for name, values in tensors.items():
        torch.testing.assert_close(tiled[name].float(), values, atol=1e-5, rtol=1e-5)
    found = decode(dense, {name: values[0].numpy() for name, values in tiled.items()})
    assert image_score(found, decode(dense, whole)) > 0.999


def test_the_mean_over_symmetries_equals_plain(dense: Family, samples: list[Sample]) -> None:
    """The image that is turned is the truth itself, so the oracle sees every symmetry as a network would."""
    specs = dense.outputs(dense.config(class_names=CLASS_NAMES))
    truth = truth_of(samples[0])

    def predict(layers: torch.Tensor) -> dict[str, torch.Tensor]:
        turned = from_layers(layers[0].contiguous().numpy().astype(np.int32), truth)
        maps = oracle_of(dense, turned)
        return {name: torch.from_numpy(np.ascontiguousarray(values))[None] for name, values in maps.items()}

    layers = torch.from_numpy(to_layers(truth).astype(np.float32))[None]
    plain = oracle_of(dense, truth)
    mean = {name: values[0].numpy() for name, values in with_symmetries(predict, specs)(layers).items()}
    for name, values in plain.items():
        assert np.abs(mean[name] - values).mean() < 0.02 * max(1.0, float(np.abs(values).max())), name
    score = image_score(decode(dense, mean), truth)
    assert score >= image_score(decode(dense, plain), truth) - 0.02


def test_config_and_model_file_come_back(family: Family, tmp_path: Path) -> None:
    config = family.config(class_names=CLASS_NAMES)
    parameters = family.parameters(min_area=21, by_class={"astro": {"min_score": 0.25}})
    torch.manual_seed(3)
    net = family.build(config)
    file = ModelFile(family.name, config, parameters, Normalisation(low=2.0), net.state_dict(), Card(name="x"))
    save_model(tmp_path / "x.safetensors", file)
    back = read_model(tmp_path / "x.safetensors")
    assert (back.config, back.parameters, back.normalisation) == (config, parameters, file.normalisation)
    assert back.weights.keys() == net.state_dict().keys()
    pixels = np.random.default_rng(0).integers(0, 255, (61, 83), np.uint8)
    models = [build_model(one, device="cpu", precision="float32") for one in (file, back)]
    found = [model.segment(pixels) for model in models]
    np.testing.assert_array_equal(found[0].runs, found[1].runs)
    if family.outputs(config):
        for name, values in models[0].predict_maps(pixels).items():
            assert values.shape[1:] == (61, 83)
            np.testing.assert_array_equal(values, models[1].predict_maps(pixels)[name])


def test_decode_parameters_are_checked_whole(family: Family) -> None:
    weights = len(family.parameters().model_dump()["score_weights"])
    with pytest.raises(ValidationError, match=f"must be {weights} numbers, one for each feature, got 2"):
        family.parameters(score_weights=(1, 2))
    for name, value in (("min_score", 5.0), ("min_score", math.nan), ("min_area", -3), ("nonsense", 1.0)):
        for values in ({name: value}, {"by_class": {"cort": {"min_area": 9}, "astro": {name: value}}}):
            with pytest.raises(ValidationError) as caught:
                family.parameters().changed(**values)
            place = (name,) if name in values else ("by_class", "astro", name)
            assert [fault["loc"] for fault in caught.value.errors()] == [place]
    kept = family.parameters(by_class={"cort": {"min_area": 9.0, "min_score": 0.25}})
    assert (kept.of_type("cort").min_area, kept.of_type("cort").min_score) == (9, 0.25)
    assert kept.of_type("astro") == kept


def test_crops_can_be_made_in_other_processes(family: Family) -> None:
    """Where processes are spawned, what makes the crops is sent to them."""
    config = family.config(class_names=CLASS_NAMES)
    settings = CropSettings(size=(64, 64), batch=1)
    crops = Crops([Source(SyntheticDataset(1, shape=(96, 96)))], family.targets, config, settings=settings)
    sent = pickle.loads(pickle.dumps(crops))[0]
    for name, value in crops[0].items():
        assert torch.equal(sent[name], value), name


class Ignoring(Dataset):
    """Three cells, and one more in a quarter of the image that is to be ignored, or is not; also without labels."""

    def __init__(self, *, extra: bool, ignore: bool) -> None:
        self.name, self.class_names = "ignoring", CLASS_NAMES
        self.infos = (SampleInfo("some", "cort"), SampleInfo("bare", "cort", mask_quality="none"))
        labels = np.zeros((128, 128), np.int32)
        for number, (y, x) in enumerate([(10, 10), (10, 34), (70, 12), *([(84, 84)] if extra else [])], start=1):
            labels[y : y + 20, x : x + 24] = number
        classes = np.zeros(labels.max(), np.int32)
        self.truth = from_label_map(labels, classes=classes, class_names=CLASS_NAMES)
        self.image = Image(np.random.default_rng(0).integers(0, 255, (128, 128), np.uint8))
        self.ignore = np.zeros((128, 128), bool)
        self.ignore[64:, 64:] = ignore

    def read(self, index: int) -> Sample:
        return Sample(self.infos[index], self.image, None if index else self.truth, self.ignore)


def all_losses(family: Family, dataset: Dataset) -> dict[str, float]:
    """The losses of every phase of an untrained network on one batch."""
    config = family.config(class_names=CLASS_NAMES, input_scale=1.0)
    torch.manual_seed(1)
    net = family.build(config).train()
    found = {}
    for stage in family.stages(config):
        settings = CropSettings(size=(128, 128), batch=2, streams=stage.streams, cell_bias=0)
        plain = Augmentation.none()
        crops = Crops([Source(dataset)], family.targets, config, augmentation=plain, settings=settings)
        batch = next(iter(crop_loader(crops, workers=0)))
        for phase in stage.phases:
            torch.manual_seed(2)
            losses = phase.loss(net, batch)
            found |= {f"{stage.name}/{phase.name}/{name}": float(value.detach()) for name, value in losses.items()}
    return found


def test_ignored_areas_add_nothing_to_any_loss(family: Family) -> None:
    """A cell more or less in an ignored area is the same to every loss; elsewhere it is not."""
    with_cell, without = (all_losses(family, Ignoring(extra=extra, ignore=True)) for extra in (True, False))
    assert with_cell == pytest.approx(without, rel=1e-5, abs=1e-6)
    with_cell, without = (all_losses(family, Ignoring(extra=extra, ignore=False)) for extra in (True, False))
    assert with_cell != pytest.approx(without, rel=1e-5, abs=1e-6)


class OneCrop(Dataset):
    """A crop of one sample, once with its masks and once without."""

    def __init__(self, sample: Sample, y: int, x: int, size: int) -> None:
        self.name, self.class_names = "one", CLASS_NAMES
        kind = sample.info.cell_type
        self.infos = (SampleInfo("one", kind), SampleInfo("bare", kind, mask_quality="none"))
        layers = to_layers(truth_of(sample))[:, y : y + size, x : x + size]
        self.truth = from_layers(np.ascontiguousarray(layers), truth_of(sample))
        self.image = Image(np.ascontiguousarray(sample.image.pixels[y : y + size, x : x + size]))

    def read(self, index: int) -> Sample:
        return Sample(self.infos[index], self.image, self.truth if index == 0 else None)


SLOW_LEARNERS = ("unetr", "unetr_gan", "watershed")
"""Families that need more steps to be far from both bounds below, whatever the processor and the seed."""


def overfitted_score(family: Family, crop: OneCrop, output: Path, steps: int = 60) -> tuple[float, list[float]]:
    """The score on the only crop of a short training, and the losses on the way."""
    size = crop.image.shape[0]
    steps = max(steps, 120 if family.name in SLOW_LEARNERS else 60)
    recipe: dict[str, Any] = {
        "name": "overfitted",
        "family": family.name,
        "config": {"input_scale": 1.0},
        "sampling": {"crop": [size, size], "batch": 2, "workers": 0, "cell_bias": 0},
        "augmentation": Augmentation.none().model_dump(),
        "schedule": {"steps": steps, "learning_rate": 3e-3, "ema": 0.8, "weight_decay": 0, "precision": "float32"},
    }
    with (output / "said.txt").open("w") as said:
        path = train(recipe, crop, output=output, device="cpu", console=Console(file=said))
    with (output / "metrics.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    column = next(name for name in rows[-1] if name.endswith("/total") and rows[-1][name])
    losses = [float(row[column]) for row in rows if row[column]]
    found = load_model(path, device="cpu", precision="float32").segment(crop.image)
    return image_score(found, crop.truth), losses


def test_one_synthetic_crop_can_be_learned(family: Family, tmp_path: Path) -> None:
    crop = OneCrop(SyntheticDataset(1, seed=4, cell_types=("shsy5y",), shape=(256, 256))[0], 96, 96, 64)
    assert len(crop.truth) >= 2
    score, losses = overfitted_score(family, crop, tmp_path)
    assert losses[-1] < 0.5 * losses[0]
    assert score > 0.5


@pytest.mark.slow
def test_one_real_crop_can_be_learned(family: Family, tmp_path: Path, real_data: Path) -> None:
    dataset = open_dataset(real_data / "sartorius")
    index = next(i for i, info in enumerate(dataset.infos) if info.cell_type == "cort" and info.mask_quality == "full")
    sample: Sample = dataset[index]
    centres = truth_of(sample).boxes.reshape(-1, 2, 2).mean(axis=1)
    corners = np.clip(centres - 48, 0, np.array(sample.image.shape) - 96).astype(int)
    crops = [OneCrop(sample, int(y), int(x), 96) for y, x in corners]
    crop = max(crops, key=lambda one: len(one.truth))
    score, losses = overfitted_score(family, crop, tmp_path, steps=180 if family.name == "rcnn" else 60)
    assert losses[-1] < 0.5 * losses[0]
    assert score > 0.5
