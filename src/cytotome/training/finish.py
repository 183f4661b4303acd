"""Final steps of a run: fits decoder parameters, measures cells, scores the model and reports the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from cytotome.contract import DecodeParameters
from cytotome.inference.known_images import measure_look, measure_types
from cytotome.inference.model import Model
from cytotome.metrics.challenge import image_score, precision_at
from cytotome.models.cell_size import CellSizes, SizedData, measured_sizes
from cytotome.models.familiar import MIN_IMAGES, KnownTypes
from cytotome.models.look import Look
from cytotome.ops.matching import count_matches
from cytotome.training.data import Place, Prepared, labelled_places
from cytotome.tuning.nested import tune
from cytotome.types import UNKNOWN, Image

MOST_SCORED = 20
"""Maximum number of images on which a model is scored at the end of training."""

LOOKED_AT = 200
"""Approximate number of images of each source for measuring their look."""

MOST_OF_A_TYPE = 16
"""Maximum number of images of each cell type for measuring what the model finds in them."""


def calibrated(model: Model, places: Sequence[Place]) -> DecodeParameters:
    """Returns decoder parameters tuned on these images; without images, the model's own."""
    if not places:
        return model.parameters
    samples = [dataset[position] for dataset, position in places]
    pairs = [(model.outputs(sample.image), sample) for sample in samples]
    return tune(model.family, model.file.config, pairs, model.parameters)


def known_sizes(prepared: Prepared, class_names: Sequence[str]) -> CellSizes | None:
    """Measures the sizes of the training cells of a model with these classes; those of other classes are
    ``unknown``.
    """
    data = []
    for source in prepared.sources:
        others = class_names[0] if len(class_names) == 1 else UNKNOWN
        names = {name: others for name in (*source.dataset.class_names, UNKNOWN) if name not in class_names}
        data.append(SizedData(source.dataset, names, source.scale))
    return measured_sizes(data)


class _Images(Sequence[Image]):
    """The images of some samples, read on demand."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, position: Any) -> Any:
        dataset, place = self.places[position]
        return dataset[place].image


def known_look(model: Model, prepared: Prepared) -> Look | None:
    """Measures the look of a model's training images."""
    places = [
        (source.dataset, place)
        for source in prepared.sources
        for place in range(0, len(source.dataset), max(1, len(source.dataset) // LOOKED_AT))
    ]
    return measure_look(model, _Images(places))


def known_types(model: Model, prepared: Prepared) -> KnownTypes | None:
    """Measures what a model finds in training images of each cell type; None for a single type."""
    if len(model.class_names) < 2:
        return None
    by_type = _by_type(labelled_places(prepared.sources))
    chosen = {name: places for name, places in by_type.items() if len(places) >= MIN_IMAGES and name}
    return measure_types(
        model,
        (
            (name, dataset[place].image)
            for name, places in chosen.items()
            for dataset, place in places[:: -(-len(places) // MOST_OF_A_TYPE)]
        ),
    )


def mean_score(model: Model, places: Sequence[Place]) -> float:
    """The challenge's mAP of a model, averaged over labelled images."""
    samples = [dataset[position] for dataset, position in places]
    pairs = [(model.segment(sample.image), sample.instances) for sample in samples]
    return float(np.mean([image_score(found, truth) for found, truth in pairs if truth is not None]))


def types_in_turn(places: Sequence[Place], count: int) -> list[Place]:
    """Up to ``count`` images, alternating between cell types, so that each is included."""
    in_turn = chain(*zip_longest(*_by_type(places).values()))
    return [place for place in in_turn if place is not None][:count]


def _by_type(places: Sequence[Place]) -> dict[str, list[Place]]:
    by_type: dict[str, list[Place]] = {}
    for dataset, position in places:
        by_type.setdefault(dataset.infos[position].cell_type, []).append((dataset, position))
    return by_type


@dataclass(frozen=True)
class CellReport:
    """How well a model finds the cells of some images in total.

    Attributes:
        held_out: whether the model was not trained on these images.
        images: number of images.
        truths, found: numbers of true cells and of found cells.
        hits: number of found cells with an IoU above 0.5 with a true cell, each counted once.
        mean_ap: the challenge's score, mean over the images.
        min_score: the decoder's ``min_score``.
    """

    held_out: bool
    images: int
    truths: int
    found: int
    hits: int
    mean_ap: float
    min_score: float

    @property
    def f1(self) -> float:
        """F1 over all cells, at IoU 0.5; 1 if there is neither a cell nor a prediction."""
        both = self.truths + self.found
        return 2 * self.hits / both if both else 1.0

    @property
    def scores(self) -> dict[str, float]:
        """Scores for the card; empty if the model was trained on these images."""
        scores = {"F1 at IoU 0.5": self.f1, "mAP": self.mean_ap}
        return {f"{name}, held-out images": round(value, 4) for name, value in scores.items() if self.held_out}

    def text(self) -> str:
        """Formats the counts, followed by the score that is used to compare methods."""
        kind = "held-out" if self.held_out else "training"
        lines = [f"{kind} images ({self.images}): {self.found} cells found where there are {self.truths}"]
        if self.truths and self.found:
            lines[0] += (
                f" (count {_deviation(self.found / self.truths - 1)}); {self.hits / self.truths:.0%} of the cells are "
                f"found with the right outline (IoU above 0.5), {1 - self.hits / self.found:.0%} of what is found is "
                "wrong"
            )
        lines[0] += f"; F1 {self.f1:.2f}, mAP {self.mean_ap:.3f}"
        if self.truths and not self.found:
            lower = f", lower decode.min_score (now {self.min_score:g})" if self.min_score else ""
            lines.append(f"train longer, start from a trained model (--weights MODEL){lower}, or check the labels")
        if not self.held_out:
            lines.append("new images score lower than those trained on; --fold 0 holds a fifth of the images out")
        return "\n".join(lines)


def report_cells(model: Model, prepared: Prepared) -> CellReport:
    """Scores a model on held-out images, or on training images if none is held out."""
    places = types_in_turn(prepared.validation or labelled_places(prepared.sources), MOST_SCORED)
    truths = found = hits = 0
    scores = []
    for dataset, position in places:
        sample = dataset[position]
        assert sample.instances is not None
        cells = model.segment(sample.image)
        overlaps = cells.overlaps(sample.instances)
        truths, found = truths + len(sample.instances), found + len(cells)
        hits += int(count_matches(overlaps, (0.5,))[0])
        scores.append(float(precision_at(overlaps).mean()))
    min_score = float(model.parameters.min_score)
    return CellReport(bool(prepared.validation), len(places), truths, found, hits, float(np.mean(scores)), min_score)


def _deviation(share: float) -> str:
    return "right" if abs(share) < 0.005 else f"{abs(share):.0%} too {'high' if share > 0 else 'low'}"
