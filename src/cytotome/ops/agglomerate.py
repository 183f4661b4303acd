"""Average-linkage agglomerative clustering of the pixels of a mask into connected clusters.

The similarity of two clusters is the mean dot product over all pairs of their members, which is the dot product of
their means; for unit vectors, it is 1 minus the average linkage of the cosine distance. Only neighbours are merged.
Clusters are stored as sums, so no distance matrix is needed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cytotome.arrays import AnyArray, BoolArray, FloatArray, IntArray
from cytotome.ops.kernels import grown, kernel

SIDE = 8
"""Side in pixels of the squares in which pieces are grown."""


def connected_clusters(
    planes: FloatArray, mask: BoolArray, threshold: float, *, least: int = 8
) -> tuple[IntArray, int]:
    """Clusters the pixels of a mask by their vectors; each cluster is 8-connected.

    Args:
        planes: ``(D, H, W)`` float32, a vector of any length per pixel.
        mask: ``(H, W)`` bool.
        threshold: neighbouring clusters of a lower mean cosine similarity are not merged.
        least: clusters of fewer pixels are merged into their most similar neighbour, if they have one.

    Returns:
        ``(labels (H, W) int32, count)``, labels without gaps, 0 outside the mask.
    """
    numbers, count = number_pixels(mask)
    vectors = gather_unit(planes, numbers, count)
    pieces, sums, sizes = grow_pieces(vectors, numbers, np.float32((1 + threshold) / 2), SIDE)
    pairs = distinct_pairs(pieces, neighbour_pairs(numbers))
    parent, edges = merge_neighbours(sums, sizes, pairs, np.float32(threshold))
    absorb_small(parent, sums, sizes, edges, least)
    roots = np.flatnonzero(parent == np.arange(len(parent)))
    rank = np.zeros(len(parent), np.int32)
    rank[roots] = np.arange(1, len(roots) + 1)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = rank[parent[pieces]]
    return labels, len(roots)


def join_across_gaps(
    labels: IntArray, means: FloatArray, areas: npt.NDArray[np.int64], threshold: float, reach: int
) -> tuple[IntArray, int]:
    """Joins labels that are parts of one object, separated by an object on top of it.

    Args:
        labels: ``(H, W)`` int32, values 0 to N.
        means: ``(N + 1, D)``, mean vector of each label, of any length.
        areas: ``(N + 1,)`` number of pixels of each label.
        threshold: labels of a lower cosine similarity are not joined.
        reach: maximum distance in pixels, in one of eight directions, of labels that are joined.

    Returns:
        ``(labels (H, W) int32, count)``, without gaps.
    """
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    sums = (means / np.maximum(lengths, 1e-12) * areas[:, None]).astype(np.float32)
    pairs = distinct_pairs(np.arange(len(means), dtype=np.int32), near_pairs(labels, reach))
    parent, _ = merge_neighbours(sums, np.maximum(areas, 1).astype(np.float32), pairs, np.float32(threshold))
    present, rank = np.unique(parent, return_inverse=True)
    return rank.astype(np.int32)[labels], len(present) - 1


@kernel
def flatten(parent: AnyArray) -> None:
    """Replaces each entry of ``parent`` ``(N,)`` by the root of its tree, in place."""
    for k in range(len(parent)):
        root = k
        while parent[root] != root:
            root = parent[root]
        step = k
        while parent[step] != root:
            parent[step], step = root, parent[step]


@kernel
def number_pixels(mask: AnyArray) -> tuple[AnyArray, int]:
    """``(numbers, count)``: ``(H, W)`` int32, -1 outside the mask, else 0, 1, ... in row-major order."""
    numbers = np.full(mask.shape, -1, np.int32)
    count = 0
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x]:
                numbers[y, x] = count
                count += 1
    return numbers, count


@kernel(fastmath=True)
def gather_unit(planes: AnyArray, numbers: AnyArray, count: int) -> AnyArray:
    """``(count, D)`` float32 unit vectors of the numbered pixels of ``planes`` ``(D, H, W)``; zeros stay zeros."""
    dimensions, height, width = planes.shape
    vectors = np.empty((count, dimensions), np.float32)
    for y in range(height):
        for x in range(width):
            k = numbers[y, x]
            if k < 0:
                continue
            total = np.float32(0.0)
            for d in range(dimensions):
                vectors[k, d] = planes[d, y, x]
                total += vectors[k, d] * vectors[k, d]
            factor = np.float32(1.0) / np.sqrt(total) if total > 0 else np.float32(0.0)
            for d in range(dimensions):
                vectors[k, d] *= factor
    return vectors


@kernel
def neighbour_pairs(numbers: AnyArray) -> AnyArray:
    """``(E, 2)`` int32 pairs of numbered pixels that share an edge, or a corner if no other pixel joins them."""
    height, width = numbers.shape
    pairs = np.empty((4 * height * width, 2), np.int32)
    found = 0
    for y in range(height):
        for x in range(width):
            here = numbers[y, x]
            if x + 1 < width:
                right = numbers[y, x + 1]
                if here >= 0 and right >= 0:
                    pairs[found, 0], pairs[found, 1] = here, right
                    found += 1
            if y + 1 == height:
                continue
            below = numbers[y + 1, x]
            if here >= 0 and below >= 0:
                pairs[found, 0], pairs[found, 1] = here, below
                found += 1
            if x + 1 < width:
                right, across = numbers[y, x + 1], numbers[y + 1, x + 1]
                if here >= 0 and across >= 0 and right < 0 and below < 0:
                    pairs[found, 0], pairs[found, 1] = here, across
                    found += 1
                if right >= 0 and below >= 0 and here < 0 and across < 0:
                    pairs[found, 0], pairs[found, 1] = right, below
                    found += 1
    return pairs[:found].copy()


@kernel(fastmath=True)
def grow_pieces(
    vectors: AnyArray, numbers: AnyArray, threshold: np.float32, side: int
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Groups nearly equal neighbours within squares of ``side`` pixels into pieces, which speeds up the clustering.

    Each pixel without a piece starts one by flooding its square over 4-neighbours; pixels are added if their dot
    product with the mean of the piece exceeds ``threshold``.

    Args:
        vectors: ``(N, D)`` float32.
        numbers: ``(H, W)`` int32 positions in ``vectors``, -1 outside.
        threshold: higher than that of the clustering that follows.
        side: of the squares that tile the image.

    Returns:
        ``(piece (N,) int32, sums (P, D) float32, sizes (P,) float32)``.
    """
    height, width = numbers.shape
    count, dimensions = vectors.shape
    piece = np.full(count, -1, np.int32)
    sums = np.zeros((count, dimensions), np.float32)
    sizes = np.zeros(count, np.float32)
    queue = np.empty(side * side, np.int32)
    pieces = 0
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(top + side, height), min(left + side, width)
            for y in range(top, bottom):
                for x in range(left, right):
                    first = numbers[y, x]
                    if first < 0 or piece[first] >= 0:
                        continue
                    total = sums[pieces]
                    total[:] = vectors[first]
                    size = np.float32(1.0)
                    piece[first] = pieces
                    queue[0] = y * width + x
                    head, tail = 0, 1
                    while head < tail:
                        cy, cx = queue[head] // width, queue[head] % width
                        head += 1
                        for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                            v, u = cy + dy, cx + dx
                            if v < top or u < left or v >= bottom or u >= right:
                                continue
                            k = numbers[v, u]
                            if k < 0 or piece[k] >= 0:
                                continue
                            dot = np.float32(0.0)
                            for d in range(dimensions):
                                dot += total[d] * vectors[k, d]
                            if dot > threshold * size:
                                for d in range(dimensions):
                                    total[d] += vectors[k, d]
                                size += np.float32(1.0)
                                piece[k] = pieces
                                queue[tail] = v * width + u
                                tail += 1
                    sizes[pieces] = size
                    pieces += 1
    return piece, sums[:pieces].copy(), sizes[:pieces].copy()


