"""Decoding of the maps of the three networks to scored instances, by the cut of the energy or by watershed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cytotome.arrays import Float64Array
from cytotome.families.watershed.config import WatershedParameters
from cytotome.families.watershed.targets import WALL
from cytotome.ops.cell_types import class_of_each, parameters_of_image
from cytotome.ops.fill import fill_holes
from cytotome.ops.grow import grow_labels
from cytotome.ops.kernels import kernel
from cytotome.ops.labels import components
from cytotome.ops.pointers import follow_to_labels
from cytotome.ops.scores import fit_score_weights, score_instances
from cytotome.ops.watershed import watershed
from cytotome.types import AnyArray, BoolArray, DenseMaps, FloatArray, Instances, IntArray, Sample

FEATURES = ("cell or wall probability", "wall probability", "energy", "log area", "direction length", "constant")


def decode_energy(maps: DenseMaps, parameters: WatershedParameters, class_names: Sequence[str]) -> Instances:
    """Converts the maps of one image to instances with scores and classes.

    Args:
        maps: ``semantic`` ``(3, H, W)``, ``direction`` ``(2, H, W)``, ``energy`` ``(1, H, W)`` and, for several
            classes, ``cell_type`` ``(K, H, W)``.
        parameters: decoder parameters; those in ``by_class`` for the image's cell type take precedence.
        class_names: class names of the model.
    """
    parameters = of_image(parameters, maps, class_names)
    found, table = describe(maps, parameters, class_names)
    return score_instances(found, table, parameters).renumbered()


def describe(
    maps: DenseMaps, parameters: WatershedParameters, class_names: Sequence[str]
) -> tuple[Instances, Float64Array]:
    """N instances before scoring and filtering, and their features ``(N, 6)``, as in :data:`FEATURES`."""
    labels, count = segment(maps, parameters)
    classes = class_of_each(labels, count, maps.get("cell_type"))
    found = Instances.from_label_map(labels, classes=classes, class_names=class_names)
    return found, features(labels, count, maps)


def segment(maps: DenseMaps, parameters: WatershedParameters) -> tuple[IntArray, int]:
    """Label map without gaps, before filtering."""
    energy = maps["energy"][0]
    mask = energy > np.float32(parameters.energy)
    walls = maps["semantic"][WALL] >= np.float32(parameters.wall)
    if parameters.decoder == "watershed":
        labels, count = watershed(_relief(energy, walls), mask, parameters.dynamics)
    else:
        labels, count = cut(maps, mask, walls, parameters)
    fill_holes(labels, count)
    return labels, count


def _relief(energy: FloatArray, walls: BoolArray) -> FloatArray:
    """The energy at walls; elsewhere a plateau above it, on which cells are not split."""
    relief: FloatArray = np.where(walls, energy, energy.max(initial=0) + np.float32(1))
    return relief


def cut(maps: DenseMaps, mask: BoolArray, walls: BoolArray, parameters: WatershedParameters) -> tuple[IntArray, int]:
    """Removes walls of low energy from the mask, labels the components and grows them back over the mask.

    Removed pixels follow their directions, which point away from the boundary into the cell; those that lead nowhere
    get the nearest label. No label is overwritten.

    Pixels that are not wall are kept regardless of their energy, since it is low everywhere in thin cells, and at the
    necks of branches. Parts of the mask without a component, or out of reach of the growth, become background.
    """
    left = mask & ((maps["energy"][0] > np.float32(parameters.level)) | ~walls)
    labels, count = components(left)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes >= parameters.core_area
    keep[0] = False
    renumbered = np.cumsum(keep).astype(np.int32)
    renumbered[~keep] = 0
    labels = follow_to_labels(renumbered[labels], mask, maps["direction"], parameters.growth)
    grow_labels(labels, mask, parameters.growth)
    return labels, int(keep.sum())


def features(labels: IntArray, count: int, maps: DenseMaps) -> Float64Array:
    """``(count, 6)`` float64, features that distinguish good instances from bad ones; columns as in
    :data:`FEATURES`.
    """
    semantic = maps["semantic"]
    sums, lengths = _sums(labels, count, semantic[0], semantic[WALL], maps["energy"][0], maps["direction"])
    area = np.maximum(np.bincount(labels.reshape(-1), minlength=count + 1)[1:], 1)
    table = np.ones((count, len(FEATURES)))
    table[:, 0] = 1 - sums[1:, 0] / area
    table[:, 1] = sums[1:, 1] / area
    table[:, 2] = sums[1:, 2] / area / np.sqrt(area)
    table[:, 3] = np.log(area)
    table[:, 4] = lengths[1:] / area
    return table


@kernel
def _sums(
    labels: AnyArray, count: int, background: AnyArray, wall: AnyArray, energy: AnyArray, direction: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """Sums over each label: background, wall, energy ``(count + 1, 3)``; length of the direction ``(count + 1,)``."""
    sums = np.zeros((count + 1, 3))
    lengths = np.zeros(count + 1)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label > 0:
                sums[label, 0] += background[y, x]
                sums[label, 1] += wall[y, x]
                sums[label, 2] += energy[y, x]
                lengths[label] += np.sqrt(direction[0, y, x] ** 2 + direction[1, y, x] ** 2)
    return sums, lengths


def of_image(parameters: WatershedParameters, maps: DenseMaps, class_names: Sequence[str]) -> WatershedParameters:
    """The parameters for the majority cell type of the image's cell pixels."""
    return parameters_of_image(parameters, maps.get("cell_type"), 1 - maps["semantic"][0], class_names)


def calibrate(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: WatershedParameters, class_names: Sequence[str]
) -> WatershedParameters:
    """Fits score weights with :func:`~cytotome.ops.scores.fit_score_weights` on pairs of maps and truth."""

    def describe_image(maps: DenseMaps) -> tuple[Instances, Float64Array]:
        return describe(maps, of_image(parameters, maps, class_names), class_names)

    return fit_score_weights(pairs, parameters, describe_image)
