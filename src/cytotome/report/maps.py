"""Pictures of a network's maps: embeddings in colours that are comparable between images, vectors, probabilities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cytotome.arrays import ByteArray
from cytotome.errors import DataError
from cytotome.io.files import atomic_path
from cytotome.ops.pictures import cell_colours
from cytotome.types import AnyArray, FloatArray, OutputSpec

SAMPLED = 20_000
"""Approximate number of pixels of an image used for its principal components."""
SPREAD = (2.0, 98.0)
"""Percentiles of a component that become the ends of its colour range."""


@dataclass(frozen=True, eq=False)
class EmbeddingColours:
    """Conversion of embeddings to red, green and blue: three directions, and the values of 0 and full intensity on
    each.

    Attributes:
        axes: ``(3, D)``, of unit length.
        low, high: ``(3,)`` values along the axes.
    """

    axes: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Writes the colours as JSON, atomically."""
        content = {name: getattr(self, name).tolist() for name in ("axes", "low", "high")}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_colours(path: Path, dimensions: int) -> EmbeddingColours:
    """Reads a file written by :meth:`EmbeddingColours.save`.

    Raises:
        DataError: if the file is damaged or its embeddings have another number of dimensions.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        colours = EmbeddingColours(*(np.array(content[name], np.float64) for name in ("axes", "low", "high")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: the colours of embeddings cannot be read ({error}); remove the file") from None
    if colours.axes.shape != (3, dimensions) or colours.low.shape != (3,) or colours.high.shape != (3,):
        raise DataError(
            f"{path}: the colours belong to embeddings of another size than {dimensions}; remove the file or choose "
            "another output folder"
        )
    return colours


def fit_colours(embeddings: Sequence[FloatArray], cells: Sequence[FloatArray] | None = None) -> EmbeddingColours:
    """Fits the three principal components of the embeddings of some images, as colours for these and other images.

    The sign of each component is such that its largest entry is positive, so that the same embeddings yield the same
    colours. To compare images, draw them in the colours of one fit.

    Args:
        embeddings: ``(D, H, W)`` each.
        cells: ``(H, W)`` cell probabilities; if given, only pixels above 0.5 are used, if there are any.
    """
    pixels = []
    for index, planes in enumerate(embeddings):
        chosen = planes.reshape(len(planes), -1)
        if cells is not None and (inside := cells[index].reshape(-1) > 0.5).any():
            chosen = chosen[:, inside]
        pixels.append(chosen[:, :: max(1, chosen.shape[1] // SAMPLED)])
    points = np.concatenate(pixels, axis=1).astype(np.float64).T
    centred = points - points.mean(axis=0)
    directions = np.linalg.eigh(centred.T @ centred).eigenvectors.T[
        ::-1
    ]  # of the D x D scatter matrix, regardless of the number of pixels
    axes = np.zeros((3, points.shape[1]))
    axes[: min(3, len(directions))] = directions[:3]
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.where(axes[np.arange(3), largest] < 0, -1.0, 1.0)[:, None]
    low, high = np.percentile(points @ axes.T, SPREAD, axis=0)
    return EmbeddingColours(axes, low, high)


def draw_embedding(embedding: FloatArray, colours: EmbeddingColours, cell: FloatArray | None = None) -> ByteArray:
    """``(H, W, 3)`` uint8 RGB of ``(D, H, W)`` embeddings; dark where ``cell`` ``(H, W)`` is low."""
    along = np.tensordot(colours.axes.astype(np.float32), embedding, axes=(1, 0))
    low, width = colours.low, np.maximum(colours.high - colours.low, 1e-6)
    unit = np.clip((along - low[:, None, None]) / width[:, None, None], 0, 1)
    if cell is not None:
        unit = unit * (0.25 + 0.75 * np.clip(cell, 0, 1))
    return _picture(unit)


def draw_map(values: FloatArray, spec: OutputSpec, colours: EmbeddingColours | None = None) -> ByteArray:
    """``(H, W, 3)`` uint8 RGB of one map ``(C, H, W)``.

    One channel is grey from 0 to the spec's ``top``; several channels are a mixture of colours; for vectors, the
    direction is the hue and the length the brightness; embeddings are drawn in ``colours``, by default fitted to the
    map itself.
    """
    if spec.kind == "embedding":
        return draw_embedding(values, colours or fit_colours([values]))
    if spec.kind == "vector":
        return _picture(_wheel(np.arctan2(values[0], values[1])) * np.clip(np.hypot(values[0], values[1]), 0, 1))
    if len(values) == 1:
        return _picture(np.repeat(values / spec.top, 3, axis=0))
    table = cell_colours(np.arange(len(values))).astype(np.float32) / 255
    return _picture(np.tensordot(table.T, values, axes=(1, 0)))


def _wheel(angle: AnyArray) -> AnyArray:
    """``(3, H, W)`` red, green and blue of a direction, each a cosine, a third of a turn apart."""
    thirds = np.arange(3).reshape(3, 1, 1) * (2 * np.pi / 3)
    colours: AnyArray = 0.5 + 0.5 * np.cos(angle[None] - thirds)
    return colours


def _picture(planes: AnyArray) -> ByteArray:
    picture: ByteArray = np.ascontiguousarray((255 * np.clip(planes, 0, 1) + 0.5).astype(np.uint8).transpose(1, 2, 0))
    return picture