def distinct_pairs(piece: npt.NDArray[np.int32], pairs: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """``(F, 2)`` int32: the unique pairs of pieces connected by pixels, smaller number first."""
    joined = piece[pairs]
    joined = joined[joined[:, 0] != joined[:, 1]]
    joined.sort(axis=1)
    keys = np.unique((joined[:, 0].astype(np.int64) << 32) | joined[:, 1])
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1).astype(np.int32)


@kernel(fastmath=True)
def merge_neighbours(
    sums: AnyArray, sizes: AnyArray, pairs: AnyArray, threshold: np.float32
) -> tuple[AnyArray, AnyArray]:
    """Average-linkage clustering restricted to neighbours, given by ``pairs``.

    Each round merges all pairs of clusters that are each other's most similar neighbour, until no pair is more similar
    than ``threshold``. If each cluster neighbours all others, the result is that of repeatedly merging the most similar
    pair (Murtagh 1983); otherwise it can differ if a merge makes two clusters neighbours that are more similar than the
    merged pair. Ties are broken by a hash of the pair, so that flat areas merge in few rounds.

    Args:
        sums: ``(N, D)`` float32, sum of the members of each initial cluster; changed in place.
        sizes: ``(N,)`` float32, number of its members; changed in place.
        pairs: ``(E, 2)`` int32, changed in place.
        threshold: neighbours of lower mean similarity are not merged.

    Returns:
        ``(parent (N,) int32, edges (F, 2) int32)``: for each initial cluster, the position of the representative of its
        cluster, whose ``sums`` and ``sizes`` are those of the cluster; and the pairs between clusters.
    """
    count, dimensions = sums.shape
    parent = np.arange(count).astype(np.int32)
    best = np.empty(count, np.float32)
    tie = np.empty(count, np.uint32)
    partner = np.empty(count, np.int32)
    known = np.empty(len(pairs), np.float32)
    changed = np.ones(count, np.bool_)
    left = len(pairs)
    merged = True
    while merged:
        for e in range(left):
            best[pairs[e, 0]] = best[pairs[e, 1]] = threshold
        for e in range(left):
            a, b = pairs[e, 0], pairs[e, 1]
            if changed[a] or changed[b]:
                total = np.float32(0.0)
                for d in range(dimensions):
                    total += sums[a, d] * sums[b, d]
                known[e] = total / (sizes[a] * sizes[b])
            similarity = known[e]
            if similarity <= threshold or (similarity < best[a] and similarity < best[b]):
                continue
            low, high = min(a, b), max(a, b)
            key = np.uint32(np.uint32(low) * np.uint32(2654435761) ^ np.uint32(high) * np.uint32(2246822519))
            key ^= key >> np.uint32(15)
            if similarity > best[a] or (similarity == best[a] and key > tie[a]):
                best[a], tie[a], partner[a] = similarity, key, b
            if similarity > best[b] or (similarity == best[b] and key > tie[b]):
                best[b], tie[b], partner[b] = similarity, key, a
        for e in range(left):
            changed[pairs[e, 0]] = changed[pairs[e, 1]] = False
        merged = False
        for e in range(left):
            a, b = pairs[e, 0], pairs[e, 1]
            if best[a] <= threshold or best[b] <= threshold or partner[a] != b or partner[b] != a:
                continue
            keep, gone = (a, b) if sizes[a] >= sizes[b] else (b, a)
            parent[gone] = keep
            for d in range(dimensions):
                sums[keep, d] += sums[gone, d]
            sizes[keep] += sizes[gone]
            best[a] = best[b] = threshold
            changed[keep] = True
            merged = True
        kept = 0
        for e in range(left):
            a, b = parent[pairs[e, 0]], parent[pairs[e, 1]]
            if a != b:
                pairs[kept, 0], pairs[kept, 1] = a, b
                known[kept] = known[e]
                kept += 1
        left = kept
    flatten(parent)
    return parent, pairs[:left]


