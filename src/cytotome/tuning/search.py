"""Search for settings on cached predictions: a table of scores without network passes, and two search methods."""

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
"""Settings that only drop instances: all of their values are scored on the same instances."""
ROUNDS = 2
INNER_ROUNDS = 2


class Problem(Protocol):
    """The subject of tuning."""

    knobs: Knobs
    start: Values

    def candidates(self, image: int, values: Mapping[str, float]) -> Instances:
        """Instances of one image for the other settings, before applying the limits."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The properties of one image's instances that determine the score.

    Attributes:
        scores, areas: ``(N,)``, scores and areas of the instances.
        pairs: pairs with a truth with an IoU above 0.5.
    """

    scores: AnyArray
    areas: AnyArray
    pairs: Overlaps


@dataclass(eq=False)
class Table:
    """Scores of settings on images; each set of instances is computed once.

    Attributes:
        problem: provides the instances.
        truths: true instances of all images.
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
    """Extracts from instances what :func:`limited_score` needs."""
    pairs = found.overlaps(truth)
    near = 2 * pairs.intersection > pairs.union
    return Candidates(found.scores, found.areas, pairs.select_pairs(near))


def limited_score(candidates: Candidates, min_score: float, min_area: float) -> float:
    """The challenge's score of one image for the instances that pass both limits."""
    keep = (candidates.scores >= np.float32(min_score)) & (candidates.areas >= min_area)
    return mean_precision(candidates.pairs.select_predictions(keep))


def greedy(
    table: Table, images: Sequence[int], start: Values, *, rounds: int = ROUNDS, only: Knobs | None = None
) -> Values:
    """Greedy search: sets one setting after the other to its best value, with the others fixed, for several rounds.

    A value is rated by its own score and those of its neighbours, to avoid random peaks, and only accepted if
    :func:`is_better` is true.

    Args:
        table: table of scores.
        images: positions of the images to use.
        start: initial values.
        rounds: number of rounds over the settings.
        only: settings that are changed; all by default.
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
    """Whether the mean gain of some settings exceeds its standard error over the images.

    The rule of one standard error (Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3): among
    settings that the images cannot distinguish, the current one is kept.
    """
    if values == than:
        return False
    gains = table.scores(images, values) - table.scores(images, than)
    error = float(gains.std(ddof=1)) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return float(gains.mean()) > error


def smoothed(scores: AnyArray) -> AnyArray:
    """Mean of each score and its neighbours; at the ends, there is only one neighbour."""
    padded = np.pad(scores, 1, mode="edge")
    means: AnyArray = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return means


@dataclass(eq=False)
class OptunaSearch:
    """Optuna's tree-structured Parzen estimator for the settings of the instances, and a greedy search for the limits.

    As the limits cost hardly anything, they are searched again for each of the other settings; the sampler gets the
    best score.

    Attributes:
        trials: number of trials of the sampler.
        seed: random seed of the sampler.
        visited: settings that the sampler tried, from which those of cell types are chosen.
    """

    trials: int = 30
    seed: int = 0
    visited: list[Values] = field(default_factory=list)

    def __call__(self, table: Table, images: Sequence[int], start: Values) -> Values:
        """Returns the best settings over the images."""
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
        """Returns the best settings for some images, among those visited for all images."""
        tried = [fit_limits(table, images, {**start, **values}) for values in self.visited]
        best = max([start, *tried], key=lambda values: table.mean(images, values))
        return best if is_better(table, images, best, start) else start


def fit_limits(table: Table, images: Sequence[int], values: Values) -> Values:
    """Returns the values with the best limits of a greedy search."""
    limits = {name: options for name, options in table.problem.knobs.items() if name in LIMITS}
    return greedy(table, images, values, rounds=INNER_ROUNDS, only=limits)


def _nearest(options: tuple[float, ...], value: float) -> int:
    return int(np.argmin(np.abs(np.array(options) - value)))
