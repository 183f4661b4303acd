"""Tuning of a model or an ensemble on images that its networks were not trained on, with unbiased estimates of the
gain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from cytotome.contract import DecodeParameters, FamilyConfig
from cytotome.ensemble.calibration import fit_curve
from cytotome.ensemble.cell_type import fit_type_classifier
from cytotome.ensemble.ensemble import fuse_members
from cytotome.ensemble.file import EnsembleFile
from cytotome.ensemble.instances import InstanceFusion
from cytotome.errors import ConfigError
from cytotome.families import AnyFamily
from cytotome.metrics.bootstrap import Interval, bootstrap_mean
from cytotome.metrics.challenge import image_score
from cytotome.tuning.search import Knobs, OptunaSearch, Table, Values, greedy
from cytotome.types import DenseMaps, Instances, Sample

ENOUGH = 3
"""Minimum number of images of a cell type for settings of its own."""

Search = Literal["optuna", "greedy"]
SEARCHES: tuple[Search, ...] = ("optuna", "greedy")
Pair: TypeAlias = "tuple[DenseMaps, Sample]"
Result = TypeVar("Result", covariant=True)


class Tunable(Protocol[Result]):
    """A method with its cached predictions for some images."""

    knobs: Knobs
    start: Values

    @property
    def samples(self) -> Sequence[Sample]:
        """The images with their truth."""
        ...

    def candidates(self, image: int, values: Mapping[str, float]) -> Instances:
        """Instances before applying limits."""
        ...

    def fitted(self, images: Sequence[int]) -> Tunable[Result]:
        """Returns the method with its scores calibrated on these images."""
        ...

    def result(self, everywhere: Values, by_type: Mapping[str, Values]) -> Result:
        """Result that is written to a file."""
        ...

    def segment(self, image: int, result: Any) -> Instances:
        """Returns the complete instances of one image, as predicted by the model or ensemble; None for the settings as
        they were.
        """
        ...


@dataclass(eq=False)
class TunableModel:
    """A model's decoder.

    Attributes:
        family, config, parameters: family, config and parameters of the model.
        outputs: input of its decoder for each image.
        samples: the images with their truth.
    """

    family: AnyFamily
    config: FamilyConfig
    parameters: DecodeParameters
    outputs: Sequence[Any]
    samples: Sequence[Sample]
    knobs: Knobs = field(init=False)
    start: Values = field(init=False)

    def __post_init__(self) -> None:
        self.knobs = dict(self.family.parameters.search)
        content = self.parameters.model_dump()
        self.start = {name: content[name] for name in self.knobs}

    def candidates(self, image: int, values: Mapping[str, float]) -> Instances:
        """The decoder's instances, without limits on score and area."""
        content = {**self.parameters.model_dump(), **values, "by_class": {}, "min_score": 0.0, "min_area": 1}
        return self._decode(image, self.family.parameters.model_validate(content))

    def fitted(self, images: Sequence[int]) -> TunableModel:
        """Returns the model with scores fitted by the family on these images."""
        if self.family.calibrate is None:
            return self
        pairs = [(self.outputs[image], self.samples[image]) for image in images]
        return replace(self, parameters=self.family.calibrate(pairs, self.parameters, self.config.class_names))

    def result(self, everywhere: Values, by_type: Mapping[str, Values]) -> DecodeParameters:
        """Decoder parameters."""
        known = {name: values for name, values in by_type.items() if name in self.config.class_names}
        by_class = known if len(self.config.class_names) > 1 else {}
        content = {**self.parameters.model_dump(), **everywhere, "by_class": by_class}
        return self.family.parameters.model_validate(content)

    def segment(self, image: int, result: DecodeParameters | None) -> Instances:
        """The decoder's instances."""
        return self._decode(image, self.parameters if result is None else result)

    def _decode(self, image: int, parameters: DecodeParameters) -> Instances:
        return self.family.decode(self.outputs[image], parameters, self.config.class_names)


