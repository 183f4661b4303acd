"""Pseudo-labels: which candidates become labels, what is ignored, and the dataset that is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch

from cytotome.data.augment import Augmentation
from cytotome.data.sampling import Crops, CropSettings, Source
from cytotome.datasets import open_dataset
from cytotome.errors import ConfigError, DataError, ImageError, TrainingError
from cytotome.families import get_family
from cytotome.inference.model import Model, build_model, load_single_model
from cytotome.io.coco import write_coco
from cytotome.pseudolabels import dataset as pseudolabel
from cytotome.pseudolabels.agreement import PseudoLabelSettings, agreed, best_overlaps, check_models, label_image
from cytotome.pseudolabels.dataset import write_pseudolabels
from cytotome.training.data import prepare
from cytotome.training.recipe import load_recipe
from cytotome.training.train import train
from cytotome.types import Image, Instances, Sample, SampleInfo

NAMES = ("cort", "astro")


def boxes(*corners: tuple[int, int, int, int], scores: Any, classes: Any = None) -> Instances:
    masks = np.zeros((len(corners), 40, 40), bool)
    for mask, (y0, x0, y1, x1) in zip(masks, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    kinds = np.zeros(len(corners), np.int32) if classes is None else np.array(classes, np.int32)
    return Instances.from_masks(list(masks), scores=np.array(scores, np.float32), classes=kinds, class_names=NAMES)


def test_sure_cells_become_labels_and_the_others_are_ignored() -> None:
    found = boxes((2, 2, 12, 12), (20, 20, 30, 30), scores=[0.9, 0.4])
    labels = agreed([found], PseudoLabelSettings(margin=2))
    assert (labels.instances.to_label_map() > 0).sum() == 100
    expected = np.zeros((40, 40), bool)
    expected[18:32, 18:32] = True
    assert (labels.ignore == expected).all()
    assert labels.candidates == 2


def test_confidence_is_that_of_the_type() -> None:
    found = boxes((2, 2, 12, 12), (20, 20, 30, 30), scores=[0.5, 0.5], classes=[0, 1])
    labels = agreed([found], PseudoLabelSettings(by_type={"astro": 0.4}))
    assert labels.instances.classes.tolist() == [1]


def test_models_must_agree_on_a_cell() -> None:
    """Of three cells the second model finds the first, half of the second, and one where the first model has none."""
    first = boxes((0, 0, 10, 10), (0, 20, 10, 30), (20, 0, 30, 10), scores=[0.9, 0.9, 0.9])
    second = boxes((0, 0, 10, 10), (0, 20, 10, 25), (20, 20, 30, 30), scores=[0.7, 0.9, 0.9])
    labels = agreed([first, second], PseudoLabelSettings(margin=0))
    assert labels.instances.boxes.tolist() == [[0, 0, 10, 10]]
    assert labels.instances.scores.tolist() == pytest.approx([0.8])
    rows, columns = np.nonzero(labels.ignore)
    assert labels.ignore.sum() == 300
    assert not ((rows < 10) & (columns < 10)).any()


def test_a_margin_never_covers_a_label() -> None:
    found = boxes((5, 5, 15, 15), (5, 15, 15, 25), scores=[0.9, 0.3])
    labels = agreed([found], PseudoLabelSettings(margin=3))
    assert not (labels.ignore & (labels.instances.to_label_map() > 0)).any()
    assert labels.ignore[10, 27]


def test_best_overlaps_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((2, 6, 40, 40)) < 0.3
    first, second = (
        Instances.from_masks(list(part), scores=rng.random(6).astype(np.float32), class_names=NAMES[:1])
        for part in masks
    )
    iou = np.array([[(a & b).sum() / (a | b).sum() for b in masks[1]] for a in masks[0]])
    best, scores = best_overlaps(first, second)
    np.testing.assert_allclose(best, iou.max(axis=1))
    np.testing.assert_allclose(scores, second.scores[iou.argmax(axis=1)])


@pytest.fixture
def model(recipe: dict[str, Any], disks: Any, tmp_path: Path, quiet: Any) -> Model:
    recipe["schedule"] |= {"steps": 60}
    return load_single_model(train(recipe, disks(), output=tmp_path / "run", console=quiet, device="cpu"), device="cpu")


def test_a_dataset_is_written_that_train_takes(
    model: Model, recipe: dict[str, Any], disks: Any, tmp_path: Path, quiet: Any
) -> None:
    settings = PseudoLabelSettings(confidence=0.3)
    tally = write_pseudolabels([model], disks(6, 4), tmp_path / "pseudo", settings)
    assert tally.images == 4
    assert tally.kept["disk"] >= 12
    dataset = open_dataset(tmp_path / "pseudo")
    assert dataset.name == "pseudo"
    assert {(info.mask_quality, info.cell_type) for info in dataset.infos} == {("approximate", "disk")}
    sample: Sample = dataset[0]
    np.testing.assert_array_equal(sample.image.pixels, disks()[2].image.pixels)
    record = json.loads((tmp_path / "pseudo" / "run.json").read_text())
    assert record["models"][0]["hash"] == model.digest
    sources = {"sampling.sources": {"pseudo": {"weight": 0.5}}}
    overrides = [f"{key}={json.dumps(value)}" for key, value in sources.items()]
    prepared = prepare(load_recipe(recipe, overrides), [disks(), tmp_path / "pseudo"], 0)
    assert [(source.dataset.name, source.weight, len(source.dataset)) for source in prepared.sources][1] == (
        "pseudo",
        0.5,
        4,
    )
    again = train(recipe, [disks(), tmp_path / "pseudo"], output=tmp_path / "again", console=quiet, device="cpu")
    assert load_single_model(again, device="cpu").file.card.trained_on.keys() == {"disks", "pseudo"}


def test_labels_lie_where_cells_are_seen(model: Model, disks: Any) -> None:
    """Also those of a model that gives cells at the place of the masks it was trained on, here three pixels beside."""
    config = model.config.model_copy(update={"offset": (3.0, 0.0)})
    shifted = replace(model, file=replace(model.file, config=config))
    image, settings = disks(6, 4)[2].image, PseudoLabelSettings(confidence=0.3)
    labels = [label_image([one], image, settings).instances for one in (model, shifted)]
    np.testing.assert_array_equal(labels[0].runs, labels[1].runs)
    assert shifted.segment(image).to_label_map().tolist() != model.segment(image).to_label_map().tolist()


def test_what_is_ignored_in_the_file_is_not_valid_in_a_crop(tmp_path: Path, disks: Any) -> None:
    sample: Sample = disks()[0]
    ignore = np.zeros((48, 56), bool)
    ignore[10:20, 30:50] = True
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(imagecodecs.png_encode(sample.image.pixels))
    assert sample.instances is not None
    facts = {"a": {"mask_quality": "approximate", "cell_type": "disk"}}
    files = {"a": "images/a.png"}
    write_coco(
        tmp_path / "x.json",
        {"a": sample.instances},
        file_names=files,
        ignore={"a": Instances.from_masks([ignore])},
        facts=facts,
    )
    dataset = open_dataset(tmp_path)
    assert (dataset[0].ignore == ignore).all()
    assert len(dataset[0].instances) == len(sample.instances)
    family = get_family("flow")
    settings = CropSettings(size=(48, 56), batch=1)
    config, plain = family.config(input_scale=1.0), Augmentation.none()
    crop = Crops([Source(dataset)], family.targets, config, augmentation=plain, settings=settings)[0]
    assert ((crop["valid"][0] == 0).numpy() == ignore).all()


def test_a_folder_that_is_in_use_is_kept(model: Model, disks: Any, tmp_path: Path) -> None:
    settings = PseudoLabelSettings(confidence=0.3)
    (tmp_path / "mine" / "images").mkdir(parents=True)
    (tmp_path / "mine" / "images" / "a.png").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="mine: contains files that are not pseudo-labels; use another folder"):
        write_pseudolabels([model], disks(), tmp_path / "mine", settings, overwrite=True)
    assert (tmp_path / "mine" / "images" / "a.png").read_bytes() == b"precious"
    write_pseudolabels([model], disks(), tmp_path / "out", settings)
    with pytest.raises(ConfigError, match="out: contains pseudo-labels; use --overwrite"):
        write_pseudolabels([model], disks(), tmp_path / "out", settings)
    assert write_pseudolabels([model], disks(6, 3), tmp_path / "out", settings, overwrite=True).images == 3


def spoilt(data: Any, *indices: int) -> Any:
    """The dataset with images that cannot be read."""
    read = data.read

    def failing(index: int) -> Sample:
        if index in indices:
            raise ImageError(f"{data.infos[index].id}.png: is damaged")
        sample: Sample = read(index)
        return sample

    data.read = failing
    return data


def test_an_image_that_cannot_be_used_stops_no_other(model: Model, disks: Any, tmp_path: Path) -> None:
    settings = PseudoLabelSettings(confidence=0.3)
    tally = write_pseudolabels([model], spoilt(disks(6, 4), 3), tmp_path / "out", settings)
    assert (tally.images, tally.failures) == (3, {"disks3": "disks3.png: is damaged"})
    assert [info.id for info in open_dataset(tmp_path / "out").infos] == ["disks2", "disks4", "disks5"]
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["state"], record["tally"]["failures"]) == ("finished", tally.failures)


def test_no_image_replaces_another(model: Model, disks: Any, tmp_path: Path) -> None:
    data = disks(6, 2)
    data.infos = (*data.infos[:4], replace(data.infos[4], id="a/b"), replace(data.infos[5], id="a_b"))
    tally = write_pseudolabels([model], data, tmp_path / "out", PseudoLabelSettings(confidence=0.3))
    assert tally.images == 1
    assert tally.failures == {"a_b": "a_b: another image is written as a_b already; rename one"}


def test_a_run_that_was_broken_off_is_begun_anew(model: Model, disks: Any, tmp_path: Path) -> None:
    settings = PseudoLabelSettings(confidence=0.3)
    with pytest.raises(DataError, match=r"disks: 2 images cannot be used, first disks4\.png: is damaged$"):
        write_pseudolabels([model], spoilt(disks(), 4, 5), tmp_path / "out", settings)
    assert write_pseudolabels([model], disks(), tmp_path / "out", settings).images == 2


def test_no_pixel_is_kept_until_the_end(
    model: Model, disks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    monkeypatch.setattr(pseudolabel, "write_coco", lambda *_, **options: kept.extend(options["ignore"].values()))
    write_pseudolabels([model], disks(), tmp_path / "out", PseudoLabelSettings(confidence=0.3))
    assert [type(one) for one in kept] == [Instances, Instances]


def test_what_cannot_be_labelled_is_told(model: Model, disks: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="disks: all 6 images are labelled; give images without masks"):
        write_pseudolabels([model], disks(6, 0), tmp_path / "a")
    torch.manual_seed(1)
    untrained = build_model(replace(model.file, weights=model.family.build(model.file.config).state_dict()))
    with pytest.raises(DataError, match="no certain cell in 2 images; lower the confidence"):
        write_pseudolabels([model, untrained], disks(), tmp_path / "b", PseudoLabelSettings(agreement=1.0))
    with pytest.raises(ConfigError, match=r"confidence 1\.2, candidate -1: expected numbers from 0 to 1"):
        PseudoLabelSettings(confidence=1.2, candidate=-1)
    with pytest.raises(ConfigError, match="margin must be 0 or more, got -1"):
        PseudoLabelSettings(margin=-1)
    with pytest.raises(ConfigError, match="no cell type astro; the models know disk"):
        check_models([model], PseudoLabelSettings(by_type={"astro": 0.5}))
    with pytest.raises(ConfigError, match="no model given"):
        check_models([], PseudoLabelSettings())


def test_models_of_other_cell_types_are_told_apart(model: Model) -> None:
    config = model.file.config.model_copy(update={"class_names": ("spot",)})
    other = build_model(replace(model.file, config=config), device="cpu")
    with pytest.raises(ConfigError, match=r"different cell types \(disk; spot\)"):
        check_models([model, other], PseudoLabelSettings())


def test_a_fold_needs_masks_of_full_quality_somewhere(recipe: dict[str, Any], disks: Any) -> None:
    bare = disks(4, 4, name="bare")
    assert len(prepare(load_recipe(recipe), [disks(), bare], 0).sources[1].dataset) == 4
    with pytest.raises(TrainingError, match="fold 0: no dataset has masks of full quality"):
        prepare(load_recipe(recipe), [bare], 0)


def test_images_of_any_type_are_written(model: Model, disks: Any, tmp_path: Path) -> None:
    data = disks(2, 2)
    read = data.read
    data.read = lambda index: Sample(
        SampleInfo(f"deep/{index}", mask_quality="none"),
        Image(read(index).image.pixels.astype(np.float32 if index else np.uint16)),
    )
    data.infos = tuple(SampleInfo(f"deep/{index}", mask_quality="none") for index in range(2))
    write_pseudolabels([model], data, tmp_path / "out", PseudoLabelSettings(confidence=0.2))
    written = open_dataset(tmp_path / "out")
    assert [str(sample.image.pixels.dtype) for sample in written] == ["uint16", "float32"]
    assert torch.get_num_threads() == 1
