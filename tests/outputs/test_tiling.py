"""Tiles give what the whole image gives."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from cytotome.errors import ConfigError
from cytotome.outputs.tiling import axis_windows, tile_starts, with_tiles
from cytotome.types import OutputSpec

SPEC = (OutputSpec("a", 1), OutputSpec("low", 1), OutputSpec("e", 1, "embedding"))


@settings(max_examples=60, deadline=None)
@given(length=st.integers(1, 80), tile=st.integers(3, 20), overlap=st.integers(1, 6), hard=st.booleans())
def test_tiles_cover_and_weights_add_up(length: int, tile: int, overlap: int, hard: bool) -> None:
    stride = 8
    length, tile, overlap = length * stride, tile * stride, min(overlap, tile // 3) * stride
    starts = tile_starts(length, tile, overlap, stride)
    assert all(start % stride == 0 for start in starts)
    assert starts[-1] + tile == length or starts == (0,)
    assert all(after - before <= tile - overlap for before, after in pairwise(starts))
    for factor in (1.0, 0.5, 0.125):
        windows = axis_windows(length, starts, tile, overlap, factor, hard=hard)
        total = torch.zeros(round(length * factor))
        for start, window in zip(starts, windows, strict=True):
            total[round(start * factor) :][: len(window)] += window
        torch.testing.assert_close(total, torch.ones_like(total))
        assert windows.min() >= 0
        assert not hard or set(windows.unique().tolist()) <= {0.0, 1.0}


def test_oracle_maps_are_unchanged() -> None:
    def predict(images: Tensor) -> dict[str, Tensor]:
        return {"a": images.sin(), "low": functional.avg_pool2d(images, 8), "e": images.round()}

    image = torch.randn(1, 1, 200, 328)
    tiled = with_tiles(predict, SPEC, tile=96, stride=8)(image)
    for name, maps in predict(image).items():
        torch.testing.assert_close(tiled[name], maps, rtol=0, atol=1e-6)
    assert torch.equal(tiled["e"], image.round())


def test_a_convolutional_network_gives_the_same() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(layer for _ in range(3) for layer in (nn.Conv2d(1, 1, 3, padding=1), nn.ReLU())))

    def predict(images: Tensor) -> dict[str, Tensor]:
        assert max(images.shape[2:]) <= 128
        return {"a": net(images)}

    image = torch.randn(2, 1, 300 // 4 * 4, 420)
    with torch.inference_mode():
        tiled = with_tiles(predict, SPEC, tile=128, stride=4)(image)["a"]
        torch.testing.assert_close(tiled, net(image), rtol=0, atol=1e-6)


def test_an_image_within_a_tile_goes_whole() -> None:
    seen = []

    def predict(images: Tensor) -> dict[str, Tensor]:
        seen.append(images.shape)
        return {"a": images}

    image = torch.randn(1, 1, 96, 64)
    assert torch.equal(with_tiles(predict, SPEC, tile=96, stride=32)(image)["a"], image)
    assert seen == [(1, 1, 96, 64)]


def test_embeddings_are_those_of_one_tile() -> None:
    number = iter(range(100))

    def predict(images: Tensor) -> dict[str, Tensor]:
        return {"e": torch.full_like(images, next(number))}

    tiled = with_tiles(predict, SPEC, tile=64, stride=8)(torch.zeros(1, 1, 64, 200))["e"]
    assert set(tiled.unique().tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert (tiled.diff(dim=3) >= 0).all()


def test_tiles_that_are_too_small() -> None:
    with pytest.raises(ConfigError, match=r"tile: 64 pixels are too few .* use 96 or more"):
        with_tiles(lambda images: {}, SPEC, tile=64, stride=32)
    for tile in (0, -100):
        with pytest.raises(ConfigError, match=r"tile: .* are too few .* use 96 or more"):
            with_tiles(lambda images: {}, SPEC, tile=tile, stride=32)
