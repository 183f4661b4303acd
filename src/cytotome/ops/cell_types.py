"""From a map of cell types to the type of each instance, and to that of a whole image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from cytotome.contract import DecodeParameters
from cytotome.ops.labels import label_means
from cytotome.types import AnyArray, FloatArray, IntArray

Parameters = TypeVar("Parameters", bound=DecodeParameters)


def class_of_each(labels: IntArray, count: int, types: FloatArray) -> IntArray:
    """``(count,)`` int32: for each label the class whose mean probability over its pixels is greatest.

    Args:
        labels: ``(H, W)`` int32, 1 to ``count``.
        count: number of labels.
        types: ``(K, H, W)`` float32 probabilities.
    """
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
