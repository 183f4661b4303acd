"""Training targets of the embedding family, and the maps of a perfect network."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from cytotome.families.embedding.config import EmbeddingConfig
from cytotome.ops.borders import contact_border
from cytotome.ops.cell_types import class_plane, one_hot
from cytotome.ops.labels import label_positions
from cytotome.types import AnyArray, DenseMaps, FloatArray, Instances, IntArray

BACKGROUND, CELL, BORDER = 0, 1, 2
"""Classes of the map ``parts``."""


def embedding_targets(instances: Instances, config: EmbeddingConfig) -> dict[str, AnyArray]:
    """Computes the targets of one crop; where instances overlap, the smaller one gets the pixels.

    Returns:
        ``labels`` ``(1, H, W)`` int32, position of the pixel's instance + 1, 0 outside; ``cell_type`` ``(1, H, W)``
        int64, class of the pixel's instance, -1 outside or if unknown; ``parts`` ``(1, H, W)`` int64 in the variant
        ``binary``: background, cell and border.
    """
    labels = label_positions(instances)
    cell_type = class_plane(labels, instances.classes)
    targets: dict[str, AnyArray] = {"labels": labels[None], "cell_type": cell_type}
    if config.variant == "binary":
        targets["parts"] = parts_of(labels, config.border)[None]
    return targets


def parts_of(labels: IntArray, border: int) -> AnyArray:
    """``(H, W)`` int64: background, cell, and border: pixels of a cell within ``border`` pixels of another one.

    Isolated cells have no border, so that thin branches are not split.
    """
    size = 2 * border + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    inside = np.where(contact_border(labels, disk.astype(np.uint8)), BORDER, CELL)
    return np.where(labels > 0, inside, BACKGROUND).astype(np.int64)


def oracle_maps(targets: Mapping[str, AnyArray], config: EmbeddingConfig) -> DenseMaps:
    """The dense maps of a perfect network: one random unit vector per instance, one for the background."""
    labels = targets["labels"][0]
    maps: dict[str, FloatArray] = {
        "embedding": oracle_embeddings(labels, config.dimensions),
        "cell_type": one_hot(targets["cell_type"], len(config.class_names)),
    }
    if config.variant == "binary":
        maps["embedding"] = oracle_embeddings((labels > 0).astype(np.int32), config.dimensions)
        maps["parts"] = one_hot(targets["parts"], 3)
    else:
        maps["cell"] = (labels > 0).astype(np.float32)[None]
    return maps


def oracle_embeddings(labels: IntArray, dimensions: int, *, seed: int = 0, noise: float = 0.0) -> FloatArray:
    """``(D, H, W)`` float32 unit vectors, random per label, identical for the same label and seed.

    Args:
        labels: ``(H, W)`` int32.
        dimensions: D.
        seed: random seed of the vectors and of the noise.
        noise: standard deviation of the noise added to each component before normalisation to unit length.
    """
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((int(labels.max(initial=0)) + 1, dimensions), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    planes = np.ascontiguousarray(vectors[labels].transpose(2, 0, 1))
    if noise:
        planes += np.float32(noise) * rng.standard_normal(planes.shape, np.float32)
        planes /= np.linalg.norm(planes, axis=0, keepdims=True)
    return planes
