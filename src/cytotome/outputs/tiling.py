"""Large images in overlapping tiles, blended with smooth windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from cytotome.errors import ConfigError
from cytotome.outputs.tta import Predictor
from cytotome.types import OutputSpec

TILE = 1536
"""Default side of a tile in pixels of the network's input; images up to this size are not tiled."""
TileWatch: TypeAlias = Callable[[int, int], None]
"""Called with the number of finished tiles of an image, and the number of all tiles."""


def with_tiles(
    predict: Predictor, specs: Sequence[OutputSpec], *, tile: int, stride: int, watch: TileWatch | None = None
) -> Predictor:
    """Returns a predictor that processes tiles of at most ``tile`` x ``tile`` pixels.

    Neighbours overlap by at least an eighth of a tile. In the overlap, a tile's weight is 0 in the outer quarter, where
    context is missing, and rises smoothly to 1 over the middle half; weights sum to 1 everywhere. So the result equals
    that of the whole image if the receptive field reaches no further than a 32nd of a tile. Embeddings are not blended:
    each pixel has those of the tile with the highest weight.

    Args:
        predict: the network.
        specs: specs of its maps.
        tile: side in pixels, rounded up to a multiple of ``stride``.
        stride: sides of images and positions of tiles are multiples of this.
        watch: called after each tile.

    Raises:
        ConfigError: if tiles are too small to overlap by one stride.
    """
    tile, overlap = tile_and_overlap(tile, stride, shared=8, overlaps=3)
    kinds = {spec.name: spec.kind for spec in specs}

    def predict_tiles(images: Tensor) -> dict[str, Tensor]:
        height, width = images.shape[2:]
        rows, columns = tile_starts(height, tile, overlap, stride), tile_starts(width, tile, overlap, stride)
        if len(rows) == len(columns) == 1:
            return dict(predict(images))
        blended: dict[str, Tensor] = {}
        windows: dict[str, tuple[Tensor, Tensor]] = {}
        for row, top in enumerate(rows):
            for column, left in enumerate(columns):
                maps = predict(images[:, :, top : top + tile, left : left + tile])
                for name, part in maps.items():
                    factor = part.shape[2] / min(tile, height)
                    if name not in blended:
                        shape = (*part.shape[:2], round(height * factor), round(width * factor))
                        blended[name] = part.new_zeros(shape, dtype=torch.float32)
                        hard = kinds[name] == "embedding"
                        down = axis_windows(height, rows, tile, overlap, factor, hard=hard)
                        across = axis_windows(width, columns, tile, overlap, factor, hard=hard)
                        windows[name] = down.to(part.device)[:, :, None], across.to(part.device)
                    y, x = round(top * factor), round(left * factor)
                    place = blended[name][:, :, y : y + part.shape[2], x : x + part.shape[3]]
                    place += part.float() * windows[name][0][row] * windows[name][1][column]
                if watch:
                    watch(row * len(columns) + column + 1, len(rows) * len(columns))
        return blended

    return predict_tiles


def round_up(length: int, stride: int) -> int:
    """Rounds up to a multiple of ``stride``."""
    return -(-length // stride) * stride


def tile_and_overlap(tile: int, stride: int, *, shared: int, overlaps: int) -> tuple[int, int]:
    """Side and minimum overlap of tiles, in pixels: multiples of ``stride``.

    Args:
        tile: requested side.
        stride: stride of the network.
        shared: neighbours overlap by 1 / ``shared`` of a tile's side.
        overlaps: number of overlaps that must fit into a tile.

    Raises:
        ConfigError: if tiles are too small to overlap by one stride.
    """
    tile = round_up(tile, stride)
    overlap = round_up(tile // shared, stride)
    if tile < max(1, overlaps * overlap):
        raise ConfigError(f"tile: {tile} pixels are too few for this network; use {overlaps * stride} or more")
    return tile, overlap


def tile_starts(length: int, tile: int, overlap: int, stride: int) -> tuple[int, ...]:
    """Starts of tiles along an axis: multiples of ``stride``; the last tile ends with the axis."""
    if length <= tile:
        return (0,)
    step = max(stride, (tile - overlap) // stride * stride)
    return (*range(0, length - tile, step), length - tile)


def axis_windows(
    length: int, starts: Sequence[int], tile: int, overlap: int, factor: float, *, hard: bool = False
) -> Tensor:
    """``(tiles, size)`` float32 weights along an axis; those of all tiles at one position sum to 1.

    Args:
        length, starts, tile, overlap: in pixels of the network's input, as in :func:`tile_starts`.
        factor: resolution of the maps relative to the input; ``size`` is that of a tile's map.
        hard: use weights of 0 and 1.
    """
    size, total = round(min(tile, length) * factor), round(length * factor)
    places = [round(start * factor) for start in starts]
    margin, ramp = overlap * factor / 4, overlap * factor / 2
    from_start = torch.arange(size, dtype=torch.float64) + 0.5
    weights = torch.zeros(len(starts), total, dtype=torch.float64)
    for index, place in enumerate(places):
        window = torch.ones(size, dtype=torch.float64)
        if place > 0:
            window *= _rise((from_start - margin) / ramp)
        if place + size < total:
            window *= _rise((size - from_start - margin) / ramp)
        weights[index, place : place + size] = window
    if hard:
        weights = torch.nn.functional.one_hot(weights.argmax(dim=0), len(starts)).T.double()
    weights = weights / weights.sum(dim=0)
    return torch.stack([row[place : place + size] for row, place in zip(weights, places, strict=True)]).float()


def _rise(x: Tensor) -> Tensor:
    """Smooth step from 0 at x <= 0 to 1 at x >= 1."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
