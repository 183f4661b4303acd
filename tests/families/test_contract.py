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

from cytotome.contract import FamilyConfig, Outputs
from cytotome.data.augment import Augmentation
from cytotome.data.normalise import Normalisation
from cytotome.data.sampling import Crops, CropSettings, Source, crop_loader
from cytotome.datasets import open_dataset
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.families import FORMER_NAMES, AnyFamily, family_names, get_family
from cytotome.inference.model import build_model, load_single_model
from cytotome.metrics.challenge import image_score, mean_score
from cytotome.models.card import Card
from cytotome.models.file import ModelFile, read_model, save_model
from cytotome.ops.labels import from_label_map, from_layers, to_layers
from cytotome.ops.runs import empty_instances
from cytotome.ops.soft_masks import moved, paste
from cytotome.outputs.canvas import Canvas
from cytotome.outputs.tta import Tta
from cytotome.training.train import train
from cytotome.types import Dataset, Image, Instances, Sample, SampleInfo

CLASS_NAMES = ("cort", "astro", "shsy5y")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The networks see small images, on which threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=(*family_names(), *FORMER_NAMES), scope="module")
def family(request: pytest.FixtureRequest) -> AnyFamily:
    """Each family, and what reads the files of a former one."""
    return replace(get_family(request.param), name=request.param)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """One synthetic image of each cell type."""
    return list(SyntheticDataset(3, seed=5, shape=(256, 320)))


def config_of(family: AnyFamily) -> FamilyConfig:
    return family.config(class_names=CLASS_NAMES)


def kind_of(family: AnyFamily) -> Outputs[Any, Any]:
    return family.outputs(config_of(family))


def oracle_of(family: AnyFamily, instances: Instances) -> Any:
    config = config_of(family)
    return family.oracle(family.targets(instances, config), config)


def decode(family: AnyFamily, outputs: Any) -> Instances:
    return family.decode(outputs, family.parameters(), CLASS_NAMES)


def ceiling_on(family: AnyFamily, truths: list[Instances]) -> float:
    """Of what the family's outputs can hold: cells that lie over each other are not taken for one found twice."""
    fields = family.parameters.model_fields
    parameters = family.parameters(**({"nms_iou": 1.0, "min_area": 1} if "nms_iou" in fields else {}))
    found = [family.decode(oracle_of(family, truth), parameters, CLASS_NAMES) for truth in truths]
    return mean_score(found, truths)


def batch_of(output: Any) -> Any:
    """The outputs of one image as a network gives them for a batch of one."""
    if isinstance(output, Instances):
        return [output]
    return {name: torch.from_numpy(np.ascontiguousarray(values))[None] for name, values in output.items()}


def window_of(batch: Any, top: int, left: int, height: int, width: int) -> Any:
    """The part of such a batch that lies in a window of the image."""
    if isinstance(batch, dict):
        return {name: values[:, :, top : top + height, left : left + width] for name, values in batch.items()}
    soft = moved(batch[0].soft, by=(-top, -left))
    runs, offsets, _ = paste(soft, (height, width))
    seen = replace(batch[0], shape=(height, width), runs=runs, offsets=offsets, soft=soft)
    return [seen.select(seen.areas > 0)]


def truth_of(sample: Sample) -> Instances:
    assert sample.instances is not None
    return sample.instances


def test_oracle_outputs_are_of_the_kind_that_the_family_declares(family: AnyFamily, samples: list[Sample]) -> None:
    kind, outputs = kind_of(family), oracle_of(family, truth_of(samples[0]))
    canvas = Canvas(np.zeros((1, 256, 320), np.float32), (256, 320))
    (same,) = kind.at_size(batch_of(outputs), canvas, (256, 320))
    arrays = kind.to_arrays(outputs)
    assert {name: (kind.to_arrays(same)[name].shape, values.dtype) for name, values in arrays.items()} == {
        name: (values.shape, values.dtype) for name, values in arrays.items()
    }
    for spec in kind.specs:
        assert (arrays[spec.name].shape, arrays[spec.name].dtype) == ((spec.channels, 256, 320), np.float32)
    assert not kind.specs or {spec.name for spec in kind.specs} == set(arrays)
    back = kind.to_arrays(kind.from_arrays(arrays))
    for name, values in arrays.items():
        np.testing.assert_array_equal(back[name], values)


def test_synthetic_truth_comes_back_within_the_ceiling(family: AnyFamily, samples: list[Sample]) -> None:
    assert ceiling_on(family, [truth_of(sample) for sample in samples]) >= family.ceiling


def test_real_truth_comes_back_within_the_ceiling(family: AnyFamily, real_data: Path) -> None:
    dataset = open_dataset(real_data / "sartorius")
    full = [index for index, info in enumerate(dataset.infos) if info.mask_quality == "full"]
    truths = [truth for index in full if (truth := dataset.instances(index)) is not None]
    assert truths
    assert ceiling_on(family, truths) >= family.ceiling


