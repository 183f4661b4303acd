"""Conversion of maps to label maps: the decoders of the embedding family, before scoring and filtering."""

from __future__ import annotations

import cv2
import numpy as np

from cytotome.families.embedding.config import EmbeddingParameters
from cytotome.families.embedding.targets import BACKGROUND, CELL
from cytotome.ops.agglomerate import connected_clusters, gather_unit, join_across_gaps, number_pixels
from cytotome.ops.fill import fill_holes
from cytotome.ops.grow import grow_labels
from cytotome.ops.labels import label_means
from cytotome.ops.linkage import cluster_vectors
from cytotome.types import AnyArray, DenseMaps, FloatArray, IntArray

LEAST_CLUSTER = 8


def segment_maps(maps: DenseMaps, parameters: EmbeddingParameters) -> tuple[IntArray, int]:
    """``(labels (H, W) int32, count)`` of the maps of one image, with labels without gaps."""
    if "parts" in maps:
        labels, count = segment_parts(maps["parts"], parameters.cell_threshold, parameters.growth)
    elif parameters.decoder == "resized":
        labels, count = segment_resized(maps["embedding"], maps["cell"][0], parameters)
    else:
        labels, count = segment_connected(maps["embedding"], maps["cell"][0], parameters)
    fill_holes(labels, count)
    return labels, count


def segment_connected(embedding: FloatArray, cell: FloatArray, parameters: EmbeddingParameters) -> tuple[IntArray, int]:
    """Clusters neighbouring pixels of similar embeddings, at full resolution, then joins parts of occluded cells."""
    mask = cell > np.float32(parameters.cell_threshold)
    labels, count = connected_clusters(embedding, mask, parameters.similarity, least=LEAST_CLUSTER)
    if parameters.gap and count > 1:
        means, areas = label_means(labels, embedding, count)
        return join_across_gaps(labels, means, areas, parameters.gap_similarity, parameters.gap)
    return labels, count


def segment_resized(embedding: FloatArray, cell: FloatArray, parameters: EmbeddingParameters) -> tuple[IntArray, int]:
    """The challenge team's decoder: average-linkage clusters of all cell pixels of a small map, regardless of their
    position.

    The map is resized to ``resized_shape`` (to its transpose for portrait images), its cell pixels are clustered by
    cosine distance, and clusters are eroded and split into connected parts; the eroded rim is restored, and the result
    is enlarged with nearest-neighbour interpolation.
    """
    height, width = cell.shape
    rows, columns = parameters.resized_shape if height <= width else parameters.resized_shape[::-1]
    small = np.stack([_resize(plane, rows, columns) for plane in embedding])
    mask = _resize(cell, rows, columns) > np.float32(parameters.cell_threshold)
    numbers, count = number_pixels(mask)
    clusters = np.zeros((rows, columns), np.int32)
    clusters[mask] = cluster_vectors(gather_unit(small, numbers, count), parameters.similarity) + 1
    labels, count = split_clusters(clusters, parameters.erosion)
    enlarged: AnyArray = cv2.resize(labels.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    present, ranks = np.unique(enlarged.astype(np.int32), return_inverse=True)
    offset = 0 if len(present) and present[0] == 0 else 1
    return (ranks.reshape(height, width) + offset).astype(np.int32), len(present) - 1 + offset


def split_clusters(clusters: IntArray, erosion: int) -> tuple[IntArray, int]:
    """Connected parts of eroded clusters, with the rim restored; ``(labels, count)``.

    Args:
        clusters: ``(H, W)`` int32, 0 is background.
        erosion: radius in pixels of the cross by which each cluster is eroded; a part that vanishes is left out.
    """
    labels = np.zeros(clusters.shape, np.int32)
    count = 0
    for cluster in np.unique(clusters[clusters > 0]):
        mask = (clusters == cluster).astype(np.uint8)
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        core = cv2.erode(mask, cross, iterations=erosion) if erosion else mask
        number, parts = cv2.connectedComponents(core, connectivity=8)
        if number > 1:
            grow_labels(parts, mask.view(bool), 2 * erosion)
            labels[parts > 0] = parts[parts > 0] + count
            count += number - 1
    return labels, count


def segment_parts(parts: FloatArray, threshold: float, growth: int) -> tuple[IntArray, int]:
    """Connected parts of the cell class, without border, grown back over the border; ``(labels, count)``.

    Args:
        parts: ``(3, H, W)`` probabilities of background, cell and border.
        threshold: pixels of a higher probability of not being background belong to a cell.
        growth: pixels by which cells grow back.
    """
    inside = parts[BACKGROUND] < np.float32(1 - threshold)
    core = inside & (parts.argmax(axis=0) == CELL)
    number, components = cv2.connectedComponents(core.astype(np.uint8), connectivity=4)
    labels: IntArray = components.astype(np.int32)
    grow_labels(labels, inside, growth)
    return labels, number - 1


def _resize(plane: FloatArray, rows: int, columns: int) -> FloatArray:
    resized: AnyArray = cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA)
    return resized
