"""Sampling of the pixels of one image that a contrastive loss compares.

A sampler takes ``labels`` ``(H, W)`` integers (0 is background) and ``valid`` ``(H, W)`` bool, and returns flat
positions of at most ``most`` valid pixels. All use torch's CPU random generator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sample_uniform(labels: Tensor, valid: Tensor, most: int) -> Tensor:
    """Up to ``most`` pixels, sampled uniformly."""
    return _at_most(valid, most)


def sample_window(labels: Tensor, valid: Tensor, most: int, side: int) -> Tensor:
    """Up to ``most`` pixels of a square window of ``side`` pixels around a uniformly sampled pixel.

    The window is moved into the image as far as possible.
    """
    height, width = labels.shape
    top = int(torch.randint(max(1, height - side + 1), ()))
    left = int(torch.randint(max(1, width - side + 1), ()))
    return _at_most(_in_box(valid, top, left, top + side, left + side), most)


def sample_box(labels: Tensor, valid: Tensor, most: int, padding: int) -> Tensor:
    """Up to ``most`` pixels of the box of one cell, sampled uniformly over cells and padded on all sides.

    Without cells, like :func:`sample_window` with a side of twice the padding.
    """
    cells = _cells(labels, valid)
    if len(cells) == 0:
        return sample_window(labels, valid, most, 2 * padding)
    ys, xs = torch.nonzero(labels == cells[int(torch.randint(len(cells), ()))], as_tuple=True)
    top, left = int(ys.min()) - padding, int(xs.min()) - padding
    return _at_most(_in_box(valid, top, left, int(ys.max()) + 1 + padding, int(xs.max()) + 1 + padding), most)


def sample_contours(labels: Tensor, valid: Tensor, most: int, cells: int, kernel: int = 7) -> Tensor:
    """Up to ``most`` pixels of the bands around the outlines of up to ``cells`` cells.

    A band is the cell dilated by a square of ``kernel`` pixels, minus the cell eroded by it; it contains pixels of the
    cell, of the background and of neighbours. Without cells, pixels of the whole image.
    """
    present = _cells(labels, valid)
    if len(present) == 0:
        return sample_uniform(labels, valid, most)
    chosen = present[torch.randperm(len(present))[:cells].to(present.device)]
    # A pixel is in the band of a cell if the square around it contains the cell and anything else.
    planes = labels.float()
    seen = _greatest(torch.isin(labels, chosen).float(), kernel) > 0
    mixed = _greatest(planes, kernel) != -_greatest(-planes, kernel)
    return _at_most(seen & mixed & valid, most)


def _greatest(plane: Tensor, kernel: int) -> Tensor:
    """Maximum over the square of ``kernel`` pixels around each pixel of ``(H, W)``."""
    rows = functional.max_pool2d(plane[None, None], (kernel, 1), 1, (kernel // 2, 0))
    return functional.max_pool2d(rows, (1, kernel), 1, (0, kernel // 2))[0, 0]


def _cells(labels: Tensor, valid: Tensor) -> Tensor:
    present = torch.unique(labels[valid])
    cells: Tensor = present[present > 0]
    return cells


def _in_box(valid: Tensor, top: int, left: int, bottom: int, right: int) -> Tensor:
    inside = torch.zeros_like(valid)
    top, left = max(0, top), max(0, left)
    inside[top:bottom, left:right] = valid[top:bottom, left:right]
    return inside


def _at_most(mask: Tensor, most: int) -> Tensor:
    positions = torch.nonzero(mask.reshape(-1))[:, 0]
    if len(positions) <= most:
        return positions
    chosen: Tensor = positions[torch.randperm(len(positions))[:most].to(positions.device)]
    return chosen
