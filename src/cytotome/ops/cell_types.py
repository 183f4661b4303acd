"""Cell types of instances and of whole images, from maps or scores, and their mapping to other class names."""

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
"""Names of the features of :func:`population`."""


def with_classes(instances: Instances, class_names: tuple[str, ...]) -> Instances:
    """Returns the instances with classes as indices into ``class_names``; -1 for names that are not in it.

    If there is only one class name, every instance gets it.
    """
    if len(class_names) == 1:
        classes = np.zeros(len(instances), np.int32)
    else:
        places = {name: index for index, name in enumerate(class_names)}
        table = np.array([places.get(name, -1) for name in instances.class_names] + [-1], np.int32)
        classes = table[instances.classes]
    return replace(instances, classes=classes, class_names=class_names)


def class_plane(labels: IntArray, classes: IntArray) -> Int64Array:
    """``(1, H, W)`` int64, the class of each pixel's instance; -1 outside instances and if it is unknown.

    Args:
        labels: ``(H, W)`` int32, position of the instance + 1, 0 is background.
        classes: ``(N,)`` int32 of the instances.
    """
    plane: Int64Array = np.concatenate([[-1], classes]).astype(np.int64)[labels][None]
    return plane


def one_hot(plane: AnyArray, count: int) -> FloatArray:
    """``(count, H, W)`` float32, 1 where ``plane`` ``(1, H, W)`` equals the index of the channel, else 0."""
    hot: FloatArray = (plane == np.arange(count)[:, None, None]).astype(np.float32)
    return hot


def population(instances: Instances) -> npt.NDArray[np.float64]:
    """``(6,)`` float64: the :data:`FEATURES` of the cells of one image; zeros without cells."""
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
    """``(count,)`` int32: for each label the class with the highest mean probability over its pixels.

    Args:
        labels: ``(H, W)`` int32, 1 to ``count``.
        count: number of labels.
        types: ``(K, H, W)`` float32 probabilities; None, for networks without cell types, gives None.
    """
    if types is None:
        return None
    means, _ = label_means(labels, types, count)
    classes: IntArray = means[1:].argmax(axis=1).astype(np.int32)
    return classes


def class_of_image(types: FloatArray, weight: AnyArray) -> int:
    """The majority class of the image: the maximum of ``types`` ``(K, H, W)``, summed over pixels with ``weight`` ``(H,
    W)``.
    """
    return int(np.tensordot(types, weight, axes=([1, 2], [0, 1])).argmax())


def parameters_of_image(
    parameters: Parameters, types: FloatArray | None, weight: AnyArray, class_names: Sequence[str]
) -> Parameters:
    """The parameters for the majority type, see :func:`class_of_image`; unchanged without ``types``."""
    if types is None or not parameters.by_class:
        return parameters
    return parameters.of_type(class_names[class_of_image(types, weight)])
