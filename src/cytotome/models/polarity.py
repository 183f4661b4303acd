"""Detection of inverted grey levels by the skewness of image details, from data in a model's card.

Dark cells with bright rims and bright cells with dark rims differ only in the sign of the third moments of the details
at each scale, which changes when the image is inverted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cytotome.models.statistics import FeatureStatistics
from cytotome.types import AnyArray, Instances

LEVELS = 5
"""Number of octaves of detail, from 1 to 16 pixels."""

MIN_SIDE = 2 << LEVELS
"""Minimum side in pixels of an image with all octaves."""

CLIP = 5.0
"""Number of standard deviations to which details are clipped, so that single specks do not dominate."""

NEAR = 2.0
"""Maximum distance of the inverted image from the training images."""

NEARER = 1.15
"""Minimum ratio of the image's distance from the training images to that of its inverse."""

CONFUSED = 95
"""Percentile of the confidence in inverted training images; beyond it, inverted images are not noted."""

MIN_IMAGES = 16
"""Minimum number of images for the statistics, which have 15 features."""


def detail_skewness(grey: AnyArray) -> AnyArray:
    """``(15,)`` float64: third moments of the details of an image, whose signs change when it is inverted.

    For the bands ``b`` of a Laplacian pyramid, scaled to variance 1: for each band, the means of ``b[i] ** 3`` and of
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
    """Mean score of the cells, weighted by score, so that doubtful ones hardly count; 0 without cells."""
    total = float(cells.scores.sum())
    return float((cells.scores.astype(np.float64) ** 2).sum()) / total if total > 0 else 0.0


class Polarity(BaseModel):
    """The polarity of grey levels that a model expects.

    Attributes:
        details: statistics of :func:`detail_skewness` of the training images.
        confused: upper limit of the :func:`confidence` in inverted training images, except outliers. Images that only
            look inverted, due to their microscope, have a higher confidence.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    details: FeatureStatistics
    confused: float = Field(ge=0, le=1)

    def is_inverted(self, grey: AnyArray, find: Callable[[], Instances]) -> bool:
        """Whether the grey levels of an image are inverted.

        Args:
            grey: ``(H, W)``.
            find: returns what the model finds in the image; only called if the details look inverted.
        """
        if min(grey.shape) < MIN_SIDE:
            return False
        skewness = detail_skewness(grey)
        inverse = self.details.distance(-skewness)
        looks_inverted = inverse <= NEAR and self.details.distance(skewness) > NEARER * inverse
        return looks_inverted and confidence(find()) <= self.confused


def measured_polarity(skewness: Sequence[AnyArray], inverted: Iterable[Instances]) -> Polarity | None:
    """Computes the polarity of training images; None if there are fewer than 16.

    Args:
        skewness: :func:`detail_skewness` of each image.
        inverted: what the model finds in some of them, inverted.
    """
    if len(skewness) < MIN_IMAGES:
        return None
    levels = [confidence(cells) for cells in inverted]
    confused = round(float(np.percentile(levels, CONFUSED)), 3) if levels else 0.0
    return Polarity(details=FeatureStatistics.of(np.stack(skewness)), confused=confused)
