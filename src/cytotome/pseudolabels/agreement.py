"""Pseudo-labels (Lee 2013): confident predictions of trained models in unlabelled images become labels for training.

Uncertain predictions are marked as ignored, so that they are neither cell nor background for the next model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from cytotome.errors import ConfigError
from cytotome.inference.model import Model
from cytotome.types import BoolArray, Image, Instances


@dataclass(frozen=True)
class PseudoLabelSettings:
    """Criteria for predicted cells to become labels.

    Attributes:
        confidence: minimum mean score over the models, in [0, 1]; a model that does not find the cell counts as 0.
        by_type: the same for cells of one type, by name.
        agreement: minimum IoU with a cell of each of the other models.
        candidate: cells of a lower score are treated as background; between this and ``confidence``, they are ignored.
        margin: width in pixels of the margin around ignored cells that is also ignored.
        tta: use test-time augmentation.
    """

    confidence: float = 0.6
    by_type: Mapping[str, float] = field(default_factory=dict)
    agreement: float = 0.6
    candidate: float = 0.15
    margin: int = 2
    tta: bool = True

    def __post_init__(self) -> None:
        shares = {"confidence": self.confidence, "agreement": self.agreement, "candidate": self.candidate}
        shares |= {f"confidence of {name}": value for name, value in self.by_type.items()}
        faults = [f"{name} {value}" for name, value in shares.items() if not 0 <= value <= 1]
        if faults:
            raise ConfigError(f"pseudo-labels: {', '.join(faults)}: expected numbers from 0 to 1")
        if self.margin < 0:
            raise ConfigError(f"pseudo-labels: margin must be 0 or more, got {self.margin}")


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Labels of one image.

    Attributes:
        instances: confident cells; their scores are means over the models.
        ignore: ``(H, W)`` bool, uncertain pixels.
        candidates: cells of any of the models from which the labels were selected.
    """

    instances: Instances
    ignore: BoolArray
    candidates: int


def check_models(models: Sequence[Model], settings: PseudoLabelSettings) -> tuple[str, ...]:
    """Returns the class names that all models share.

    Raises:
        ConfigError: if there is no model, class names differ, or a confidence is for an unknown type.
    """
    if not models:
        raise ConfigError("pseudo-labels: no model given; name one or more")
    names: set[tuple[str, ...]] = {model.file.config.class_names for model in models}
    if len(names) > 1:
        listed = "; ".join(", ".join(one) for one in sorted(names))
        raise ConfigError(f"pseudo-labels: the models know different cell types ({listed}); use models of one kind")
    known = names.pop()
    unknown = [name for name in settings.by_type if name not in known]
    if unknown:
        raise ConfigError(f"pseudo-labels: no cell type {', '.join(unknown)}; the models know {', '.join(known)}")
    return known


def label_image(models: Sequence[Model], image: Image, settings: PseudoLabelSettings) -> PseudoLabels:
    """Labels one image, with one model or by the agreement of several.

    Cells are labelled where they are visible: the models' offsets, which are those of their training masks, are not
    applied.

    Args:
        models: the models; masks are those of the first one.
        image: an image without labels.
        settings: criteria for labels.
    """
    seen = [model.without_offset() for model in models]
    return agreed([model.segment(image, tta=settings.tta, min_score=settings.candidate) for model in seen], settings)


def agreed(found: Sequence[Instances], settings: PseudoLabelSettings) -> PseudoLabels:
    """Selects labels among the candidates of each model in one image; masks are those of the first model."""
    first, others = found[0], found[1:]
    overlaps = [best_overlaps(first, other) for other in others]
    scores = np.mean([first.scores, *(scores for _, scores in overlaps)], axis=0).astype(np.float32)
    agreement = np.min([np.ones(len(first)), *(iou for iou, _ in overlaps)], axis=0)
    least = np.full(len(first), settings.confidence)
    for name, value in settings.by_type.items():
        least[first.classes == first.class_names.index(name)] = value
    keep = (scores >= least) & (agreement >= settings.agreement)
    kept = replace(first, scores=scores).select(keep)
    kept = kept.renumbered()
    doubt = _covered(found) & ~_covered([kept])
    if settings.margin and doubt.any():
        side = 2 * settings.margin + 1
        doubt = cv2.dilate(doubt.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        doubt &= ~_covered([kept])
    return PseudoLabels(kept, doubt, sum(len(one) for one in found))


def best_overlaps(first: Instances, second: Instances) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """For each instance of ``first``, its largest IoU with one of ``second``, and the score of that one; 0 if there is
    none.
    """
    best, place = first.overlaps(second).best_truths()
    return best, np.append(second.scores, np.float32(0))[place]


def _covered(found: Sequence[Instances]) -> BoolArray:
    """``(H, W)`` bool, union of the masks of all instances."""
    height, width = found[0].shape
    steps = np.zeros((height, width + 1), np.int32)
    for instances in found:
        np.add.at(steps, (instances.runs[:, 0], instances.runs[:, 1]), 1)
        np.add.at(steps, (instances.runs[:, 0], instances.runs[:, 2]), -1)
    covered: BoolArray = np.cumsum(steps, axis=1)[:, :-1] > 0
    return covered
