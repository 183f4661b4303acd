"""The eight symmetries of the square, applied to the masks of instances."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cytotome.ops.runs import merge_runs
from cytotome.ops.transpose import transpose
from cytotome.soft import SoftMasks

if TYPE_CHECKING:
    from cytotome.types import Instances


def flip(instances: Instances, *, y: bool = False, x: bool = False) -> Instances:
    """Flips instances, including soft masks, along rows (``y``) and columns (``x``)."""
    if not (y or x):
        return instances
    height, width = instances.shape
    row, start, stop = instances.runs.T
    row = height - 1 - row if y else row
    start, stop = (width - stop, width - start) if x else (start, stop)
    owners = np.repeat(np.arange(len(instances)), np.diff(instances.offsets))
    runs, offsets = merge_runs(np.stack([row, start, stop], axis=1), owners, len(instances))
    soft = None if instances.soft is None else _flip_soft(instances.soft, instances.shape, y, x)
    return replace(instances, runs=runs, offsets=offsets, soft=soft)


def undo_symmetry(instances: Instances, *, transposed: bool, flip_y: bool, flip_x: bool) -> Instances:
    """Maps instances of an image that was transposed and then flipped back to the original image."""
    flipped = flip(instances, y=flip_y, x=flip_x)
    if not transposed:
        return flipped
    soft = None if flipped.soft is None else _transpose_soft(flipped.soft)
    return replace(transpose(flipped), soft=soft)


def _flip_soft(soft: SoftMasks, shape: tuple[int, int], y: bool, x: bool) -> SoftMasks:
    boxes = soft.boxes.copy()
    if y:
        boxes[:, 0], boxes[:, 2] = shape[0] - soft.boxes[:, 2], shape[0] - soft.boxes[:, 0]
    if x:
        boxes[:, 1], boxes[:, 3] = shape[1] - soft.boxes[:, 3], shape[1] - soft.boxes[:, 1]
    steps = (-1 if y else 1, -1 if x else 1)
    grids = [soft.grid(index)[:: steps[0], :: steps[1]].reshape(-1) for index in range(len(soft))]
    return SoftMasks(np.concatenate([np.zeros(0, np.float32), *grids]), soft.sizes, boxes)


def _transpose_soft(soft: SoftMasks) -> SoftMasks:
    grids = [soft.grid(index).T.reshape(-1) for index in range(len(soft))]
    values = np.concatenate([np.zeros(0, np.float32), *grids])
    return SoftMasks(values, soft.sizes[:, ::-1].copy(), soft.boxes[:, [1, 0, 3, 2]])
