"""Instances: the cells of one image, as runs of pixels, and operations on them.

The computations are in :mod:`cytotome.ops`, which is imported on first use because it loads the compiler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cytotome.arrays import AnyArray, BoolArray, FloatArray, IntArray
from cytotome.errors import DataError
from cytotome.soft import SoftMasks

if TYPE_CHECKING:
    from cytotome.ops.labels import OverlapPolicy
    from cytotome.ops.matching import Overlaps


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """The N objects of one image as runs of pixels. They may overlap.

    A run ``[row, start, stop)`` is a horizontal piece of one mask. The runs of instance ``i`` are
    ``runs[offsets[i]:offsets[i + 1]]``, ordered by row, then start; they neither touch nor overlap each other. Create
    instances with :meth:`from_masks`, which keeps overlaps, :meth:`from_label_map`, :meth:`from_runs` or :meth:`empty`.

    ``len(cells)``, ``cells[i]``, ``cells[mask]`` and ``for cell in cells`` work as for a sequence, and return
    :class:`Instances`.

    Attributes:
        shape: ``(H, W)`` of the image.
        runs: ``(R, 3)`` int32, columns row, start, stop; 0 <= start < stop <= W.
        offsets: ``(N + 1,)`` int64.
        scores: ``(N,)`` float32 in [0, 1]; 1 for truth.
        classes: ``(N,)`` int32, index into ``class_names``, -1 if unknown.
        ids: ``(N,)`` int32, positive and unique.
        class_names: names of the classes (cell types).
        soft: the probabilities that the masks were computed from, if the method predicts them and the masks have not
            been changed since.
    """

    shape: tuple[int, int]
    runs: IntArray
    offsets: npt.NDArray[np.int64]
    scores: FloatArray
    classes: IntArray
    ids: IntArray
    class_names: tuple[str, ...] = ()
    soft: SoftMasks | None = None

    def __post_init__(self) -> None:
        count = len(self.offsets) - 1
        if count < 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.runs):
            raise DataError(f"instances: offsets must run from 0 to the number of runs ({len(self.runs)})")
        if self.runs.ndim != 2 or self.runs.shape[1] != 3:
            raise DataError(f"instances: runs must be (R, 3) of row, start, stop, got {self.runs.shape}")
        for name in ("scores", "classes", "ids"):
            if getattr(self, name).shape != (count,):
                raise DataError(f"instances: {name} must be ({count},), got {getattr(self, name).shape}")
        if self.soft is not None and len(self.soft) != count:
            raise DataError(f"instances: soft must contain {count} masks, one each, got {len(self.soft)}")
        if len(self.runs):
            rows, starts, stops = self.runs.T
            height, width = self.shape
            if rows.min() < 0 or rows.max() >= height or starts.min() < 0 or stops.max() > width:
                raise DataError(f"instances: a run exceeds the image of {height}x{width}")
            if (starts >= stops).any():
                raise DataError("instances: a run must have start < stop")

    @classmethod
    def from_runs(
        cls,
        shape: tuple[int, int],
        runs: AnyArray,
        offsets: AnyArray,
        *,
        scores: npt.ArrayLike | None = None,
        classes: npt.ArrayLike | None = None,
        ids: npt.ArrayLike | None = None,
        class_names: Sequence[str] = (),
    ) -> Instances:
        """Creates instances from canonical runs, with defaults for everything else.

        Args:
            shape: ``(H, W)`` of the image.
            runs: ``(R, 3)`` of row, start, stop, ordered as described for the class; see
                :func:`cytotome.ops.runs.merge_runs`.
            offsets: ``(N + 1,)``, start of the runs of each instance.
            scores: ``(N,)`` in [0, 1]; 1 by default.
            classes: ``(N,)`` indices into ``class_names``; by default 0 if there is one class name, else -1.
            ids: ``(N,)`` positive and unique; 1 to N by default.
            class_names: names of the classes.
        """
        count = len(offsets) - 1
        default_class = 0 if len(class_names) == 1 else -1
        return cls(
            shape=(int(shape[0]), int(shape[1])),
            runs=np.ascontiguousarray(runs, np.int32).reshape(-1, 3),
            offsets=np.asarray(offsets, np.int64),
            scores=np.ones(count, np.float32) if scores is None else np.asarray(scores, np.float32),
            classes=np.full(count, default_class, np.int32) if classes is None else np.asarray(classes, np.int32),
            ids=np.arange(1, count + 1, dtype=np.int32) if ids is None else np.asarray(ids, np.int32),
            class_names=tuple(class_names),
        )

    @classmethod
    def empty(cls, shape: tuple[int, int], class_names: Sequence[str] = ()) -> Instances:
        """Creates zero instances for an image of ``shape`` ``(H, W)``."""
        return cls.from_runs(shape, np.zeros((0, 3), np.int32), np.zeros(1, np.int64), class_names=class_names)

    @classmethod
    def from_masks(
        cls,
        masks: Sequence[AnyArray] | AnyArray,
        *,
        shape: tuple[int, int] | None = None,
        origins: AnyArray | Sequence[tuple[int, int]] | None = None,
        **attributes: Any,
    ) -> Instances:
        """Creates instances from masks, which may overlap: full-size masks, or crops with their origins.

        >>> import numpy as np
        >>> masks = np.zeros((2, 4, 6), bool)
        >>> masks[0, :3, :3] = masks[1, 1:, 2:] = True
        >>> cells = Instances.from_masks(masks, class_names=["cell"])
        >>> cells
        Instances(2 cells, 4x6, classes cell)
        >>> cells.areas.tolist()
        [9, 12]

        Args:
            masks: ``(N, H, W)`` array or a list of N two-dimensional arrays, non-zero inside the mask.
            shape: ``(H, W)`` of the image; by default the shape of the masks, if ``origins`` is None.
            origins: ``(N, 2)``, upper left corner y, x of each crop; pixels outside the image are cut off.
            **attributes: scores, classes, ids and class_names, as in :meth:`from_runs`.

        Raises:
            DataError: if masks are not two-dimensional or differ in size, or if there is neither a mask nor a shape.
        """
        from cytotome.ops.runs import masks_to_runs

        return cls.from_runs(*masks_to_runs(masks, shape, origins), **attributes)

    @classmethod
    def from_label_map(cls, labels: AnyArray, **attributes: Any) -> Instances:
        """Creates instances from a label map. Each label is one instance, even if it has several parts.

        >>> Instances.from_label_map(np.array([[0, 2, 2], [5, 5, 0]])).ids.tolist()
        [2, 5]

        Args:
            labels: ``(H, W)`` integers, 0 is background; labels may have gaps.
            **attributes: scores, classes and class_names, by increasing label, as in :meth:`from_runs`. ``ids`` are the
                labels.

        Raises:
            DataError: if the array is not two-dimensional, of a float type or has negative labels.
        """
        from cytotome.ops.labels import label_runs

        labels = np.asarray(labels)
        runs, offsets, ids = label_runs(labels)
        return cls.from_runs((labels.shape[0], labels.shape[1]), runs, offsets, ids=ids, **attributes)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """``(N,)`` int64, number of pixels of each mask."""
        total = np.zeros(len(self.runs) + 1, np.int64)
        np.cumsum(self.runs[:, 2] - self.runs[:, 1], out=total[1:])
        return total[self.offsets[1:]] - total[self.offsets[:-1]]

    @property
    def boxes(self) -> IntArray:
        """``(N, 4)`` int32 of ``y0, x0, y1, x1``, half open; zeros for an empty mask."""
        boxes = np.zeros((len(self), 4), np.int32)
        filled = self.offsets[1:] > self.offsets[:-1]
        if filled.any():
            first = self.offsets[:-1][filled]
            last = self.offsets[1:][filled] - 1
            boxes[filled, 0] = self.runs[first, 0]
            boxes[filled, 2] = self.runs[last, 0] + 1
            boxes[filled, 1] = np.minimum.reduceat(self.runs[:, 1], first)
            boxes[filled, 3] = np.maximum.reduceat(self.runs[:, 2], first)
        return boxes

    def __iter__(self) -> Iterator[Instances]:
        """Iterates over the instances, each as :class:`Instances` of length 1."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice | BoolArray | npt.NDArray[np.int64] | Sequence[int]) -> Instances:
        """Selects instances by position (:class:`Instances` of length 1), slice, boolean mask or array of positions.

        Raises:
            IndexError: if a position is out of range or a boolean mask has the wrong length.
        """
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        return self.select(np.atleast_1d(np.arange(len(self))[index]))

    def __repr__(self) -> str:
        height, width = self.shape
        classes = f", classes {'/'.join(self.class_names)}" if self.class_names else ""
        return f"Instances({len(self)} cells, {height}x{width}{classes})"

    def _repr_png_(self) -> bytes | None:
        """The cells in colours, for notebooks; None if the image is too large to display."""
        from cytotome.ops.pictures import encode_png, fits_notebook, picture_of_cells

        return encode_png(*picture_of_cells(self)) if fits_notebook(self.shape) else None

    def masks(self) -> BoolArray:
        """Returns ``(N, H, W)`` bool, the full-size mask of each instance, with overlaps.

        This takes N times the memory of the image; :func:`cytotome.ops.runs.mask_crop` returns one mask inside its box.
        """
        height, width = self.shape
        change = np.zeros((len(self), height, width + 1), np.int8)
        owners = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        change[owners, self.runs[:, 0], self.runs[:, 1]] += 1
        change[owners, self.runs[:, 0], self.runs[:, 2]] -= 1
        return np.cumsum(change, axis=2, dtype=np.int8)[:, :, :-1].astype(bool)

    def to_label_map(self, policy: OverlapPolicy = "area") -> IntArray:
        """Returns the ``(H, W)`` int32 label map of the ids; 0 is background.

        Args:
            policy: which instance gets a shared pixel. ``area``: the smaller one. ``score``: the one with the higher
                score. ``drop``: as ``score``, but an instance that would lose more than 20 % of its pixels is left out.

        Raises:
            DataError: if the policy is unknown.
        """
        from cytotome.ops.labels import to_label_map

        return to_label_map(self, policy)

    def overlaps(self, truth: Instances) -> Overlaps:
        """Returns the pairs of these instances and those of ``truth`` that share a pixel, with their IoU.

        Raises:
            DataError: if the image sizes differ.
        """
        from cytotome.ops.matching import find_overlaps

        return find_overlaps(self, truth)

    def majority_class(self) -> int:
        """Returns the class with the largest sum of scores, -1 if no instance has a known class."""
        known = self.classes >= 0
        if not known.any():
            return -1
        votes = np.bincount(self.classes[known], self.scores[known] + 1e-9, len(self.class_names))
        return int(votes.argmax())

    def renumbered(self) -> Instances:
        """Returns the instances with ids 1 to N, in order."""
        return replace(self, ids=np.arange(1, len(self) + 1, dtype=np.int32))

    def select(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | Sequence[int]) -> Instances:
        """Returns the instances at ``index``, a boolean mask or positions, in the order given."""
        chosen = np.asarray(index)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64, copy=False)
        counts = (self.offsets[1:] - self.offsets[:-1])[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.repeat(self.offsets[:-1][chosen] - offsets[:-1], counts) + np.arange(offsets[-1])
        return replace(
            self,
            runs=self.runs[rows],
            offsets=offsets,
            scores=self.scores[chosen],
            classes=self.classes[chosen],
            ids=self.ids[chosen],
            soft=None if self.soft is None else self.soft.select(chosen),
        )
