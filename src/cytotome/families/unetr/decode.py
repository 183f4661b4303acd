"""Decoding of foreground maps that are split into cells by a border; without border, each connected component is a
cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from cytotome.arrays import BoolArray, Float64Array, FloatArray, IntArray
from cytotome.families.unetr.config import ForegroundParameters
from cytotome.ops.cell_types import class_of_each
from cytotome.ops.labels import components, label_means
from cytotome.ops.scores import score_instances
from cytotome.types import DenseMaps, Instances

FEATURES = ("mean foreground", "mean border", "log area", "constant")


def decode_foreground(maps: DenseMaps, parameters: ForegroundParameters, class_names: Sequence[str]) -> Instances:
    """Converts the maps of one image to instances with scores and classes.

    Args:
        maps: ``foreground`` ``(K, H, W)`` and, if the network predicts it, ``border`` ``(1, H, W)``.
        parameters: decoder parameters; those in ``by_class`` for the image's cell type take precedence.
        class_names: class names of the model, one per foreground map.
    """
    parameters = of_image(maps["foreground"], parameters, class_names)
    found, table = describe(maps, parameters, class_names)
    return score_instances(found, table, parameters).renumbered()


def describe(
    maps: DenseMaps, parameters: ForegroundParameters, class_names: Sequence[str]
) -> tuple[Instances, Float64Array]:
    """N instances before scoring and filtering, and their features ``(N, 4)``, as in :data:`FEATURES`."""
    foreground, border = maps["foreground"], maps.get("border")
    labels, count = segment(foreground, border, parameters)
    classes = class_of_each(labels, count, foreground)
    found = Instances.from_label_map(labels, classes=classes, class_names=class_names)
    return found, features(labels, count, foreground, border)


def of_image(
    foreground: FloatArray, parameters: ForegroundParameters, class_names: Sequence[str]
) -> ForegroundParameters:
    """The parameters for the majority cell type of the image's foreground."""
    if len(foreground) < 2 or not parameters.by_class:
        return parameters
    total = np.maximum(foreground - np.float32(0.5), 0).sum(axis=(1, 2))
    return parameters.of_type(class_names[int(total.argmax())])


def segment(
    foreground: FloatArray, border: FloatArray | None, parameters: ForegroundParameters
) -> tuple[IntArray, int]:
    """``(H, W)`` int32 label map without gaps, and its largest label, before filtering.

    Without a border, the foreground of each class, where it is the most likely, is split into connected components.
    With a border, the foreground of all classes minus the border is split, and each pixel of the border is then
    assigned to the nearest cell.
    """
    likeliest = foreground.max(axis=0)
    mask = likeliest > np.float32(parameters.threshold)
    if border is not None:
        return _part(mask, border[0] > np.float32(parameters.border_threshold), parameters.min_seed)
    if len(foreground) == 1:
        return components(mask)
    labels, count = np.zeros(mask.shape, np.int32), 0
    chosen = foreground.argmax(axis=0)
    for kind in range(len(foreground)):
        part, found = components(mask & (chosen == kind))
        labels[part > 0] = part[part > 0] + count
        count += found
    return labels, count


def _part(mask: BoolArray, border: BoolArray, min_seed: int) -> tuple[IntArray, int]:
    """Components of ``mask`` without ``border``, grown over it; a component that is all border is one cell."""
    whole, _ = components(mask)
    seeds, count = components(mask & ~border)
    sizes = np.bincount(seeds.ravel(), minlength=count + 1)
    first_pixel = np.zeros(count + 1, np.int64)
    first_pixel[seeds.ravel()] = np.arange(seeds.size)
    owner = whole.ravel()[first_pixel]  # component of each seed
    owner[0] = 0
    largest = np.zeros(whole.max() + 1, np.int64)
    np.maximum.at(largest, owner[1:], sizes[1:])
    keep = (sizes >= min_seed) | (sizes == largest[owner])
    keep[0] = False
    seeds = np.where(keep[seeds], seeds, 0).astype(np.int32)
    bare = np.ones(len(largest), bool)
    bare[owner[keep]] = False
    bare[0] = False
    seeds = np.where(bare[whole], count + whole, seeds).astype(np.int32)
    return _renumbered(_grown(seeds, mask, whole))


def _grown(seeds: IntArray, mask: BoolArray, whole: IntArray) -> IntArray:
    """Gives each pixel of ``mask`` the label of the nearest seed, if it is in the same component."""
    if not (seeds > 0).any():
        return seeds
    _, nearest = cv2.distanceTransformWithLabels(
        (seeds == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value = np.zeros(nearest.max() + 1, np.int32)
    place = np.zeros(nearest.max() + 1, np.int32)
    on = seeds > 0
    value[nearest[on]], place[nearest[on]] = seeds[on], whole[on]
    grown: IntArray = np.where(mask & (place[nearest] == whole), value[nearest], seeds).astype(np.int32)
    return grown


def _renumbered(labels: IntArray) -> tuple[IntArray, int]:
    present = np.flatnonzero(np.bincount(labels.ravel()))
    present = present[present > 0]
    table = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    table[present] = np.arange(1, len(present) + 1)
    return table[labels], len(present)


def features(labels: IntArray, count: int, foreground: FloatArray, border: FloatArray | None) -> Float64Array:
    """``(count, 4)`` float64, one row per instance, columns as in :data:`FEATURES`."""
    means, areas = label_means(labels, foreground, count)
    table = np.ones((count, len(FEATURES)))
    table[:, 0] = means[1:].max(axis=1)
    table[:, 1] = 0.0 if border is None else label_means(labels, border, count)[0][1:, 0]
    table[:, 2] = np.log(np.maximum(areas[1:], 1))
    return table