@dataclass(eq=False)
class TunableEnsemble:
    """An ensemble's fusion.

    Attributes:
        file: the ensemble.
        found: for each image, the instances of each group of members, including low scores.
        samples: the images with their truth.
        classify: fit a classifier of the images' cell types instead of using the majority of the instances.
    """

    file: EnsembleFile
    found: Sequence[Sequence[Instances]]
    samples: Sequence[Sample]
    classify: bool = False
    knobs: Knobs = field(init=False)
    start: Values = field(init=False)

    def __post_init__(self) -> None:
        self.knobs = dict(InstanceFusion.search)
        content = self.file.fusion.model_dump()
        self.start = {name: content[name] for name in self.knobs}

    def candidates(self, image: int, values: Mapping[str, float]) -> Instances:
        """Fused instances without limits on score and area."""
        fusion = {**self.file.fusion.model_dump(), **values, "min_score": 0.0, "min_area": 1}
        file = self.file.model_copy(update={"fusion": InstanceFusion.model_validate(fusion), "by_class": {}})
        return fuse_members(self.found[image], file)

    def fitted(self, images: Sequence[int]) -> TunableEnsemble:
        """Returns the ensemble with each group's scores calibrated to precision on these images, and with a
        classifier.
        """
        members = list(self.file.members)
        for number, group in enumerate(self.file.groups()):
            pairs = [(self.found[image][number], _truth(self.samples[image])) for image in images]
            curve = fit_curve(pairs) if any(len(found) for found, _ in pairs) else None  # a model that finds nothing
            for position in group:
                members[position] = members[position].model_copy(update={"curve": curve})
        file = self.file.model_copy(update={"members": tuple(members)})
        if self.classify:
            fused = [fuse_members(self.found[image], file) for image in images]
            classifier = fit_type_classifier(fused, [self.samples[image].info.cell_type for image in images])
            file = file.model_copy(update={"cell_type": classifier})
        return replace(self, file=file)

    def result(self, everywhere: Values, by_type: Mapping[str, Values]) -> EnsembleFile:
        """The ensemble with its fusion replaced."""
        fusion = InstanceFusion.model_validate({**self.file.fusion.model_dump(), **everywhere})
        return self.file.model_copy(update={"fusion": fusion, "by_class": dict(by_type)})

    def segment(self, image: int, result: EnsembleFile | None) -> Instances:
        """The ensemble's instances."""
        return fuse_members(self.found[image], self.file if result is None else result)


@dataclass(frozen=True, eq=False)
class Tuned:
    """The result of tuning.

    Attributes:
        result: decoder parameters or an ensemble, tuned on all images.
        own, nested: score of each image with the original settings, and with those tuned on the other folds.
        cell_types: cell type of each image.
        tried: number of settings that were scored in the last search, over all images.
    """

    result: Any
    own: npt.NDArray[np.float64]
    nested: npt.NDArray[np.float64]
    cell_types: tuple[str, ...]
    tried: int

    def gain(self, cell_type: str | None = None) -> Interval:
        """Gain of tuning on images that were not used for it."""
        chosen = [cell_type is None or kind == cell_type for kind in self.cell_types]
        return bootstrap_mean((self.nested - self.own)[chosen])

    def text(self) -> str:
        """Formats scores and gains, with a warning if the gain is within noise."""
        lines = [f"{'images':<12}{'number':>7}{'before':>9}{'tuned':>9}   gain (95 % interval)"]
        for kind in (*dict.fromkeys(self.cell_types), None):
            chosen = np.array([kind is None or kind == other for other in self.cell_types])
            before, after = self.own[chosen].mean(), self.nested[chosen].mean()
            name = "all" if kind is None else kind or "unknown"
            gain = str(self.gain(kind)) if chosen.sum() >= ENOUGH else "too few images for an interval"
            lines.append(f"{name:<12}{chosen.sum():>7}{before:>9.3f}{after:>9.3f}   {gain}")
        lines.append(
            f"{self.tried} settings tried; the scores above are of images that the settings were not chosen on"
        )
        if self.gain().within_noise:
            lines.append("warning: the gain is within noise; more images, or the settings as they were, are safer")
        return "\n".join(lines)


