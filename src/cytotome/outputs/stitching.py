"""Large images in overlapping tiles, for networks that predict instances: no cell is cut or duplicated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cytotome.ops.runs import intersections
from cytotome.ops.soft_masks import from_crops, joined, moved, paste, pixel_crop
from cytotome.ops.suppression import IouGraph, nms
from cytotome.outputs.tiling import TileWatch, tile_and_overlap, tile_starts
from cytotome.types import AnyArray, BoolArray, Instances, SoftMasks

InstancePredictor: TypeAlias = Callable[[Tensor], list[Instances]]
"""Predicts the instances of each of ``(B, C, H, W)`` images, with soft masks."""

EDGE = 2
"""Distance in pixels from a tile's inner edge within which a mask counts as cut by it."""
SAME = 0.5
"""Instances of two tiles that share a larger fraction of their pixels are the same."""


@dataclass(frozen=True)
class Tile:
    """Position of a tile: upper left corner and size, in pixels of the image."""

    top: int
    left: int
    height: int
    width: int


def with_stitched_tiles(
    predict: InstancePredictor, *, tile: int, stride: int, watch: TileWatch | None = None
) -> InstancePredictor:
    """Returns a predictor that processes tiles of at most ``tile`` x ``tile`` pixels, which overlap by a quarter.

    Args:
        predict: the network.
        tile: side in pixels, rounded up to a multiple of ``stride``.
        stride: sides of images and positions of tiles are multiples of this.
        watch: called after each tile.

    Raises:
        ConfigError: if tiles are too small to overlap by one stride.
    """
    tile, overlap = tile_and_overlap(tile, stride, shared=4, overlaps=2)

    def predict_tiles(images: Tensor) -> list[Instances]:
        height, width = int(images.shape[2]), int(images.shape[3])
        rows, columns = tile_starts(height, tile, overlap, stride), tile_starts(width, tile, overlap, stride)
        if len(rows) == len(columns) == 1:
            return predict(images)
        places = [Tile(y, x, min(tile, height), min(tile, width)) for y in rows for x in columns]
        parts = []
        for done, p in enumerate(places, start=1):
            parts.append(predict(images[:, :, p.top : p.top + p.height, p.left : p.left + p.width]))
            if watch:
                watch(done, len(places))
        return [stitch([part[index] for part in parts], places, (height, width)) for index in range(len(images))]

    return predict_tiles


def stitch(parts: Sequence[Instances], tiles: Sequence[Tile], shape: tuple[int, int]) -> Instances:
    """Merges the instances of all tiles to those of one image.

    An instance that is complete in two tiles is taken from the one with the higher score. One that is cut by an inner
    edge is replaced by a complete one of another tile that contains most of it. If it is not complete in any tile, its
    pieces are joined if they agree where their tiles overlap.

    Args:
        parts: instances of each tile, in pixels of the tile, with soft masks.
        tiles: positions of the tiles.
        shape: ``(H, W)`` of the image.
    """
    whole_image = _placed(parts, tiles, shape)
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    cut = _is_cut(whole_image, owners, tiles, shape)
    first, second, shared = intersections(whole_image, whole_image)
    apart = owners[first] != owners[second]
    first, second, shared = first[apart], second[apart], shared[apart]
    areas = np.maximum(whole_image.areas, 1)
    kept = _best_whole(whole_image, cut, first, second, shared / np.minimum(areas[first], areas[second]))
    covered = np.zeros(len(whole_image), bool)
    covered[first[cut[first] & kept[second] & (shared > SAME * areas[first])]] = True
    loose = cut & ~covered
    pairs = [
        (int(i), int(j))
        for i, j, pixels in zip(first, second, shared, strict=True)
        if i < j and loose[i] and loose[j] and _agree(whole_image, int(i), int(j), int(pixels), owners, tiles)
    ]
    return _with_joined_pieces(whole_image, kept | loose, pairs)


def _placed(parts: Sequence[Instances], tiles: Sequence[Tile], shape: tuple[int, int]) -> Instances:
    soft = joined([moved(_soft(part), by=(tile.top, tile.left)) for part, tile in zip(parts, tiles, strict=True)])
    runs, offsets, _ = paste(soft, shape)
    scores, classes = (np.concatenate([getattr(part, name) for part in parts]) for name in ("scores", "classes"))
    names = parts[0].class_names
    return replace(
        Instances.from_runs(shape, runs, offsets, scores=scores, classes=classes, class_names=names), soft=soft
    )


