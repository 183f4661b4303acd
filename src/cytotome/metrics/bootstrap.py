"""Confidence intervals of means over few images: the bootstrap (Efron 1979)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cytotome.errors import ConfigError

DRAWS = 5000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % percentile interval.

    Attributes:
        mean, low, high: mean of the values and limits of the interval.
        count: number of values.
    """

    mean: float
    low: float
    high: float
    count: int

    @property
    def within_noise(self) -> bool:
        """Whether the interval includes 0."""
        return self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def bootstrap_mean(values: Sequence[float] | npt.NDArray[np.float64], *, seed: int = 0) -> Interval:
    """Returns the mean of one value per image, with the interval of the means of images resampled with replacement.

    To compare two methods, pass the difference for each image, since both were applied to the same images.

    Raises:
        ConfigError: if there are no values.
    """
    array = np.asarray(values, np.float64)
    if array.size == 0:
        raise ConfigError("bootstrap: needs one value or more, got none")
    drawn = np.random.default_rng(seed).integers(0, len(array), (DRAWS, len(array)))
    low, high = np.percentile(array[drawn].mean(axis=1), [2.5, 97.5])
    return Interval(float(array.mean()), float(low), float(high), len(array))
