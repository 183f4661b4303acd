"""Average-linkage clustering of vectors over all pairs, without a distance matrix."""

from __future__ import annotations

import numpy as np

from cytotome.arrays import AnyArray
from cytotome.ops.agglomerate import flatten
from cytotome.ops.kernels import kernel


@kernel(fastmath=True)
def cluster_vectors(vectors: AnyArray, threshold: float) -> AnyArray:
    """Average-linkage clusters of ``vectors``, cut at a similarity of ``threshold``.

    The similarity of two clusters is the mean dot product over all pairs of their members, which is the dot product of
    their means: 1 minus the average linkage of the cosine distance for unit vectors.

    Uses nearest-neighbour chains (Murtagh 1983), with O(N^2) time and O(N) memory. A cluster whose nearest neighbour is
    too far is finished: with average linkage, merging never brings clusters closer than their parts were.

    Args:
        vectors: ``(N, D)`` float32, of unit length for cosine distance.
        threshold: clusters of lower mean similarity are not merged.

    Returns:
        ``(N,)`` int32, the cluster of each vector, given as the position of a representative vector.
    """
    count, dimensions = vectors.shape
    sums = vectors.astype(np.float64)
    sizes = np.ones(count)
    parent = np.arange(count).astype(np.int32)
    alive = np.arange(count).astype(np.int32)
    living = count
    place = np.arange(count).astype(np.int32)
    chain = np.empty(count, np.int32)
    length = 0
    while living > 0:
        if length == 0:
            chain[0] = alive[living - 1]
            length = 1
        tip = chain[length - 1]
        before = chain[length - 2] if length > 1 else -1
        best, nearest = -1e30, -1
        if before >= 0:
            best, nearest = _mean_dot(sums, sizes, tip, before, dimensions), before
        for k in range(living):
            other = alive[k]
            if other != tip and other != before:
                similarity = _mean_dot(sums, sizes, tip, other, dimensions)
                if similarity > best:
                    best, nearest = similarity, other
        if nearest < 0 or best <= threshold:
            living = _remove(alive, place, living, tip)
            length -= 1
        elif nearest == before:
            sums[before] += sums[tip]
            sizes[before] += sizes[tip]
            parent[tip] = before
            living = _remove(alive, place, living, tip)
            length -= 2
        else:
            chain[length] = nearest
            length += 1
    flatten(parent)
    return parent


@kernel(fastmath=True, inline="always")
def _mean_dot(sums: AnyArray, sizes: AnyArray, a: int, b: int, dimensions: int) -> float:
    """Dot product of the means of clusters ``a`` and ``b``, with sums ``(N, D)`` and sizes ``(N,)``."""
    total = 0.0
    for d in range(dimensions):
        total += sums[a, d] * sums[b, d]
    mean: float = total / (sizes[a] * sizes[b])
    return mean


@kernel
def _remove(alive: AnyArray, place: AnyArray, living: int, one: int) -> int:
    """Removes ``one`` from the first ``living`` of ``alive`` ``(N,)``, whose inverse is ``place``; returns their new
    number.
    """
    last = alive[living - 1]
    alive[place[one]] = last
    place[last] = place[one]
    return living - 1
