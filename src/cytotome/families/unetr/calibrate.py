"""Scores of the instances that the decoder of foreground maps makes."""

from __future__ import annotations

from collections.abc import Sequence

from cytotome.families.unetr.config import ForegroundParameters
from cytotome.families.unetr.decode import features, of_image, segment
from cytotome.ops.labels import from_label_map
from cytotome.ops.scores import are_hits, fit_logistic
from cytotome.types import DenseMaps, Sample


def fit_foreground_scores(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: ForegroundParameters, class_names: Sequence[str]
) -> ForegroundParameters:
    """Score weights that give the chance of an IoU above 0.5 with a true instance.

    Args:
        pairs: maps and truth of images that the network was not trained on.
        parameters: where the thresholds are taken from.
        class_names: of the model.
    """
    images = []
    for maps, sample in pairs:
        foreground, border = maps["foreground"], maps.get("border")
        labels, count = segment(foreground, border, of_image(foreground, parameters, class_names))
        if count and sample.instances is not None:
            table, _, _ = features(labels, count, foreground, border)
            images.append((table, are_hits(from_label_map(labels), sample.instances)))
    weights = fit_logistic(images)
    return parameters if weights is None else parameters.model_copy(update={"score_weights": weights})
