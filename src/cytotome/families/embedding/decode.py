"""From embeddings to scored instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from cytotome.families.embedding.config import EmbeddingParameters
from cytotome.families.embedding.segment import segment_maps
from cytotome.families.embedding.targets import BACKGROUND
from cytotome.ops.agglomerate import near_pairs
from cytotome.ops.cell_types import class_of_each, parameters_of_image
from cytotome.ops.labels import from_label_map, label_means
from cytotome.ops.runs import empty_instances
from cytotome.types import DenseMaps, FloatArray, Instances, IntArray

FEATURES = ("mean cell probability", "cohesion", "similarity to the nearest", "log area", "constant")
REACH = 3
"""Pixels within which other instances count as near."""


def decode_embeddings(maps: DenseMaps, parameters: EmbeddingParameters, class_names: Sequence[str]) -> Instances:
    """Instances of the maps of one image, with scores and classes.

    Args:
        maps: ``embedding`` ``(D, H, W)``; ``cell`` ``(1, H, W)`` or ``parts`` ``(3, H, W)``; for several classes
            ``cell_type`` ``(K, H, W)``.
        parameters: those of the image's cell type, where ``by_class`` names it, come before the general ones.
        class_names: of the model.
    """
    cell, types = cell_probability(maps), maps.get("cell_type")
    parameters = parameters_of_image(parameters, types, cell, class_names)
    labels, count = segment_maps(maps, parameters)
    if count == 0:
        return empty_instances(cell.shape, class_names)
    table, areas = features(labels, count, maps["embedding"], cell)
    scores = expit(table @ np.asarray(parameters.score_weights)).astype(np.float32)
    keep = (scores >= parameters.min_score) & (areas >= parameters.min_area) & (areas <= parameters.max_area)
    classes = np.zeros(count, np.int32) if types is None else class_of_each(labels, count, types)
    instances = replace(from_label_map(labels), scores=scores, classes=classes, class_names=tuple(class_names)).select(
        keep
    )
    return instances.renumbered()


def cell_probability(maps: DenseMaps) -> FloatArray:
    """``(H, W)`` float32."""
    cell: FloatArray = maps["cell"][0] if "cell" in maps else 1 - maps["parts"][BACKGROUND]
    return cell


def features(
    labels: IntArray, count: int, embedding: FloatArray, cell: FloatArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """``(count, 5)`` float64, one row an instance, columns as in :data:`FEATURES`; and the areas, ``(count,)``.

    Cohesion is the length of an instance's mean embedding, 1 where all its pixels agree; the similarity to the nearest
    is the greatest cosine with the mean of an instance that lies within :data:`REACH` pixels, -1 where none does.
    """
    means, areas = label_means(labels, embedding, count)
    probabilities, _ = label_means(labels, cell[None], count)
    lengths = np.linalg.norm(means, axis=1)
    table = np.ones((count, len(FEATURES)))
    table[:, 0] = probabilities[1:, 0]
    table[:, 1] = lengths[1:]
    table[:, 2] = _nearest(labels, means / np.maximum(lengths, 1e-12)[:, None])[1:]
    table[:, 3] = np.log(np.maximum(areas[1:], 1))
    return table, areas[1:]


def _nearest(labels: IntArray, units: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    nearest = np.full(len(units), -1.0)
    first, second = near_pairs(labels, REACH).T
    similarity = (units[first] * units[second]).sum(axis=1)
    np.maximum.at(nearest, first, similarity)
    np.maximum.at(nearest, second, similarity)
    return nearest
