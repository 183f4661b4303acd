"""The instances of several models for one image in one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cytotome.arrays import FloatArray, IntArray
from cytotome.errors import ConfigError, DataError
from cytotome.ops.soft_masks import joined
from cytotome.soft import SoftMasks

if TYPE_CHECKING:
    from cytotome.types import Instances


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The concatenated instances of M models.

    Attributes:
        instances: all instances, with the union of the models' class names.
        models: ``(N,)`` int64, the model of each instance.
        weights: ``(M,)`` float64, positive.
    """

    instances: Instances
    models: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]


def stack(predictions: Sequence[Instances], weights: Sequence[float] | None = None) -> Stack:
    """Concatenates the predictions of M models for one image.

    Args:
        predictions: one or more, of the same size.
        weights: weights of the models; 1 by default.

    Raises:
        ConfigError: if there is no prediction, or the weights are not one positive number per model.
        DataError: if sizes differ.
    """
    if not predictions:
        raise ConfigError("fusion: needs the instances of one model or more, got none")
    if weights is not None and (len(weights) != len(predictions) or not all(weight > 0 for weight in weights)):
        raise ConfigError(f"fusion: weights must be {len(predictions)} positive numbers, got {list(weights)}")
    shapes = {found.shape for found in predictions}
    if len(shapes) > 1:
        raise DataError(f"fusion: the models' instances belong to images of different sizes: {sorted(shapes)}")
    names = tuple(dict.fromkeys(name for found in predictions for name in found.class_names))
    count = sum(len(found) for found in predictions)
    sizes = [len(found.runs) for found in predictions]
    offsets = [found.offsets[1:] + before for found, before in zip(predictions, np.cumsum([0, *sizes]), strict=False)]
    instances = replace(
        predictions[0],
        runs=np.concatenate([found.runs for found in predictions]),
        offsets=np.concatenate([np.zeros(1, np.int64), *offsets]),
        scores=np.concatenate([found.scores for found in predictions]),
        classes=np.concatenate([_renamed(found, names) for found in predictions]),
        ids=np.arange(1, count + 1, dtype=np.int32),
        class_names=names,
        soft=_soft(predictions),
    )
    models = np.repeat(np.arange(len(predictions)), [len(found) for found in predictions])
    return Stack(instances, models, np.ones(len(predictions)) if weights is None else np.array(weights, np.float64))


def _renamed(found: Instances, names: tuple[str, ...]) -> IntArray:
    lookup = np.array([*(names.index(name) for name in found.class_names), -1], np.int32)
    return lookup[found.classes]


def _soft(predictions: Sequence[Instances]) -> SoftMasks | None:
    """Soft masks of all instances, with an empty grid for those without one; None if no model has any."""
    if all(found.soft is None for found in predictions):
        return None
    return joined([_no_cells(len(found)) if found.soft is None else found.soft for found in predictions])


def _no_cells(count: int) -> SoftMasks:
    nothing: FloatArray = np.zeros(0, np.float32)
    return SoftMasks(nothing, np.zeros((count, 2), np.int32), np.zeros((count, 4), np.float32))
