"""Fitting decode parameters on images that the network was not trained on, per cell type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from cytotome.contract import DecodeParameters, Family, FamilyConfig
from cytotome.metrics.challenge import image_score
from cytotome.types import DenseMaps, Sample

Pair: TypeAlias = "tuple[DenseMaps, Sample]"
ROUNDS = 2
ENOUGH = 4
"""Images of one cell type from which on the type gets parameters of its own."""


def tune(
    family: Family, config: FamilyConfig, pairs: Sequence[Pair], parameters: DecodeParameters, *, rounds: int = ROUNDS
) -> DecodeParameters:
    """Decode parameters for the challenge's mAP: the family's own fit of the scores, then a search.

    The search goes over all images first, then over those of each cell type of which there are enough, since few
    images choose badly. It takes one parameter of the family's ``search`` after the other, some rounds long. A value is
    judged by its own score and those of its neighbours, so that a lucky peak does not win.

    Args:
        family: whose decoder is tuned.
        config: of the model.
        pairs: maps and truth of images that the network was not trained on.
        parameters: where the search starts.
        rounds: passes over the parameters.
    """
    if family.calibrate is not None:
        parameters = family.calibrate(pairs, parameters, config)
    everywhere = _search(family, config, pairs, parameters, rounds)
    parameters = parameters.model_validate({**parameters.model_dump(), **everywhere})
    by_class = {}
    for name in config.class_names:
        alike = [pair for pair in pairs if pair[1].info.cell_type == name]
        if len(config.class_names) > 1 and len(alike) >= ENOUGH:
            by_class[name] = _search(family, config, alike, parameters, rounds)
    return parameters.model_copy(update={"by_class": by_class})


def _search(
    family: Family,
    config: FamilyConfig,
    pairs: Sequence[Pair],
    parameters: DecodeParameters,
    rounds: int,
) -> dict[str, float]:
    base: dict[str, Any] = {**parameters.model_dump(), "by_class": {}}
    chosen: dict[str, float] = {}
    known: dict[tuple[tuple[str, float], ...], float] = {}

    def score(values: dict[str, float]) -> float:
        key = tuple(sorted(values.items()))
        if key not in known:
            tried = family.parameters.model_validate({**base, **values})
            known[key] = mean_score(family, config, pairs, tried)
        return known[key]

    for _ in range(rounds):
        before = dict(chosen)
        for name, values in family.parameters.search.items():
            scores = np.array([score({**chosen, name: value}) for value in values])
            chosen = {**chosen, name: values[int(np.argmax(_smoothed(scores)))]}
        if chosen == before:
            break
    return chosen


def _smoothed(scores: Any) -> Any:
    """Mean of each score and its neighbours; at the ends, of the two there are."""
    padded = np.pad(scores, 1, mode="edge")
    return (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4


def mean_score(family: Family, config: FamilyConfig, pairs: Sequence[Pair], parameters: DecodeParameters) -> float:
    """The challenge's mAP of the decoder's instances, mean over the images that have a truth."""
    scores = [
        image_score(family.decode(maps, parameters, config.class_names), sample.instances)
        for maps, sample in pairs
        if sample.instances is not None
    ]
    return float(np.mean(scores))
