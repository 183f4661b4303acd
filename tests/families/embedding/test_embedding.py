"""The embedding family: targets, losses by every sampler, networks, decoders, fitted thresholds."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.families.embedding import FAMILY
from cytotome.families.embedding.calibrate import calibrate
from cytotome.families.embedding.config import EmbeddingConfig, EmbeddingParameters, Sampler
from cytotome.families.embedding.decode import features
from cytotome.families.embedding.loss import embedding_loss
from cytotome.families.embedding.net import place_waves
from cytotome.families.embedding.segment import segment_parts, split_clusters
from cytotome.families.embedding.targets import BORDER, CELL, oracle_embeddings, parts_of
from cytotome.metrics.challenge import image_score
from cytotome.training.recipe import load_recipe
from cytotome.types import DenseMaps, Image, Instances, Sample, SampleInfo

NAMES = ("round", "long")
CONFIG = EmbeddingConfig(class_names=NAMES)


def _labels() -> np.ndarray:
    """Three cells that touch, one of them laid across another, and one apart."""
    labels = np.zeros((64, 80), np.int32)
    labels[5:25, 5:25] = 1
    labels[5:25, 25:45] = 2
    labels[35:55, 10:70] = 3
    labels[30:60, 36:41] = 4
    return labels


def _truth() -> Instances:
    return Instances.from_label_map(_labels(), classes=np.array([0, 0, 1, 1], np.int32), class_names=NAMES)


def _maps(config: EmbeddingConfig = CONFIG, noise: float = 0.0) -> dict[str, np.ndarray]:
    targets = FAMILY.targets(_truth(), config)
    maps = dict(FAMILY.oracle(targets, config))
    if noise:
        maps["embedding"] = oracle_embeddings(targets["labels"][0], config.dimensions, noise=noise)
    return maps


def _decode(maps: DenseMaps, **parameters: object) -> Instances:
    return FAMILY.decode(maps, EmbeddingParameters.model_validate(parameters), NAMES)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2])
def test_masks_and_classes_come_back_and_the_hidden_cell_is_one(noise: float) -> None:
    found = _decode(_maps(noise=noise), similarity=0.55)
    assert len(found) == 4
    assert image_score(found, _truth()) == 1.0
    ious, _ = _truth().overlaps(found).best_truths()
    assert ious.min() > 0.97
    assert sorted(found.classes.tolist()) == [0, 0, 1, 1]
    assert len(_decode(_maps(noise=noise), similarity=0.55, gap=0)) == 5


def test_the_resized_decoder_keeps_what_its_map_can_hold() -> None:
    """Touching squares of 20 pixels, at half the resolution: 9 pixels of theirs are more than half inside."""
    found = _decode(_maps(), decoder="resized", resized_shape=(32, 40))
    ious, _ = _truth().overlaps(found).best_truths()
    np.testing.assert_allclose(ious[:2], 18**2 / 20**2)
    turned = {name: np.ascontiguousarray(values.transpose(0, 2, 1)) for name, values in _maps().items()}
    upright = _decode(turned, decoder="resized", resized_shape=(32, 40))
    assert upright.shape == (80, 64)
    assert sorted(upright.areas) == sorted(found.areas)


def test_clusters_are_parted_by_erosion_and_get_their_rim_back() -> None:
    clusters = np.zeros((20, 30), np.int32)
    clusters[3:12, 3:12] = 5
    clusters[3:12, 14:25] = 5
    clusters[7, 12:14] = 5  # a bridge of one pixel's width
    clusters[15:18, 3:20] = 9
    labels, count = split_clusters(clusters, 1)
    assert count == 3
    assert (labels > 0).sum() == (clusters > 0).sum()
    assert labels[5, 5] != labels[5, 20]
    assert split_clusters(clusters, 0)[1] == 2


def test_parts_of_touching_cells_alone_have_a_border() -> None:
    labels = _labels()
    parts = parts_of(labels, 2)
    assert ((parts > 0) == (labels > 0)).all()
    assert (parts[10:20, 23:27] == BORDER).all()
    assert (parts[10:20, 5:23] == CELL).all()
    labels[labels != 1] = 0
    assert (parts_of(labels, 2) != BORDER).all()


def test_cells_grow_back_over_their_border() -> None:
    config = EmbeddingConfig(class_names=NAMES, variant="binary")
    found = _decode(_maps(config))
    ious, _ = _truth().overlaps(found).best_truths()
    assert (ious[:2] > 0.98).all()
    labels, count = segment_parts(_maps(config)["parts"], 0.5, 0)
    assert (labels[10:20, 23:27] == 0).all()
    assert count >= 3


@pytest.mark.parametrize("sampler", get_args(Sampler))
@pytest.mark.parametrize("variant", ["instances", "binary"])
def test_the_loss_of_the_truth_is_far_below_that_of_one_vector(sampler: str, variant: str) -> None:
    torch.manual_seed(0)
    config = EmbeddingConfig.model_validate(
        {"class_names": NAMES, "sampler": sampler, "variant": variant, "window_side": 50, "dimensions": 16}
    )
    batch = _batch(config)
    right = embedding_loss(_Fixed(batch, config, right=True), batch, config)
    wrong = embedding_loss(_Fixed(batch, config, right=False), batch, config)
    assert right["embedding"] < 0.75 * wrong["embedding"]
    assert right["cell"] < 0.01 < wrong["cell"]
    assert {"embedding", "cell", "cell_type", "total"} == set(right)


def test_the_discriminative_loss_is_zero_on_vectors_far_apart() -> None:
    config = EmbeddingConfig(class_names=NAMES, loss="discriminative", dimensions=64)
    batch = _batch(config)
    assert embedding_loss(_Fixed(batch, config, right=True), batch, config)["embedding"] < 1e-6
    assert embedding_loss(_Fixed(batch, config, right=False), batch, config)["embedding"] > 0.5


@pytest.mark.parametrize("loss", ["contrast", "discriminative"])
def test_invalid_pixels_add_nothing(loss: str) -> None:
    config = EmbeddingConfig.model_validate({"class_names": NAMES, "loss": loss})
    batch = _batch(config) | {"valid": torch.zeros(2, 1, 64, 80)}
    assert embedding_loss(_Fixed(batch, config, right=False), batch, config)["total"] == 0


def _batch(config: EmbeddingConfig) -> dict[str, torch.Tensor]:
    targets = FAMILY.targets(_truth(), config)
    batch = {name: torch.from_numpy(np.stack([value, value])) for name, value in targets.items()}
    return {"image": torch.rand(2, 1, 64, 80), "valid": torch.ones(2, 1, 64, 80), **batch}


class _Fixed(torch.nn.Module):
    """Answers with the truth, or with one vector everywhere and undecided probabilities."""

    def __init__(self, batch: dict[str, torch.Tensor], config: EmbeddingConfig, *, right: bool) -> None:
        super().__init__()
        sharp = 20.0 if right else 0.0
        compared = batch["labels"].numpy()[:, 0]
        if config.variant == "binary":
            compared = (compared > 0).astype(np.int32)
        planes = np.stack([oracle_embeddings(one if right else 0 * one, config.dimensions) for one in compared])
        self.outputs = {
            "embedding": torch.from_numpy(planes),
            "cell": sharp * (2.0 * (batch["labels"] > 0) - 1),
            "cell_type": torch.zeros(2, 2, 8, 10),
        }
        if config.variant == "binary":
            classes = torch.arange(3)[None, :, None, None]
            self.outputs["parts"] = sharp * (batch["parts"] == classes)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.outputs


def test_waves_of_place_are_equal_where_shifts_meet_and_know_no_origin() -> None:
    shift = torch.zeros(1, 2, 40, 60)
    shift[0, 0, 10:20, 10:30] = 15.0 - torch.arange(10.0, 20.0)[:, None]
    shift[0, 1, 10:20, 10:30] = 20.0 - torch.arange(10.0, 30.0)
    waves = place_waves(shift, (32.0, 96.0))[0]
    assert waves.shape == (8, 40, 60)
    torch.testing.assert_close(waves.norm(dim=0), torch.ones(40, 60))
    cell = waves[:, 10:20, 10:30].reshape(8, -1)
    torch.testing.assert_close(cell, cell[:, :1].expand_as(cell), atol=1e-5, rtol=0)
    moved = place_waves(shift.roll((5, 7), (2, 3)), (32.0, 96.0))[0]
    before = (waves[:, 2, 3] * waves[:, 12, 22]).sum()
    after = (moved[:, 7, 10] * moved[:, 17, 29]).sum()
    torch.testing.assert_close(before, after)


@pytest.mark.parametrize("network", ["compact", "unet", "refine", "light"])
@pytest.mark.parametrize("variant", ["instances", "binary"])
def test_every_network_gives_unit_vectors_and_learns_in_all_its_weights(network: str, variant: str) -> None:
    torch.manual_seed(0)
    config = EmbeddingConfig.model_validate(
        {
            "class_names": NAMES,
            "network": network,
            "variant": variant,
            "encoder": "test_resnet",
            "widths": (8, 16),
            "blocks": (0, 1),
        }
    )
    net = FAMILY.build(config)
    batch = _batch(config)
    batch = {name: value[:, :, :64, :64] for name, value in batch.items()}
    losses = embedding_loss(net, batch, config)
    losses["total"].backward()  # type: ignore[no-untyped-call]
    assert [name for name, weight in net.named_parameters() if weight.grad is None] == []
    with torch.no_grad():
        maps = FAMILY.predict(net.eval(), batch["image"])
    torch.testing.assert_close(maps["embedding"].norm(dim=1), torch.ones(2, 64, 64))
    assert {spec.name: spec.channels for spec in FAMILY.outputs(config).specs} == {
        name: values.shape[1] for name, values in maps.items()
    }


def test_the_threshold_is_fitted_to_the_maps() -> None:
    """Noise makes pixels of one cell less alike, so the right threshold falls; scores tell the sure from the unsure."""
    pairs = []
    for seed, sample in enumerate(SyntheticDataset(3, seed=5, shape=(128, 160), cell_types=("shsy5y",))):
        assert sample.instances is not None
        labels = sample.instances.to_label_map()
        cell = (labels > 0).astype(np.float32)[None]
        maps = {"embedding": oracle_embeddings(labels, 8, seed=seed, noise=0.25), "cell": cell}
        pairs.append((maps, sample))
    start = EmbeddingParameters(similarity=0.9)
    fitted = calibrate(pairs, start, ("cell",))
    assert fitted.similarity < 0.7

    def score(parameters: EmbeddingParameters) -> float:
        found = [FAMILY.decode(maps, parameters, ("cell",)) for maps, _ in pairs]
        truths = [sample.instances for _, sample in pairs]
        return float(np.mean([image_score(a, b) for a, b in zip(found, truths, strict=True) if b is not None]))

    assert score(fitted) > score(start) + 0.3
    assert calibrate([], start, ("cell",)) == start


def test_features_measure_agreement_within_and_likeness_to_the_nearest() -> None:
    maps = _maps()
    noise = np.random.default_rng(0).normal(0, 0.3, maps["embedding"].shape).astype(np.float32)
    maps["embedding"] = np.where(_labels() == 3, maps["embedding"] + noise, maps["embedding"])
    maps["embedding"] /= np.linalg.norm(maps["embedding"], axis=0)
    vectors = [_maps()["embedding"][:, _labels() == label][:, 0] for label in range(5)]
    table = features(_labels(), 4, maps["embedding"], maps["cell"][0])
    np.testing.assert_allclose(np.exp(table[:, 3]), [400, 400, 20 * 60 - 20 * 5, 30 * 5])
    np.testing.assert_allclose(table[[0, 1, 3], 1], 1, atol=1e-5)
    assert 0.6 < table[2, 1] < 0.9
    np.testing.assert_allclose(table[:2, 2], vectors[1] @ vectors[2], atol=1e-5)
    np.testing.assert_allclose(table[2:, 2], vectors[3] @ vectors[4], atol=0.05)
    np.testing.assert_allclose(table[:, 0], 1)


def test_scores_decide_what_is_kept_and_the_parameters_of_the_cell_type_come_first() -> None:
    found = _decode(_maps(), score_weights=(0, 0, 0, 1, -6))
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(6) / found.areas), rtol=1e-5)
    assert len(_decode(_maps(), score_weights=(0, 0, 0, 1, -6), min_score=0.4)) == 2 + (found.areas[2:] > 270).sum()
    assert len(_decode(_maps(), by_class={"long": {"min_area": 100_000}})) == 0
    assert len(_decode(_maps(), by_class={"round": {"min_area": 100_000}})) == 4


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"periods": (32.0, 64.0, 96.0)}, "dimensions must be at least 12, got 8"),
        ({"variant": "binary", "loss": "discriminative"}, "the variant binary supports only loss=contrast"),
        ({"temperature": 0.001}, "temperature"),
        ({"sampler": "corner"}, "sampler"),
    ],
)
def test_config_names_what_is_wrong(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EmbeddingConfig(**config)


@pytest.mark.parametrize("name", ["embedding", "embedding-binary", "embedding-original"])
def test_recipes_are_whole(name: str) -> None:
    recipe = load_recipe(name)
    config = recipe.family_config()
    assert isinstance(config, EmbeddingConfig)
    assert config.variant == ("binary" if name.endswith("binary") else "instances")
    assert recipe.calibration_images > 0


def test_a_sample_without_masks_does_not_take_part_in_the_fit() -> None:
    bare = Sample(SampleInfo("a"), Image(np.zeros((64, 80), np.uint8)))
    start = EmbeddingParameters()
    assert calibrate([(_maps(), bare)], start, NAMES) == start
