"""What a run does with its model: scores it, fits its decode parameters, segments one image for all to see."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

import numpy as np

from cytotome.contract import DecodeParameters
from cytotome.inference.model import Model
from cytotome.metrics.challenge import image_score
from cytotome.models.cell_size import UNKNOWN, CellSizes, SizedData, measured_sizes
from cytotome.models.look import Look, measured_look
from cytotome.training.prepare import Place, Prepared
from cytotome.training.tune import tune
from cytotome.types import Dataset, Sample

LOOKED_AT = 200
"""Images of each source, about, whose background is measured."""


def calibrated(model: Model, places: Sequence[Place]) -> DecodeParameters:
    """The decode parameters tuned on these images; the model's own where there is none."""
    if not places:
        return model.parameters
    samples: list[Sample] = [dataset[position] for dataset, position in places]
    pairs = [(model.outputs(sample.image), sample) for sample in samples]
    return tune(model.family, model.file.config, pairs, model.parameters)


def known_sizes(prepared: Prepared, class_names: Sequence[str]) -> CellSizes | None:
    """The sizes of the cells that a model of these classes was trained on; those of other classes are ``unknown``."""
    data = []
    for source in prepared.sources:
        others = class_names[0] if len(class_names) == 1 else UNKNOWN
        names = {name: others for name in (*source.dataset.class_names, UNKNOWN) if name not in class_names}
        data.append(SizedData(source.dataset, names, source.scale))
    return measured_sizes(data)


def known_look(prepared: Prepared) -> Look | None:
    """The backgrounds of the images that a model was trained on."""
    return measured_look(
        source.dataset[place].image
        for source in prepared.sources
        for place in range(0, len(source.dataset), max(1, len(source.dataset) // LOOKED_AT))
    )


def mean_score(model: Model, places: Sequence[Place]) -> float:
    """The challenge's mAP of a model, mean over labelled images."""
    samples: list[Sample] = [dataset[position] for dataset, position in places]
    pairs = [(model.segment(sample.image), sample.instances) for sample in samples]
    return float(np.mean([image_score(found, truth) for found, truth in pairs if truth is not None]))


def types_in_turn(places: Sequence[Place], count: int) -> list[Place]:
    """Up to ``count`` images, the cell types in turn, so that each is among them."""
    by_type: dict[str, list[Place]] = {}
    for dataset, position in places:
        by_type.setdefault(dataset.infos[position].cell_type, []).append((dataset, position))
    return [place for place in chain(*zip_longest(*by_type.values())) if place is not None][:count]


def show_one(model: Model, prepared: Prepared) -> str:
    """Segments the first validation image, or a training image where there is none, and says what came of it."""
    dataset, position, kind = _first(prepared)
    sample: Sample = dataset[position]
    assert sample.instances is not None
    found = model.segment(sample.image)
    score = image_score(found, sample.instances)
    text = (
        f"{kind} image {sample.info.id}: {len(found)} cells found, {len(sample.instances)} are there, mAP {score:.3f}"
    )
    if len(found) == 0 and len(sample.instances):
        text += "; train longer, lower decode.min_score, or check the labels"
    return text


def _first(prepared: Prepared) -> tuple[Dataset, int, str]:
    if prepared.validation:
        return *prepared.validation[0], "validation"
    for source in prepared.sources:
        for position, info in enumerate(source.dataset.infos):
            if info.mask_quality != "none":
                return source.dataset, position, "training"
    raise AssertionError("prepare() has made sure that an image is labelled")
