"""Checks that a label map numbers cells, and is not a black and white mask, a map of classes or a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cytotome.arrays import AnyArray
from cytotome.ops.kernels import kernel

if TYPE_CHECKING:
    from cytotome.types import Instances

MANY_PARTS = 4
"""Number of parts from which on a label is treated as many cells; a cell split by others has two or three."""
PART_SHARE = 0.25
"""Parts smaller than this share of the largest part of their label are not counted."""
FEW_LABELS, FULL = 8, 0.9
"""Maximum number of classes of a class map, and minimum share of pixels covered by a picture. Other maps, such as the
fragments that a model finds in noise, are only refused for five times as many parts."""
SATURATED = (2**8 - 1, 2**16 - 1)
"""White in a black and white mask, and -1 if it was stored as unsigned."""


def label_fault(instances: Instances) -> str:
    """Returns why the instances of a label map are not cells, and what to do; empty if no problem is found.

    A cell has one part, or a few if others split it. So it is an error if a map has one label, of at least
    :data:`MANY_PARTS` parts (two if the label is 255 or 65535, as in black and white masks), or several labels, half of
    which have that many parts (five times as many, unless the labels are few or leave hardly any background, as classes
    and images do). It is also an error if a label that covers most of the image and reaches all of its edges must be
    the background: no pixel is 0, or the label is an unsigned -1.

    Args:
        instances: as returned by :meth:`cytotome.types.Instances.from_label_map`; ids are the labels.
    """
    if len(instances) == 0:
        return ""
    largest = int(np.argmax(instances.areas))
    if len(instances) > 1 and _is_background(instances, largest):
        return (
            f"its label {instances.ids[largest]} covers most of the image and reaches all of its edges, "
            "as a background does; give the background the number 0"
        )
    parts = count_parts(instances)
    if len(instances) == 1:
        if parts[0] >= (2 if instances.ids[0] in SATURATED else MANY_PARTS):
            return (
                f"all cells share one mask (black and white): its only label {instances.ids[0]} lies in {parts[0]} "
                "places; give each cell a number of its own, as skimage.measure.label does"
            )
    else:
        full = instances.areas.sum() > FULL * instances.shape[0] * instances.shape[1]
        limit = MANY_PARTS if full or len(instances) <= FEW_LABELS else 5 * MANY_PARTS
        if np.median(parts) >= limit:
            return (
                f"a cell has a number of its own, but most of its {len(instances)} labels lie in {limit} places or "
                "more; this looks like an image or a map of classes"
            )
    return ""


def _is_background(instances: Instances, index: int) -> bool:
    height, width = instances.shape
    covers = instances.areas[index] > height * width / 2
    reaches = instances.boxes[index].tolist() == [0, 0, height, width]
    full = instances.areas.sum() == height * width
    return bool(covers and reaches and (full or instances.ids[index] in SATURATED))


def count_parts(instances: Instances, share: float = PART_SHARE) -> npt.NDArray[np.int64]:
    """``(N,)`` int64, the number of 8-connected parts of each mask with at least ``share`` of the size of its largest
    part.
    """
    return _count_parts(instances.runs, instances.offsets, share)


@kernel
def _count_parts(runs: AnyArray, offsets: AnyArray, share: float) -> AnyArray:
    """``(N,)`` int64 of runs ``(R, 3)`` and offsets ``(N + 1,)``, see :func:`count_parts`."""
    counts = np.zeros(len(offsets) - 1, np.int64)
    for i in range(len(counts)):
        own = runs[offsets[i] : offsets[i + 1]]
        parent = np.arange(len(own))
        above = 0
        for k in range(len(own)):
            row, start, stop = own[k]
            while own[above, 0] < row - 1 or (own[above, 0] == row - 1 and own[above, 2] < start):
                above += 1
            j = above
            while own[j, 0] == row - 1 and own[j, 1] <= stop:
                _join(parent, j, k)
                j += 1
        areas = np.zeros(len(own), np.int64)
        for k in range(len(own)):
            areas[_root(parent, k)] += own[k, 2] - own[k, 1]
        if len(own):
            counts[i] = np.count_nonzero(areas >= max(1.0, share * areas.max()))
    return counts


@kernel
def _root(parent: AnyArray, k: int) -> int:
    """Returns the root of ``k`` in a forest of parents ``(K,)``, with path halving."""
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@kernel
def _join(parent: AnyArray, j: int, k: int) -> None:
    """Joins the trees of ``j`` and ``k`` in a forest of parents ``(K,)``."""
    first, second = _root(parent, j), _root(parent, k)
    parent[max(first, second)] = min(first, second)
