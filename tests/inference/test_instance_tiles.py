"""Embeddings of tiles that have nothing to do with each other: instances are still those of the whole image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cytotome.data.normalise import Normalisation
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.errors import ConfigError
from cytotome.families import get_family
from cytotome.inference.instance_tiles import segment_in_tiles
from cytotome.inference.model import Model
from cytotome.inference.runner import Runner
from cytotome.metrics.challenge import image_score
from cytotome.models.file import ModelFile
from cytotome.types import AnyArray, Image, Instances

FAMILY = get_family("embedding")
CONFIG = FAMILY.config(input_scale=1.0)


class _Oracle(nn.Module):
    """Sees the truth: grey levels are labels. Each call draws new vectors, so no two tiles agree on any."""

    stride = 32

    def __init__(self, top: float) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 1, 1)
        self.top = top
        self.calls: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        labels = (images[0, 0] * self.top).round().long()
        generator = torch.Generator().manual_seed(len(self.calls))
        self.calls.append(tuple(images.shape[2:]))
        vectors = torch.randn(int(labels.max()) + 1, 8, generator=generator)
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
        return {
            "embedding": vectors[labels].permute(2, 0, 1)[None],
            "cell": 20.0 * (labels > 0).float()[None, None] - 10,
        }


def _model(labels: AnyArray) -> tuple[Model, _Oracle]:
    net = _Oracle(float(labels.max()))
    normalisation = Normalisation(low=0, high=100)
    parameters = FAMILY.parameters(similarity=0.95, gap=0)
    file = ModelFile(FAMILY.name, CONFIG, parameters, normalisation, {})
    return Model(file, Runner.of(FAMILY, CONFIG, net, torch.device("cpu"), torch.float32)), net


def _truth(shape: tuple[int, int]) -> AnyArray:
    cells = SyntheticDataset(1, seed=3, cell_types=("shsy5y",), shape=shape)[0].instances
    assert cells is not None
    labels = cells.to_label_map()
    labels[40 : shape[0] - 40, 20:26] = labels.max() + 1  # longer than any tile
    return labels


@pytest.mark.parametrize("tile", [128, 160])
def test_tiled_equals_whole_on_oracle_embeddings(tile: int) -> None:
    labels = _truth((400, 450))
    model, net = _model(labels)
    image = Image(labels.astype(np.float32))
    whole = model.segment(image)
    assert net.calls == [(416, 480)]
    told: list[tuple[int, int]] = []
    tiled = model.segment(image, tile=tile, watch=lambda *numbers: told.append(numbers))
    assert len(net.calls) > 12
    assert told == [(done, len(net.calls) - 1) for done in range(1, len(net.calls))]
    assert max(max(call) for call in net.calls[1:]) <= tile
    assert image_score(whole, Instances.from_label_map(labels)) > 0.95
    assert image_score(tiled, whole) > 0.99
    assert abs(len(tiled) - len(whole)) <= 0.01 * len(whole)
    assert tiled.ids.tolist() == list(range(1, len(tiled) + 1))
    assert tiled.boxes[:, 2].max() - tiled.boxes[:, 0].min() > 300


def test_maps_of_tiles_would_not_do() -> None:
    """What the stitching is for: the same tiles' maps, laid side by side, cut the cells at the seams."""
    labels = _truth((400, 450))
    model, _ = _model(labels)
    image = Image(labels.astype(np.float32))
    whole = model.segment(image)
    side_by_side = model.decode(model.predict_maps(image, tile=128))
    assert image_score(side_by_side, whole) < 0.97


def test_a_small_image_is_one_tile_and_small_tiles_are_refused() -> None:
    labels = np.zeros((1, 40, 50), np.float32)
    labels[0, 10:20, 10:30] = 7
    seen: list[AnyArray] = []

    def segment(part: AnyArray) -> Instances:
        seen.append(part)
        return Instances.from_label_map(part[0].astype(np.int32))

    found = segment_in_tiles(labels, segment, 64)
    assert len(seen) == 1
    assert found.areas.tolist() == [200]
    assert found.ids.tolist() == [1]
    with pytest.raises(ConfigError, match="tile: 16 pixels of the image are too few to decode tiles; use 32 or more"):
        segment_in_tiles(labels, segment, 16)
