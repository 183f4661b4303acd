"""Tiles of a network that predicts instances: as if the image had been seen whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cytotome.errors import ConfigError
from cytotome.metrics.challenge import image_score
from cytotome.ops.runs import intersections, mask_crop
from cytotome.ops.soft_masks import from_crops
from cytotome.outputs.stitching import Tile, stitch, with_stitched_tiles
from cytotome.types import AnyArray, Instances


def with_soft(instances: Instances) -> Instances:
    crops = [mask_crop(instances, index) for index in range(len(instances))]
    return replace(instances, soft=from_crops([crop for crop, _ in crops], np.array([place for _, place in crops])))


def ellipses(shape: tuple[int, int], count: int, sizes: tuple[float, float], seed: int) -> AnyArray:
    """Label map of ellipses that lie apart."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    y, x = np.indices(shape)
    for label in range(1, count + 1):
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        ry, rx = rng.uniform(*sizes, 2)
        inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
        if not labels[inside].any():
            labels[inside] = label
    return labels


def look_up(images: torch.Tensor) -> list[Instances]:
    """A network that sees the truth: the image holds the label map."""
    found = []
    for image in images:
        cells = Instances.from_label_map(image[0].numpy().astype(np.int32))
        found.append(with_soft(replace(cells, scores=np.full(len(cells), 0.9, np.float32))))
    return found


@pytest.mark.parametrize(("sizes", "count"), [((3, 14), 200), ((20, 150), 25)], ids=["small", "larger than overlaps"])
def test_tiles_give_every_cell_once_and_whole(sizes: tuple[float, float], count: int) -> None:
    labels = ellipses((400, 520), count, sizes, 3)
    truth = Instances.from_label_map(labels)
    images = torch.from_numpy(labels.astype(np.float32))[None, None]
    seen: list[torch.Size] = []

    def predict(part: torch.Tensor) -> list[Instances]:
        seen.append(part.shape)
        return look_up(part)

    told: list[tuple[int, int]] = []
    watch = lambda done, total: told.append((done, total))  # noqa: E731
    found = with_stitched_tiles(predict, tile=160, stride=32, watch=watch)(images)[0]
    assert len(seen) > 6
    assert told == [(done, len(seen)) for done in range(1, len(seen) + 1)]
    assert max(max(shape) for shape in seen) == 160
    assert len(found) == len(truth)
    assert image_score(found, truth) == 1.0
    pixels = intersections(found, truth)[2]
    assert pixels.sum() == truth.areas.sum() == found.areas.sum()


def test_an_image_of_one_tile_goes_whole() -> None:
    labels = ellipses((90, 120), 8, (3, 10), 1)
    images = torch.from_numpy(labels.astype(np.float32))[None, None]
    whole, tiled = look_up(images)[0], with_stitched_tiles(look_up, tile=128, stride=32)(images)[0]
    np.testing.assert_array_equal(whole.runs, tiled.runs)


def test_of_two_whole_ones_the_better_is_taken_and_cells_of_one_tile_may_overlap() -> None:
    mask = np.zeros((64, 64), np.int32)
    mask[20:40, 40:50] = 1
    left = with_soft(Instances.from_label_map(mask))
    left = left.select([0, 0])  # two cells of one tile on each other are the decoder's business
    left = replace(left, scores=np.array([0.5, 0.4], np.float32), ids=np.array([1, 2], np.int32))
    mask = np.zeros((64, 64), np.int32)
    mask[20:40, 8:19] = 1
    right = replace(with_soft(Instances.from_label_map(mask)), scores=np.array([0.8], np.float32))
    tiles = [Tile(0, 0, 64, 64), Tile(0, 32, 64, 64)]
    found = stitch([left, right], tiles, (64, 96))
    assert found.scores.tolist() == [pytest.approx(0.8)]
    assert found.areas.tolist() == [220]
    lone = stitch([left, right.select([])], tiles, (64, 96))
    assert len(lone) == 2


def test_a_piece_gives_way_to_the_whole_cell() -> None:
    labels = np.zeros((64, 96), np.int32)
    labels[20:40, 50:80] = 1
    parts = [look_up(torch.from_numpy(labels[None, None, :, x : x + 64].astype(np.float32)))[0] for x in (0, 32)]
    parts[0] = replace(parts[0], scores=np.array([1.0], np.float32))
    found = stitch(parts, [Tile(0, 0, 64, 64), Tile(0, 32, 64, 64)], (64, 96))
    assert found.areas.tolist() == [600]


def test_tiles_that_are_too_small_are_refused() -> None:
    with pytest.raises(ConfigError, match="tile: 32 pixels are too few"):
        with_stitched_tiles(look_up, tile=32, stride=32)
    for tile in (0, -100):
        with pytest.raises(ConfigError, match=r"tile: .* are too few"):
            with_stitched_tiles(look_up, tile=tile, stride=32)