@kernel
def absorb_small(parent: AnyArray, sums: AnyArray, sizes: AnyArray, edges: AnyArray, least: int) -> None:
    """Merges each cluster of fewer than ``least`` members into its most similar neighbour, smallest clusters first.

    Args:
        parent, sums, sizes, edges: ``(N,)``, ``(N, D)``, ``(N,)`` and ``(E, 2)``, as in :func:`merge_neighbours`; the
            first three are changed in place.
        least: minimum number of members of a cluster that is kept.
    """
    for limit in range(2, least + 1):
        best = np.full(len(parent), -1e30, np.float32)
        partner = np.full(len(parent), -1, np.int32)
        for e in range(len(edges)):
            a, b = parent[edges[e, 0]], parent[edges[e, 1]]
            if a == b:
                continue
            similarity = (sums[a] * sums[b]).sum() / (sizes[a] * sizes[b])
            for one, other in ((a, b), (b, a)):
                if sizes[one] < limit and similarity > best[one]:
                    best[one], partner[one] = similarity, other
        for one in range(len(parent)):
            if parent[one] != one or partner[one] < 0 or sizes[one] >= limit:
                continue
            keep = partner[one]
            while parent[keep] != keep:
                keep = parent[keep]
            if keep != one:
                parent[one] = keep
                sums[keep] += sums[one]
                sizes[keep] += sizes[one]
        flatten(parent)


@kernel
def near_pairs(labels: AnyArray, reach: int) -> AnyArray:
    """``(E, 2)`` int32 pairs of labels that face each other at ``reach`` pixels or less, in eight directions.

    Args:
        labels: ``(H, W)`` int32, 0 is background and faces nothing.
        reach: 1 finds labels that touch.
    """
    height, width = labels.shape
    pairs = np.empty((1024, 2), np.int32)
    found = 0
    for y in range(height):
        for x in range(width):
            here = labels[y, x]
            if here == 0:
                continue
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
                last = here
                for step in range(1, reach + 1):
                    v, u = y + step * dy, x + step * dx
                    if v >= height or u >= width or u < 0 or labels[v, u] == here:
                        break
                    there = labels[v, u]
                    if there == 0 or there == last:
                        continue
                    last = there
                    if found == len(pairs):
                        pairs = grown(pairs, 2 * found)
                    pairs[found, 0], pairs[found, 1] = here, there
                    found += 1
    return pairs[:found].copy()
