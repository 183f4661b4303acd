"""Which parts of an image contain signal, if any: statistics of windows, for sparse and empty fields.

The gradients of noise are Gaussian, regardless of its strength and smoothness, with a kurtosis of 3 and a 99.8th
percentile of their magnitude of 3.0 times the median. Edges of cells cause heavy tails. All statistics are sums or
lists over windows, so an image can be processed in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from cytotome.types import AnyArray, BoolArray

WINDOW = 128
"""Approximate side of the windows in pixels: small enough that one small cell is more than the top 0.2 % of the
pixels."""

MARGIN = 8
"""Number of pixels around a window on which its smoothed values depend."""

SMOOTHING = 1.5
"""Sigma in pixels of the Gaussian filter after a 3 x 3 median filter, which removes hot pixels."""

NOISE_TAIL = 4.5
"""For windows with only noise, the 99.8th percentile of the gradients is below this many times the median gradient of
the calmest window: at most 3.6 in noise of any smoothness, at least 5 in most windows with cells."""

FAINT = 0.2
"""Windows whose gradients are below this fraction of those of the strongest window are background, such as debris."""

LEAST_KURTOSIS = 4.0
"""Kurtosis of the gradients below which an image contains only noise. Noise, white or smoothed by up to 12 pixels, has
at most 3.6; the 776 images of DSB2018, Sartorius, LIVECell and T98G have at least 6.1, at half their size 4.6."""

LEAST_PIXELS = 192 * 192
"""Images of fewer pixels are too small to be distinguished from noise: of windows of this size with cells, 1 in 1,193
is below ``LEAST_KURTOSIS``; of windows of 128 x 128 pixels, 19 in 3,889 are."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """A grid of windows over a plane of intensities.

    Attributes:
        rows, columns: ``(R + 1,)`` and ``(C + 1,)``, the borders between the windows in pixels.
        signal: ``(R, C)`` bool, windows that contain more than noise.
        kurtosis: kurtosis of the gradients of the whole plane, along the axis where it is lower; 0 if all are 0.
    """

    rows: AnyArray
    columns: AnyArray
    signal: BoolArray
    kurtosis: float

    @property
    def empty(self) -> bool:
        """Whether the plane contains only noise, or is constant except for single pixels."""
        large = self.rows[-1] * self.columns[-1] >= LEAST_PIXELS
        return self.kurtosis == 0 or (large and self.kurtosis < LEAST_KURTOSIS)

    def pixels(self, plane: AnyArray, most: int = 1 << 20) -> AnyArray:
        """``(N,)`` values of the windows with signal, or of all windows if none has; subsampled to ``most``."""
        chosen = self.signal if self.signal.any() else np.ones_like(self.signal)
        heights, widths = np.diff(self.rows), np.diff(self.columns)
        total = float((chosen * heights[:, None] * widths).sum())
        step = max(1, int(np.sqrt(total / most)))
        return np.concatenate(
            [
                plane[self.rows[i] : self.rows[i + 1] : step, self.columns[j] : self.columns[j + 1] : step].ravel()
                for i, j in np.argwhere(chosen)
            ]
        )


def find_windows(plane: AnyArray) -> Windows:
    """Finds the windows of a ``(H, W)`` plane of finite grey levels."""
    rows, columns = (_borders(side) for side in plane.shape)
    shape = (len(rows) - 1, len(columns) - 1)
    median, tail = np.zeros(shape), np.zeros(shape)
    moments = np.zeros(5)
    for place, gradients in _gradients(plane, rows, columns):
        magnitude = np.sqrt((gradients**2).sum(axis=0))
        median[place], tail[place] = np.percentile(magnitude, [50, 99.8])
        squares = gradients.reshape(2, -1).astype(np.float64) ** 2
        moments += [squares.shape[1], *squares.sum(axis=1), *(squares**2).sum(axis=1)]
    signal = tail > max(NOISE_TAIL * median.min(), FAINT * tail.max())
    return Windows(rows, columns, signal, _kurtosis(moments))


def _borders(side: int) -> AnyArray:
    return np.linspace(0, side, max(1, round(side / WINDOW)) + 1).astype(int)


def _gradients(plane: AnyArray, rows: AnyArray, columns: AnyArray) -> Iterator[tuple[tuple[int, int], AnyArray]]:
    """``(2, h, w)`` differences of smoothed neighbours in each window, along rows and columns."""
    height, width = plane.shape
    for i in range(len(rows) - 1):
        top, bottom = max(0, rows[i] - MARGIN), min(height, rows[i + 1] + MARGIN)
        for j in range(len(columns) - 1):
            left, right = max(0, columns[j] - MARGIN), min(width, columns[j + 1] + MARGIN)
            part = cv2.medianBlur(plane[top:bottom, left:right].astype(np.float32), 3)
            part = cv2.GaussianBlur(part, (0, 0), SMOOTHING)
            part = part[rows[i] - top : rows[i + 1] - top + 1, columns[j] - left : columns[j + 1] - left + 1]
            yield (i, j), np.stack([np.diff(part, axis=0)[:, :-1], np.diff(part, axis=1)[:-1]])


def _kurtosis(moments: AnyArray) -> float:
    """The lower kurtosis of the two axes, from the count and the sums of squares and fourth powers along both."""
    squares, fourths = moments[1:3], moments[3:5]
    found = squares > 0
    return float((moments[0] * fourths[found] / squares[found] ** 2).min()) if found.any() else 0.0