def _soft(instances: Instances) -> SoftMasks:
    assert instances.soft is not None, "instances of tiles are stitched by their soft masks"
    return instances.soft


def _is_cut(instances: Instances, owners: AnyArray, tiles: Sequence[Tile], shape: tuple[int, int]) -> BoolArray:
    """Whether each instance reaches an edge of its tile that is not an edge of the image."""
    low = np.array([(tile.top, tile.left) for tile in tiles]).reshape(-1, 2)[owners]
    size = np.array([(tile.height, tile.width) for tile in tiles]).reshape(-1, 2)[owners]
    boxes = instances.boxes
    at_low = (boxes[:, :2] <= low + EDGE) & (low > 0)
    at_high = (boxes[:, 2:] >= low + size - EDGE) & (low + size < np.array(shape))
    result: BoolArray = (at_low | at_high).any(axis=1)
    return result


def _best_whole(
    instances: Instances, cut: BoolArray, first: AnyArray, second: AnyArray, share: npt.NDArray[np.float64]
) -> BoolArray:
    """The complete instances, without those that are the same as an instance of another tile with a higher score."""
    among = ~cut[first] & ~cut[second]
    offsets = np.zeros(len(instances) + 1, np.int64)
    np.cumsum(np.bincount(first[among], minlength=len(instances)), out=offsets[1:])
    return nms(instances.scores, IouGraph(offsets, second[among].astype(np.int32), share[among]), SAME) & ~cut


def _agree(instances: Instances, i: int, j: int, shared: int, owners: AnyArray, tiles: Sequence[Tile]) -> bool:
    """Whether two pieces agree where their tiles overlap."""
    a, b = tiles[owners[i]], tiles[owners[j]]
    top, left = max(a.top, b.top), max(a.left, b.left)
    bottom, right = min(a.top + a.height, b.top + b.height), min(a.left + a.width, b.left + b.width)
    least = min(_pixels_inside(instances, index, top, left, bottom, right) for index in (i, j))
    return least > 0 and shared > SAME * least


def _pixels_inside(instances: Instances, index: int, top: int, left: int, bottom: int, right: int) -> int:
    runs = instances.runs[instances.offsets[index] : instances.offsets[index + 1]]
    runs = runs[(runs[:, 0] >= top) & (runs[:, 0] < bottom)]
    return int((runs[:, 2].clip(left, right) - runs[:, 1].clip(left, right)).sum())


def _with_joined_pieces(instances: Instances, keep: BoolArray, pairs: Sequence[tuple[int, int]]) -> Instances:
    """The remaining instances; those connected by pairs are merged, with the maximum probability at each pixel."""
    group = np.arange(len(instances))
    for i, j in pairs:
        group[group == group[j]] = group[i]
    members = [np.flatnonzero(group == value) for value in np.unique(group[[i for i, _ in pairs]])]
    alone = keep.copy()
    for member in members:
        alone[member] = False
    single = instances.select(alone)
    crops, origins = [], []
    for member in members:
        crop, origin = _greatest(instances, member)
        crops.append(crop)
        origins.append(origin)
    best = [int(member[instances.scores[member].argmax()]) for member in members]
    soft = joined([_soft(single), from_crops(crops, np.array(origins).reshape(-1, 2))])
    runs, offsets, _ = paste(soft, instances.shape)
    return replace(
        Instances.from_runs(
            instances.shape,
            runs,
            offsets,
            scores=np.concatenate([single.scores, instances.scores[best]]),
            classes=np.concatenate([single.classes, instances.classes[best]]),
            class_names=instances.class_names,
        ),
        soft=soft,
    )


def _greatest(instances: Instances, members: AnyArray) -> tuple[AnyArray, tuple[int, int]]:
    crops = [pixel_crop(_soft(instances), int(index), instances.shape) for index in members]
    top, left = (min(origin[axis] for _, origin in crops) for axis in (0, 1))
    bottom, right = (max(origin[axis] + crop.shape[axis] for crop, origin in crops) for axis in (0, 1))
    whole = np.zeros((bottom - top, right - left), np.float32)
    for crop, (y, x) in crops:
        place = whole[y - top : y - top + crop.shape[0], x - left : x - left + crop.shape[1]]
        np.maximum(place, crop, out=place)
    return whole, (top, left)
