"""Large images in tiles that are decoded separately, since embeddings are not comparable across tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cytotome.errors import ConfigError
from cytotome.ops.runs import mask_crop
from cytotome.ops.soft_masks import from_crops
from cytotome.outputs.stitching import Tile, stitch
from cytotome.outputs.tiling import TileWatch, tile_starts
from cytotome.types import FloatArray, Instances

SHARED = 4
"""Neighbouring tiles overlap by 1 / ``SHARED`` of their side."""


def segment_in_tiles(
    planes: FloatArray, segment: Callable[[FloatArray], Instances], side: int, watch: TileWatch | None = None
) -> Instances:
    """Segments an image in tiles of at most ``side`` x ``side`` pixels.

    Args:
        planes: ``(C, H, W)`` float32, normalised as one image.
        segment: network and decoder, converts ``(C, h, w)`` to instances.
        side: side of a tile in pixels of the image.
        watch: called after each tile.

    Raises:
        ConfigError: if tiles are too small to overlap.
    """
    overlap = side // SHARED
    if overlap < 8:
        raise ConfigError(f"tile: {side} pixels of the image are too few to decode tiles; use {8 * SHARED} or more")
    shape = (planes.shape[1], planes.shape[2])
    rows, columns = (tile_starts(length, side, overlap, 1) for length in shape)
    tiles = [Tile(y, x, min(side, shape[0]), min(side, shape[1])) for y in rows for x in columns]
    parts = []
    for done, one in enumerate(tiles, start=1):
        seen = planes[:, one.top : one.top + one.height, one.left : one.left + one.width]
        parts.append(_with_soft_masks(segment(seen)))
        if watch:
            watch(done, len(tiles))
    stitched = stitch(parts, tiles, shape)
    return replace(stitched, soft=None).renumbered()


def _with_soft_masks(instances: Instances) -> Instances:
    crops = [mask_crop(instances, index) for index in range(len(instances))]
    origins = np.array([origin for _, origin in crops]).reshape(-1, 2)
    return replace(instances, soft=from_crops([crop for crop, _ in crops], origins))
