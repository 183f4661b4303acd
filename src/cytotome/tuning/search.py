"""Searching settings on cached predictions: a table of scores that costs no network pass, and two ways through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cytotome.ops.matching import Overlaps, mean_precision
from cytotome.types import AnyArray, Instances

Values: TypeAlias = "dict[str, float]"
Knobs: TypeAlias = "Mapping[str, tuple[float, ...]]"

LIMITS = ("min_score", "min_area")
"""Settings that only drop instances: any of their values are scored on the same instances without decoding again."""
ROUNDS = 2
INNER_ROUNDS = 2


class Problem(Protocol):
    """What is tuned."""

    knobs: Knobs
    start: Values

    def candidates(self, image: int, values: Mapping[str, float]) -> Instances:
        """The instances of one image before the limits, for the other settings."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The instances of one image, as far as they matter for the score.

    Attributes:
        scores, areas: ``(N,)`` of the instances.
        pairs: those of IoU above 0.5 with a truth.
    """

    scores: AnyArray
    areas: AnyArray
    pairs: Overlaps


@dataclass(eq=False)
class Table:
    """Scores of settings on images, each set of instances made once.

    Attributes:
        problem: makes the instances.
        truths: of all images.
        tried: number of settings that were scored.
    """

    problem: Problem
    truths: Sequence[Instances]
    tried: int = 0
    _known: dict[tuple[int, tuple[tuple[str, float], ...]], Candidates] = field(default_factory=dict)
    _means: dict[tuple[object, ...], float] = field(default_factory=dict)

    def scores(self, images: Sequence[int], values: Values) -> npt.NDArray[np.float64]:
        """The challenge's score of each image."""
        key = tuple(sorted((name, value) for name, value in values.items() if name not in LIMITS))
        limits = values.get("min_score", 0.0), values.get("min_area", 0.0)
        return np.array([limited_score(self._candidates(image, key), *limits) for image in images])

    def mean(self, images: Sequence[int], values: Values) -> float:
        """The mean over the images."""
        key = (tuple(images), tuple(sorted(values.items())))
        if key not in self._means:
            self.tried += 1
            self._means[key] = float(self.scores(images, values).mean())
        return self._means[key]

    def _candidates(self, image: int, key: tuple[tuple[str, float], ...]) -> Candidates:
        if (image, key) not in self._known:
            found = self.problem.candidates(image, dict(key))
            self._known[image, key] = keep_pairs(found, self.truths[image])
        return self._known[image, key]


def keep_pairs(found: Instances, truth: Instances) -> Candidates:
    """What :func:`limited_score` needs of instances."""
    pairs = found.overlaps(truth)
    near = 2 * pairs.intersection > pairs.union
    return Candidates(found.scores, found.areas, pairs.select_pairs(near))


def limited_score(candidates: Candidates, min_score: float, min_area: float) -> float:
    """The challenge's score of one image, of the instances that pass both limits."""
    keep = (candidates.scores >= np.float32(min_score)) & (candidates.areas >= min_area)
    return mean_precision(candidates.pairs.select_predictions(keep))


def greedy(
    table: Table, images: Sequence[int], start: Values, *, rounds: int = ROUNDS, only: Knobs | None = None
) -> Values:
    """One setting after the other, each set to its best value while the others stay, some rounds long.

    A value is judged by its own score and those of its neighbours, so that a lucky peak does not win, and taken only
    where :func:`is_better` says so.

    Args:
        table: of scores.
        images: positions of those that count.
        start: values at the beginning.
        rounds: passes through the settings.
        only: the settings that are changed; all by default.
    """
    chosen = dict(start)
    for _ in range(rounds):
        before = dict(chosen)
        for name, values in (table.problem.knobs if only is None else only).items():
            scores = np.array([table.mean(images, {**chosen, name: value}) for value in values])
            best = {**chosen, name: values[int(np.argmax(smoothed(scores)))]}
            if is_better(table, images, best, chosen):
                chosen = best
        if chosen == before:
            break
    return chosen


def is_better(table: Table, images: Sequence[int], values: Values, than: Values) -> bool:
    """Whether the mean gain of some settings exceeds its own standard error over the images.

    The rule of one standard error (Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3): of
    settings that few images cannot tell apart, the one at hand stays.
    """
    if values == than:
        return False
    gains = table.scores(images, values) - table.scores(images, than)
    error = float(gains.std(ddof=1)) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return float(gains.mean()) > error


def smoothed(scores: AnyArray) -> AnyArray:
    """Mean of each score and its neighbours; at the ends, of the two there are."""
    padded = np.pad(scores, 1, mode="edge")
    means: AnyArray = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return means


@dataclass(eq=False)
class OptunaSearch:
    """Optuna's tree of Parzen estimators over the settings that make instances, and greedy steps over the limits.

    The limits cost next to nothing, so that they are searched again for each of the other settings; the sampler learns
    from the best of them.

    Attributes:
        trials: settings of the sampler.
        seed: of the sampler.
        visited: what the sampler tried, for cell types to choose from.
    """

    trials: int = 30
    seed: int = 0
    visited: list[Values] = field(default_factory=list)

    def __call__(self, table: Table, images: Sequence[int], start: Values) -> Values:
        """The best settings over the images."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        knobs = {name: values for name, values in table.problem.knobs.items() if name not in LIMITS}
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self.seed))
        study.enqueue_trial({name: _nearest(values, start[name]) for name, values in knobs.items()})
        found: list[tuple[float, Values]] = []
        for _ in range(self.trials if knobs else 1):
            trial = study.ask()
            values = {name: options[trial.suggest_int(name, 0, len(options) - 1)] for name, options in knobs.items()}
            if values not in self.visited:
                self.visited.append(values)
            best = fit_limits(table, images, {**start, **values})
            score = table.mean(images, best)
            found.append((score, best))
            study.tell(trial, score)
        best = max(found, key=lambda pair: pair[0])[1]
        return best if is_better(table, images, best, found[0][1]) else found[0][1]

    def of_type(self, table: Table, images: Sequence[int], start: Values) -> Values:
        """The best for some of the images, of the settings that were visited for all."""
        tried = [fit_limits(table, images, {**start, **values}) for values in self.visited]
        best = max([start, *tried], key=lambda values: table.mean(images, values))
        return best if is_better(table, images, best, start) else start


def fit_limits(table: Table, images: Sequence[int], values: Values) -> Values:
    """The values with the best limits that greedy steps find."""
    limits = {name: options for name, options in table.problem.knobs.items() if name in LIMITS}
    return greedy(table, images, values, rounds=INNER_ROUNDS, only=limits)


def _nearest(options: tuple[float, ...], value: float) -> int:
    return int(np.argmin(np.abs(np.array(options) - value)))