def tune_nested(
    method: Tunable[Any], folds: Sequence[int], *, search: Search = "optuna", trials: int = 30, seed: int = 0
) -> Tuned:
    """Tunes on all images, and estimates the gain by tuning on all folds except one and scoring that one, in turn.

    Settings are searched for all images first, then for each cell type with enough images.

    Args:
        method: method with cached predictions of networks that were not trained on the images.
        folds: fold of each image; images that belong together share one.
        search: ``optuna`` or ``greedy``.
        trials: number of trials of Optuna's sampler.
        seed: random seed of the sampler.

    Raises:
        ConfigError: if the search is unknown, or there are fewer than two folds.
    """
    if search not in SEARCHES:
        raise ConfigError(f"search must be one of {', '.join(SEARCHES)}, got {search!r}")
    if len(folds) != len(method.samples) or len(set(folds)) < 2:
        raise ConfigError(
            f"tune: needs images of two folds or more, got {len(folds)} of {len(set(folds))}; add images, or models of "
            "more folds (A:0,B:1), or tune on the training images by --training"
        )
    everything = list(range(len(folds)))
    own = _scores(method, everything, None)
    nested = np.zeros(len(folds))
    for fold in dict.fromkeys(folds):
        result, _ = tune_on(method, [i for i in everything if folds[i] != fold], search, trials, seed)
        apart = [i for i in everything if folds[i] == fold]
        nested[apart] = _scores(method, apart, result)
    result, tried = tune_on(method, everything, search, trials, seed)
    return Tuned(result, own, nested, tuple(sample.info.cell_type for sample in method.samples), tried)


def tune_apart(
    method: Tunable[Any],
    chosen_on: Sequence[int],
    scored_on: Sequence[int],
    *,
    search: Search = "optuna",
    trials: int = 30,
    seed: int = 0,
) -> Tuned:
    """Tunes on some images and scores on others, such as training images and held-out fold of a network.

    Args:
        method: method with cached predictions.
        chosen_on: images on which the settings are chosen.
        scored_on: images whose scores are ``own`` and ``nested`` of the result.
        search, trials, seed: as in :func:`tune_nested`.
    """
    result, tried = tune_on(method, chosen_on, search, trials, seed)
    own, tuned = (_scores(method, scored_on, one) for one in (None, result))
    return Tuned(result, own, tuned, tuple(method.samples[i].info.cell_type for i in scored_on), tried)


def tune_on(
    method: Tunable[Any], images: Sequence[int], search: Search = "optuna", trials: int = 30, seed: int = 0
) -> tuple[Any, int]:
    """Tunes on some images only; returns the result and the number of settings tried.

    Settings are searched for all images first, then for each cell type with enough images, since few images choose
    badly. As a decoder determines the type of an image itself, settings by type are only kept if they do not reduce the
    score with types determined in this way.
    """
    method = method.fitted(images)
    table = Table(method, [_truth(sample) for sample in method.samples])
    over_all, of_type = _searches(search, trials, seed)
    everywhere = over_all(table, images, method.start)
    by_type = {}
    kinds = {i: method.samples[i].info.cell_type for i in images}
    for kind in dict.fromkeys(kinds.values()):
        alike = [i for i in images if kinds[i] == kind]
        if kind and len(alike) >= ENOUGH:
            by_type[kind] = of_type(table, alike, everywhere)
    general, typed = method.result(everywhere, {}), method.result(everywhere, by_type)
    if by_type and _scores(method, images, typed).mean() < _scores(method, images, general).mean():
        typed = general
    return typed, table.tried


def tune(
    family: AnyFamily, config: FamilyConfig, pairs: Sequence[Pair], parameters: DecodeParameters
) -> DecodeParameters:
    """Tunes decoder parameters for the challenge's mAP: the family's fit of the scores, then a greedy search.

    Args:
        family: family whose decoder is tuned.
        config: config of the model.
        pairs: inputs of the decoder and truth, for images that the network was not trained on.
        parameters: initial parameters of the search.
    """
    outputs, samples = zip(*pairs, strict=True)
    method = TunableModel(family, config, parameters, outputs, samples)
    result, _ = tune_on(method, range(len(pairs)), "greedy")
    assert isinstance(result, DecodeParameters)
    return result


def _scores(method: Tunable[Any], images: Sequence[int], result: Any) -> npt.NDArray[np.float64]:
    return np.array([image_score(method.segment(i, result), _truth(method.samples[i])) for i in images])


_Searcher = Callable[[Table, Sequence[int], Values], Values]


def _searches(search: Search, trials: int, seed: int) -> tuple[_Searcher, _Searcher]:
    if search == "greedy":
        return greedy, greedy
    sampler = OptunaSearch(trials, seed)
    return sampler, sampler.of_type


def _truth(sample: Sample) -> Instances:
    if sample.instances is None:
        raise ConfigError(f"tune: image {sample.info.id} has no masks; give labelled images")
    return sample.instances
