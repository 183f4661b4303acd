"""Decoding of embeddings to scored instances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cytotome.arrays import Float64Array
from cytotome.families.embedding.config import EmbeddingParameters
from cytotome.families.embedding.segment import segment_maps
from cytotome.families.embedding.targets import BACKGROUND
from cytotome.ops.agglomerate import near_pairs
from cytotome.ops.cell_types import class_of_each, parameters_of_image
from cytotome.ops.labels import label_means
from cytotome.ops.scores import score_instances
from cytotome.types import DenseMaps, FloatArray, Instances, IntArray

FEATURES = ("mean cell probability", "cohesion", "similarity to the nearest", "log area", "constant")
REACH = 3
"""Distance in pixels within which other instances are neighbours."""


def decode_embeddings(maps: DenseMaps, parameters: EmbeddingParameters, class_names: Sequence[str]) -> Instances:
    """Converts the maps of one image to instances with scores and classes.

    Args:
        maps: ``embedding`` ``(D, H, W)``; ``cell`` ``(1, H, W)`` or ``parts`` ``(3, H, W)``; for several classes
            ``cell_type`` ``(K, H, W)``.
        parameters: decoder parameters; those in ``by_class`` for the image's cell type take precedence.
        class_names: of the model.
    """
    parameters = of_image(maps, parameters, class_names)
    found, table = describe(maps, parameters, class_names)
    return score_instances(found, table, parameters).renumbered()


def of_image(maps: DenseMaps, parameters: EmbeddingParameters, class_names: Sequence[str]) -> EmbeddingParameters:
    """The parameters for the majority cell type of the image's cell pixels."""
    return parameters_of_image(parameters, maps.get("cell_type"), cell_probability(maps), class_names)


def describe(
    maps: DenseMaps, parameters: EmbeddingParameters, class_names: Sequence[str]
) -> tuple[Instances, Float64Array]:
    """N instances before scoring and filtering, and their features ``(N, 5)``, as in :data:`FEATURES`."""
    labels, count = segment_maps(maps, parameters)
    classes = class_of_each(labels, count, maps.get("cell_type"))
    found = Instances.from_label_map(labels, classes=classes, class_names=class_names)
    return found, features(labels, count, maps["embedding"], cell_probability(maps))


def cell_probability(maps: DenseMaps) -> FloatArray:
    """``(H, W)`` float32."""
    cell: FloatArray = maps["cell"][0] if "cell" in maps else 1 - maps["parts"][BACKGROUND]
    return cell


def features(labels: IntArray, count: int, embedding: FloatArray, cell: FloatArray) -> Float64Array:
    """``(count, 5)`` float64, one row per instance, columns as in :data:`FEATURES`.

    Cohesion is the length of an instance's mean embedding, 1 if all its pixels agree; the similarity to the nearest is
    the largest cosine with the mean of an instance within :data:`REACH` pixels, -1 if there is none.
    """
    means, areas = label_means(labels, embedding, count)
    probabilities, _ = label_means(labels, cell[None], count)
    lengths = np.linalg.norm(means, axis=1)
    table = np.ones((count, len(FEATURES)))
    table[:, 0] = probabilities[1:, 0]
    table[:, 1] = lengths[1:]
    table[:, 2] = _nearest(labels, means / np.maximum(lengths, 1e-12)[:, None])[1:]
    table[:, 3] = np.log(np.maximum(areas[1:], 1))
    return table


def _nearest(labels: IntArray, units: Float64Array) -> Float64Array:
    nearest = np.full(len(units), -1.0)
    first, second = near_pairs(labels, REACH).T
    similarity = (units[first] * units[second]).sum(axis=1)
    np.maximum.at(nearest, first, similarity)
    np.maximum.at(nearest, second, similarity)
    return nearest
