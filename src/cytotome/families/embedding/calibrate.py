"""Fitting of the embedding decoder's thresholds and scores on images that the network was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from cytotome.arrays import Float64Array
from cytotome.families.embedding.config import EmbeddingParameters
from cytotome.families.embedding.decode import decode_embeddings, describe, of_image
from cytotome.ops.matching import mean_precision
from cytotome.ops.scores import fit_score_weights
from cytotome.types import DenseMaps, Instances, Sample

Pair: TypeAlias = tuple[DenseMaps, Sample]


def calibrate(
    pairs: Sequence[Pair], parameters: EmbeddingParameters, class_names: Sequence[str]
) -> EmbeddingParameters:
    """Fits thresholds, then score weights, then the minimum score, to maximise mAP on images not used for training.

    Args:
        pairs: maps and truth of images.
        parameters: initial values; overrides by cell type are kept and take precedence.
        class_names: class names of the model.
    """
    pairs = [pair for pair in pairs if pair[1].instances is not None]
    if not pairs:
        return parameters
    for name in ("cell_threshold", "similarity", "cell_threshold"):
        if name == "cell_threshold" or "cell" in pairs[0][0]:
            parameters = _fit_one(pairs, parameters, name, class_names)
    parameters = fit_scores(pairs, parameters, class_names)
    return _fit_one(pairs, parameters, "min_score", class_names)


def _fit_one(
    pairs: Sequence[Pair], parameters: EmbeddingParameters, name: str, class_names: Sequence[str]
) -> EmbeddingParameters:
    """The value of a parameter's search that scores best, averaged with its neighbours; ties keep the current value."""
    values = sorted({*parameters.search[name], getattr(parameters, name)})
    tried = [parameters.model_copy(update={name: value}) for value in values]
    if name == "min_score":
        scores = _scores_of_limits(pairs, parameters, values, class_names)
    else:
        scores = np.array([_score(pairs, one, class_names) for one in tried])
    padded = np.pad(scores, 1, mode="edge")
    smooth = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    current = values.index(getattr(parameters, name))
    return parameters if smooth[current] >= smooth.max() else tried[int(smooth.argmax())]


def _score(pairs: Sequence[Pair], parameters: EmbeddingParameters, class_names: Sequence[str]) -> float:
    scores = []
    for maps, sample in pairs:
        assert sample.instances is not None
        found = decode_embeddings(maps, parameters, class_names)
        scores.append(mean_precision(found.overlaps(sample.instances)))
    return float(np.mean(scores))


def _scores_of_limits(
    pairs: Sequence[Pair], parameters: EmbeddingParameters, limits: Sequence[float], class_names: Sequence[str]
) -> Float64Array:
    everything = parameters.model_copy(update={"min_score": 0.0})
    table = np.zeros((len(pairs), len(limits)))
    for row, (maps, sample) in zip(table, pairs, strict=True):
        assert sample.instances is not None
        found = decode_embeddings(maps, everything, class_names)
        overlaps = found.overlaps(sample.instances)
        row[:] = [mean_precision(overlaps.select_predictions(found.scores >= limit)) for limit in limits]
    means: Float64Array = table.mean(axis=0)
    return means


def fit_scores(
    pairs: Sequence[Pair], parameters: EmbeddingParameters, class_names: Sequence[str]
) -> EmbeddingParameters:
    """Fits score weights with :func:`~cytotome.ops.scores.fit_score_weights`."""

    def describe_image(maps: DenseMaps) -> tuple[Instances, Float64Array]:
        return describe(maps, of_image(maps, parameters, class_names), class_names)

    return fit_score_weights(pairs, parameters, describe_image)
