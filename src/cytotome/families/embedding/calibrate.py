"""Fitting the embedding decoder's thresholds and scores to images that the network was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cytotome.families.embedding.config import EmbeddingParameters
from cytotome.families.embedding.decode import cell_probability, decode_embeddings, features
from cytotome.families.embedding.segment import segment_maps
from cytotome.ops.cell_types import parameters_of_image
from cytotome.ops.labels import from_label_map
from cytotome.ops.matching import find_overlaps, mean_precision
from cytotome.ops.scores import are_hits, fit_logistic
from cytotome.types import DenseMaps, Sample

Pair: TypeAlias = tuple[DenseMaps, Sample]


def calibrate(
    pairs: Sequence[Pair], parameters: EmbeddingParameters, class_names: Sequence[str]
) -> EmbeddingParameters:
    """Thresholds, then score weights, then the least score, for the challenge's mAP on images not trained on.

    Args:
        pairs: maps and truth of images.
        parameters: where the fit starts; overrides by cell type are kept and come first.
        class_names: of the model.
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
    """The value of one parameter's search that scores best together with its neighbours; ties keep what was."""
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
        scores.append(mean_precision(find_overlaps(found, sample.instances)))
    return float(np.mean(scores))


def _scores_of_limits(
    pairs: Sequence[Pair], parameters: EmbeddingParameters, limits: Sequence[float], class_names: Sequence[str]
) -> npt.NDArray[np.float64]:
    everything = parameters.model_copy(update={"min_score": 0.0})
    table = np.zeros((len(pairs), len(limits)))
    for row, (maps, sample) in zip(table, pairs, strict=True):
        assert sample.instances is not None
        found = decode_embeddings(maps, everything, class_names)
        overlaps = find_overlaps(found, sample.instances)
        row[:] = [mean_precision(overlaps.select_predictions(found.scores >= limit)) for limit in limits]
    means: npt.NDArray[np.float64] = table.mean(axis=0)
    return means


def fit_scores(
    pairs: Sequence[Pair], parameters: EmbeddingParameters, class_names: Sequence[str]
) -> EmbeddingParameters:
    """Score weights that give the probability of an IoU above 0.5 with a true instance; each image counts alike."""
    images = []
    for maps, sample in pairs:
        cell = cell_probability(maps)
        labels, count = segment_maps(maps, parameters_of_image(parameters, maps.get("cell_type"), cell, class_names))
        if count and sample.instances is not None:
            table = features(labels, count, maps["embedding"], cell)[0]
            images.append((table, are_hits(from_label_map(labels), sample.instances)))
    weights = fit_logistic(images)
    return parameters if weights is None else parameters.model_copy(update={"score_weights": weights})
