"""Scores of the instances of the decoder of foreground maps."""

from __future__ import annotations

from collections.abc import Sequence

from cytotome.arrays import Float64Array
from cytotome.families.unetr.config import ForegroundParameters
from cytotome.families.unetr.decode import describe, of_image
from cytotome.ops.scores import fit_score_weights
from cytotome.types import DenseMaps, Instances, Sample


def fit_foreground_scores(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: ForegroundParameters, class_names: Sequence[str]
) -> ForegroundParameters:
    """Fits score weights with :func:`~cytotome.ops.scores.fit_score_weights` on pairs of maps and truth."""

    def describe_image(maps: DenseMaps) -> tuple[Instances, Float64Array]:
        return describe(maps, of_image(maps["foreground"], parameters, class_names), class_names)

    return fit_score_weights(pairs, parameters, describe_image)
