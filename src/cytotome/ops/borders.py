"""Borders between touching labels."""

from __future__ import annotations

import cv2
import numpy as np

from cytotome.arrays import BoolArray, ByteArray, IntArray


def contact_border(labels: IntArray, window: ByteArray) -> BoolArray:
    """``(H, W)`` bool: pixels, of cells and of the gaps between them, whose window contains at least two cells.

    Args:
        labels: ``(H, W)`` int32 below 2^24, 0 is background.
        window: uint8 of odd sides, 1 at the pixels of the neighbourhood.
    """
    values = labels.astype(np.float32)  # exact up to 2 ** 24
    highest = cv2.dilate(values, window)
    lowest = cv2.erode(np.where(labels > 0, values, np.float32(np.inf)), window)  # infinite outside cells
    border: BoolArray = lowest < highest
    return border


def square(width: int) -> ByteArray:
    """Returns the window of all pixels within ``width`` rows and columns."""
    return np.ones((2 * width + 1, 2 * width + 1), np.uint8)
