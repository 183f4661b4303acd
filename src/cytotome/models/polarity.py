"""Whether an image has its intensities inverted, by the skewness of its details: data in a model's card.

Dark cells with bright rims and bright cells with dark rims differ in the sign of the third moments of what is seen at
each size, and in nothing else. The moments change sign when the image is inverted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cytotome.models.statistics import FeatureStatistics
from cytotome.types import AnyArray, Instances

LEVELS = 5
"""Octaves of detail, of 1 to 16 pixels."""

MIN_SIDE = 2 << LEVELS
"""Smallest side of an image in pixels that has all octaves."""

CLIP = 5.0
"""Standard deviations beyond which a detail counts no further, so that single specks do not decide."""

NEAR = 2.0
"""Largest distance of the inverted image from the training images."""

NEARER = 1.15
"""By how many times the image is further from them than its inverse."""

CONFUSED = 95
"""Percentile of the confidence in inverted training images; the rest are inverted without a note."""

MIN_IMAGES = 16
"""Fewer images give no statistics: there are 15 features."""


def detail_skewness(grey: AnyArray) -> AnyArray:
    """``(15,)`` float64: third moments of the details of an image, which change sign when it is inverted.

    With the bands ``b`` of a Laplacian pyramid scaled to variance 1, for each band the means of ``b[i] ** 3`` and of
    ``b[i] * b[j] ** 2`` over all finer ones.

    Args:
        grey: ``(H, W)``, of any range, with sides of at least :data:`MIN_SIDE`.
    """
    plane: AnyArray = np.ascontiguousarray(grey, dtype=np.float32)
    moments: list[float] = []
    squares: list[AnyArray] = []
    for _ in range(LEVELS):
        coarse = cv2.pyrDown(plane)
        band = plane - cv2.pyrUp(coarse, dstsize=(plane.shape[1], plane.shape[0]))
        deviation = float(band.std())
        band = np.clip(band / deviation, -CLIP, CLIP) if deviation > 0 else band
        square = band * band
        moments += [float((band * other).mean()) for other in (square, *squares)]
        squares = [cv2.pyrDown(other) for other in (square, *squares)]
        plane = coarse
    return np.array(moments)


def confidence(cells: Instances) -> float:
    """Mean score of the cells, each weighted by its score, so that doubtful ones hardly count; 0 for none."""
    total = float(cells.scores.sum())
    return float((cells.scores.astype(np.float64) ** 2).sum()) / total if total > 0 else 0.0


class Polarity(BaseModel):
    """Which way round a model expects intensities.

    Attributes:
        details: statistics of :func:`detail_skewness` of the training images.
        confused: the :func:`confidence` of what the model finds in training images that are inverted, but
            for a few. A microscope whose images only look inverted gives cells with higher scores.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    details: FeatureStatistics
    confused: float = Field(ge=0, le=1)

    def is_inverted(self, grey: AnyArray, find: Callable[[], Instances]) -> bool:
        """Whether an image is one whose intensities were inverted.

        Args:
            grey: ``(H, W)``.
            find: gives what the model finds in it; called only where the details look inverted.
        """
        if min(grey.shape) < MIN_SIDE:
            return False
        skewness = detail_skewness(grey)
        inverse = self.details.distance(-skewness)
        looks_inverted = inverse <= NEAR and self.details.distance(skewness) > NEARER * inverse
        return looks_inverted and confidence(find()) <= self.confused


def measured_polarity(skewness: Sequence[AnyArray], inverted: Iterable[Instances]) -> Polarity | None:
    """From training images; None for fewer than 16, which say too little.

    Args:
        skewness: :func:`detail_skewness` of each image.
        inverted: what the model finds in some of them, inverted.
    """
    if len(skewness) < MIN_IMAGES:
        return None
    levels = [confidence(cells) for cells in inverted]
    confused = round(float(np.percentile(levels, CONFUSED)), 3) if levels else 0.0
    return Polarity(details=FeatureStatistics.of(np.stack(skewness)), confused=confused)
