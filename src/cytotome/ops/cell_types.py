"""Types of instances and of whole images: from maps, from scores, and under other names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from cytotome.arrays import AnyArray, FloatArray, Int64Array, IntArray
from cytotome.ops.labels import label_means

if TYPE_CHECKING:
    from cytotome.contract import DecodeParameters
    from cytotome.types import Instances

Parameters = TypeVar("Parameters", bound="DecodeParameters")


FEATURES = ("log count", "log median area", "spread of log area", "median elongation", "covered part", "mean score")
"""What :func:`population` measures of the cells of an image."""


def with_classes(instances: Instances, class_names: tuple[str, ...]) -> Instances:
    """The same instances with classes as positions in ``class_names``; -1 where a name is not among them.

    Where there is one class name, every instance is of it.
    """
    if len(class_names) == 1:
        classes = np.zeros(len(instances), np.int32)
    else:
        places = {name: index for index, name in enumerate(class_names)}
        table = np.array([places.get(name, -1) for name in instances.class_names] + [-1], np.int32)
        classes = table[instances.classes]
    return replace(instances, classes=classes, class_names=class_names)


def class_plane(labels: IntArray, classes: IntArray) -> Int64Array:
    """``(1, H, W)`` int64, the class of each pixel's instance; -1 outside instances and where it is unknown.

    Args:
        labels: ``(H, W)`` int32, position of the instance + 1, 0 is background.
        classes: ``(N,)`` int32 of the instances.
    """
    plane: Int64Array = np.concatenate([[-1], classes]).astype(np.int64)[labels][None]
    return plane


def one_hot(plane: AnyArray, count: int) -> FloatArray:
    """``(count, H, W)`` float32, 1 where ``plane`` ``(1, H, W)`` has the number of the channel, 0 elsewhere."""
    hot: FloatArray = (plane == np.arange(count)[:, None, None]).astype(np.float32)
    return hot


def population(instances: Instances) -> npt.NDArray[np.float64]:
    """``(6,)`` float64: :data:`FEATURES` of the cells of one image; zeros for none."""
    if len(instances) == 0:
        return np.zeros(len(FEATURES))
    areas = np.maximum(instances.areas, 1).astype(np.float64)
    boxes = instances.boxes.astype(np.float64)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    height, width = instances.shape
    return np.array(
        [
            np.log1p(1e5 * len(instances) / (height * width)),
            np.log(np.median(areas)),
            np.log(areas).std(),
            np.median(np.log(sides.max(axis=1) / sides.min(axis=1))),
            min(1.0, areas.sum() / (height * width)),
            float(instances.scores.mean()),
        ]
    )


def class_of_each(labels: IntArray, count: int, types: FloatArray | None) -> IntArray | None:
    """``(count,)`` int32: for each label the class whose mean probability over its pixels is largest.

    Args:
        labels: ``(H, W)`` int32, 1 to ``count``.
        count: number of labels.
        types: ``(K, H, W)`` float32 probabilities; None, of a network that distinguishes no types, gives None.
    """
    if types is None:
        return None
    means, _ = label_means(labels, types, count)
    classes: IntArray = means[1:].argmax(axis=1).astype(np.int32)
    return classes


def class_of_image(types: FloatArray, weight: AnyArray) -> int:
    """The class of most of the image: ``types`` ``(K, H, W)`` summed over pixels by ``weight`` ``(H, W)``."""
    return int(np.tensordot(types, weight, axes=([1, 2], [0, 1])).argmax())


def parameters_of_image(
    parameters: Parameters, types: FloatArray | None, weight: AnyArray, class_names: Sequence[str]
) -> Parameters:
    """The parameters for the cell type of most of the image, see :func:`class_of_image`; as given without ``types``."""
    if types is None or not parameters.by_class:
        return parameters
    return parameters.of_type(class_names[class_of_image(types, weight)])
