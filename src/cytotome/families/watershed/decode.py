"""From the maps of the three networks to scored instances: the cut of the energy, and the watershed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from cytotome.families.watershed.config import WatershedParameters
from cytotome.families.watershed.targets import WALL
from cytotome.ops.cell_types import parameters_of_image
from cytotome.ops.fill import fill_holes
from cytotome.ops.grow import grow_labels
from cytotome.ops.kernels import kernel
from cytotome.ops.labels import components, from_label_map, label_means
from cytotome.ops.pointers import follow_to_labels
from cytotome.ops.runs import empty_instances
from cytotome.ops.scores import are_hits, fit_logistic
from cytotome.ops.watershed import watershed
from cytotome.types import AnyArray, BoolArray, DenseMaps, FloatArray, Instances, IntArray, Sample

FEATURES = ("cell or wall probability", "wall probability", "energy", "log area", "direction length", "constant")


def decode_energy(maps: DenseMaps, parameters: WatershedParameters, class_names: Sequence[str]) -> Instances:
    """Instances of the maps of one image, with scores and classes.

    Args:
        maps: ``semantic`` ``(3, H, W)``, ``direction`` ``(2, H, W)``, ``energy`` ``(1, H, W)`` and, for several
            classes, ``cell_type`` ``(K, H, W)``.
        parameters: those of the image's cell type, where ``by_class`` names it, come before the general ones.
        class_names: of the model.
    """
    types = maps.get("cell_type")
    parameters = of_image(parameters, maps, class_names)
    labels, count = segment(maps, parameters)
    if count == 0:
        return empty_instances((labels.shape[0], labels.shape[1]), class_names)
    table, areas, means = features(labels, count, maps)
    weights = np.asarray(parameters.score_weights)
    scores = expit(table @ weights).astype(np.float32)
    keep = (scores >= parameters.min_score) & (areas >= parameters.min_area) & (areas <= parameters.max_area)
    classes = np.zeros(count, np.int32) if types is None else means.argmax(axis=1).astype(np.int32)
    found = replace(from_label_map(labels), scores=scores, classes=classes, class_names=tuple(class_names)).select(keep)
    return found.renumbered()


def segment(maps: DenseMaps, parameters: WatershedParameters) -> tuple[IntArray, int]:
    """Label map without gaps, before anything is dropped."""
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
    """The energy at walls; elsewhere a plateau above all of it, on which cells are not parted."""
    relief: FloatArray = np.where(walls, energy, energy.max(initial=0) + np.float32(1))
    return relief


def cut(maps: DenseMaps, mask: BoolArray, walls: BoolArray, parameters: WatershedParameters) -> tuple[IntArray, int]:
    """Labels what is left of the mask where the energy is low at walls, and grows it back over the mask.

    Pixels that were cut go where their directions lead, since these point away from the boundary, into the cell; those
    that lead nowhere go to the nearest label. No label is overwritten.

    A pixel that is no wall is left whatever its energy: a thin cell is low everywhere, and a branch is low at its
    necks. Parts of the mask in which nothing is left, or where growth does not reach, stay background.
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


def features(
    labels: IntArray, count: int, maps: DenseMaps
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """What tells good instances from bad ones.

    Returns:
        ``(count, 6)`` float64, one row an instance, columns as in :data:`FEATURES`; the areas ``(count,)``; the mean
        probability of each cell type ``(count, K)``, K = 0 where the model has one type.
    """
    semantic, direction, energy = maps["semantic"], maps["direction"], maps["energy"]
    types = maps.get("cell_type")
    planes = np.zeros((0, *labels.shape), np.float32) if types is None else types
    sums, lengths = _sums(labels, count, semantic[0], semantic[WALL], energy[0], direction)
    means, areas = label_means(labels, planes, count)
    area = np.maximum(areas[1:], 1)
    table = np.ones((count, len(FEATURES)))
    table[:, 0] = 1 - sums[1:, 0] / area
    table[:, 1] = sums[1:, 1] / area
    table[:, 2] = sums[1:, 2] / area / np.sqrt(area)
    table[:, 3] = np.log(area)
    table[:, 4] = lengths[1:] / area
    return table, areas[1:], means[1:]


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
    """The parameters for the cell type that most of the image's cell pixels have."""
    return parameters_of_image(parameters, maps.get("cell_type"), 1 - maps["semantic"][0], class_names)


def calibrate(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: WatershedParameters, class_names: Sequence[str]
) -> WatershedParameters:
    """Score weights that give the chance of an IoU above 0.5 with a true instance.

    Args:
        pairs: maps and truth of images that the network was not trained on.
        parameters: how instances are made.
        class_names: of the model.
    """
    images = []
    for maps, sample in pairs:
        labels, count = segment(maps, of_image(parameters, maps, class_names))
        if count and sample.instances is not None:
            table, _, _ = features(labels, count, maps)
            images.append((table, are_hits(from_label_map(labels), sample.instances)))
    weights = fit_logistic(images)
    return parameters if weights is None else parameters.model_copy(update={"score_weights": weights})
