"""Results of a comparison: of each method, of the ensemble and overall, and the resulting recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from cytotome.metrics.bootstrap import Interval, bootstrap_mean


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Result of one method for one image.

    Attributes:
        score: the challenge's mAP.
        cell_type: cell type of the image.
        cells: number of cells found.
    """

    score: float
    cell_type: str
    cells: int


@dataclass(frozen=True, slots=True)
class MethodResult:
    """Result of one method for all images.

    Attributes:
        key: identifies models, data and options; results with another key are not reused.
        name: name of the method.
        kind: ``given`` or ``trained``.
        family: family of its models.
        score: mean of the images' mAP.
        types: mean mAP by cell type.
        ceiling: mean mAP of the decoder on perfect outputs.
        seconds_per_image: median time of network and decoder.
        peak_megabytes: peak resident memory; NaN on Windows.
        model_megabytes: size of the model file.
        licence: licence of the model.
        images: results by image id.
    """

    key: str
    name: str
    kind: str
    family: str
    score: float
    types: Mapping[str, float]
    ceiling: float
    seconds_per_image: float
    peak_megabytes: float
    model_megabytes: float
    licence: str
    images: Mapping[str, ImageResult]

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain dicts, strings and numbers, for JSON."""
        images = {
            name: {"score": one.score, "type": one.cell_type, "cells": one.cells} for name, one in self.images.items()
        }
        return {**asdict(self), "images": images}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self | None:
        """Inverse of :meth:`to_dict`; None if the content has another form, such as that of another version."""
        try:
            images = {
                name: ImageResult(one["score"], one["type"], one["cells"]) for name, one in content["images"].items()
            }
            return cls(**{**content, "images": images})
        except (AttributeError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class EnsembleResult:
    """The best ensemble, with settings tuned on folds other than those it is scored on.

    Attributes:
        score: mean of the images' mAP.
        best_single: name of the best single method.
        members: names of its methods.
        tried: number of ensembles from which it was chosen.
        gain: gain in mAP over the best single method.
        types: mean mAP by cell type.
    """

    score: float
    best_single: str
    members: tuple[str, ...]
    tried: int
    gain: Interval
    types: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain dicts, lists, strings and numbers, for JSON."""
        gain = self.gain
        return {
            "score": self.score,
            "best_single": self.best_single,
            "members": list(self.members),
            "tried": self.tried,
            "gain": [gain.mean, gain.low, gain.high],
            "within_noise": gain.within_noise,
            "types": dict(self.types),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of :func:`~cytotome.app.compare.run.run_compare`.

    Attributes:
        data: name of the dataset.
        images: number of held-out images that are scored.
        methods: at least one, in the order in which they were given.
        ensemble: None if there is one method only, or no ensemble could be made.
        ensemble_note: why no ensemble could be made of several methods, empty otherwise.
        failures: reasons of failures, by what failed.
    """

    data: str
    images: int
    methods: tuple[MethodResult, ...]
    ensemble: EnsembleResult | None = None
    ensemble_note: str = ""
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def ranked(self) -> list[MethodResult]:
        """The methods, best first."""
        return sorted(self.methods, key=lambda method: -method.score)

    @property
    def recommendation(self) -> str:
        """Recommends a method in one or two sentences, with its certainty."""
        best, *others = self.ranked
        text = f"use {best.name} (mAP {best.score:.3f} on {self.images} images)"
        if others:
            second = others[0]
            lead = bootstrap_mean([best.images[name].score - second.images[name].score for name in sorted(best.images)])
            if lead.within_noise:
                faster = min(best, second, key=lambda method: method.seconds_per_image)
                text += f"; its lead over {second.name} is within noise, {faster.name} is the faster of the two"
        if self.ensemble is not None:
            gain = self.ensemble.gain
            sure = "within noise" if gain.within_noise else "beyond noise" if gain.low > 0 else "a loss"
            text += (
                f"; the best of {self.ensemble.tried} ensembles, {' + '.join(self.ensemble.members)}: "
                f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}), {sure}"
            )
        return text

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain dicts, lists, strings and numbers, for JSON."""
        content: dict[str, Any] = {
            "data": self.data,
            "images": self.images,
            "entries": [method.to_dict() for method in self.methods],
        }
        if self.ensemble is not None:
            content["ensemble"] = self.ensemble.to_dict()
        elif self.ensemble_note:
            content["ensemble"] = {"note": self.ensemble_note}
        return {**content, "failures": dict(self.failures), "recommendation": self.recommendation}