def test_cell_types_come_back(family: AnyFamily, samples: list[Sample]) -> None:
    """Where the outputs tell cell types apart beside their cells; what a foreground map of each type gives differs."""
    if kind_of(family).specs and "cell_type" not in {spec.name for spec in kind_of(family).specs}:
        pytest.skip(f"{family.name} does not predict cell types")
    for sample in samples:
        expected = CLASS_NAMES.index(sample.info.cell_type)
        found = decode(family, oracle_of(family, truth_of(sample)))
        assert found.class_names == CLASS_NAMES
        assert (found.classes == expected).mean() > 0.99


def test_an_empty_image_gives_no_instance(family: AnyFamily) -> None:
    found = decode(family, oracle_of(family, empty_instances((64, 96), CLASS_NAMES)))
    assert len(found) == 0
    assert found.shape == (64, 96)


@pytest.mark.parametrize("shape", [(33, 257), (101, 37)])
def test_odd_sizes_come_back(family: AnyFamily, shape: tuple[int, int]) -> None:
    truth = truth_of(SyntheticDataset(1, seed=2, shape=(max(shape), max(shape)))[0])
    layers = to_layers(truth)[:, : shape[0], : shape[1]]
    cut = from_layers(np.ascontiguousarray(layers), truth)
    cut = cut.select(cut.areas >= 30)
    found = decode(family, oracle_of(family, cut))
    assert found.shape == shape
    assert image_score(found, cut) > 0.75


def test_tiled_equals_whole(family: AnyFamily, samples: list[Sample]) -> None:
    kind, whole = kind_of(family), oracle_of(family, truth_of(samples[2]))
    batch, seen = batch_of(whole), []

    def look_up(places: torch.Tensor) -> Any:
        """The part of the oracle's outputs that an image of row and column numbers asks for."""
        seen.append(places.shape)
        top, left = int(places[0, 0, 0, 0]), int(places[0, 1, 0, 0])
        return window_of(batch, top, left, *places.shape[2:])

    places = torch.stack(torch.meshgrid(torch.arange(256.0), torch.arange(320.0), indexing="ij"))[None]
    with torch.inference_mode():
        tiled = kind.tiled(look_up, tile=128, stride=32)(places)
    assert len(seen) > 4
    for spec in kind.specs:
        torch.testing.assert_close(tiled[spec.name].float(), batch[spec.name], atol=1e-5, rtol=1e-5)
    (found,) = kind.at_size(tiled, Canvas(np.zeros((2, 256, 320), np.float32), (256, 320)), (256, 320))
    assert image_score(decode(family, found), decode(family, whole)) > 0.999


def test_the_mean_over_symmetries_equals_plain(family: AnyFamily, samples: list[Sample]) -> None:
    """The image that is turned is the truth itself, so the oracle sees every symmetry as a network would."""
    kind, truth = kind_of(family), truth_of(samples[0])

    def predict(layers: torch.Tensor) -> Any:
        return batch_of(oracle_of(family, from_layers(layers[0].contiguous().numpy().astype(np.int32), truth)))

    layers = torch.from_numpy(to_layers(truth).astype(np.float32))[None]
    plain = oracle_of(family, truth)
    mean = kind.augmented(predict, Tta(), stride=1)(layers)
    for spec in kind.specs:
        values, expected = mean[spec.name][0].numpy(), plain[spec.name]
        assert np.abs(values - expected).mean() < 0.02 * max(1.0, float(np.abs(expected).max())), spec.name
    (found,) = kind.at_size(mean, Canvas(np.zeros((1, 256, 320), np.float32), (256, 320)), (256, 320))
    score = image_score(decode(family, found), truth)
    assert score >= image_score(decode(family, plain), truth) - 0.02


def test_config_and_model_file_come_back(family: AnyFamily, tmp_path: Path) -> None:
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
    kind = family.outputs(config)
    first, second = (kind.to_arrays(model.outputs(pixels)) for model in models)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
    for spec in kind.specs:
        assert first[spec.name].shape == (spec.channels, 61, 83)


def test_decode_parameters_are_checked_whole(family: AnyFamily) -> None:
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


def test_crops_can_be_made_in_other_processes(family: AnyFamily) -> None:
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


def all_losses(family: AnyFamily, dataset: Dataset) -> dict[str, float]:
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


def test_ignored_areas_add_nothing_to_any_loss(family: AnyFamily) -> None:
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


def overfitted_score(family: AnyFamily, crop: OneCrop, output: Path, steps: int = 60) -> tuple[float, list[float]]:
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
    found = load_single_model(path, device="cpu", precision="float32").segment(crop.image)
    return image_score(found, crop.truth), losses


def test_one_synthetic_crop_can_be_learned(family: AnyFamily, tmp_path: Path) -> None:
    crop = OneCrop(SyntheticDataset(1, seed=4, cell_types=("shsy5y",), shape=(256, 256))[0], 96, 96, 64)
    assert len(crop.truth) >= 2
    score, losses = overfitted_score(family, crop, tmp_path)
    assert losses[-1] < 0.5 * losses[0]
    assert score > 0.5


@pytest.mark.slow
def test_one_real_crop_can_be_learned(family: AnyFamily, tmp_path: Path, real_data: Path) -> None:
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
