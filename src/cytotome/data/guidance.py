"""Input guidance: contrast enhancement and edge channels, computed from the normalised image.

Stored in the model file with the normalisation, so that a model gets the same input as in training.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cytotome.types import AnyArray, FloatArray

GuidanceChannel = Literal["sobel", "canny", "laplacian"]
SMOOTHING = 1.0
"""Standard deviation in pixels of the Gaussian filter before derivatives."""
STRONG = 99.0
"""Percentile of the edge strength that becomes 1."""
CANNY_LEVELS = (80.0, 92.0)
"""Percentiles of the gradient that are Canny's lower and upper threshold."""
CLIP = 2.0


class Guidance(BaseModel):
    """Operations on the normalised image before it is passed to the network.

    Attributes:
        clahe: clip limit of contrast-limited adaptive histogram equalisation (Zuiderveld 1994), 0 for none.
        clahe_tile: side in pixels of its tiles.
        channels: edge maps that are appended to the image's channels: ``sobel`` gradient magnitude, ``canny`` outlines
            (Canny 1986), ``laplacian`` signed second derivative.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clahe: float = Field(default=0.0, ge=0)
    clahe_tile: int = Field(default=64, ge=8)
    channels: tuple[GuidanceChannel, ...] = ()


def guide(planes: FloatArray, guidance: Guidance) -> FloatArray:
    """``(C + K, H, W)`` float32: the image's channels, enhanced, and the K edge channels.

    Args:
        planes: ``(C, H, W)`` float32, normalised; edges are those of the mean of its channels.
        guidance: the operations.
    """
    if guidance.clahe:
        planes = np.stack([_equalise(plane, guidance) for plane in planes])
    if not guidance.channels:
        return planes
    smooth: AnyArray = cv2.GaussianBlur(planes.mean(axis=0), (0, 0), SMOOTHING)
    gradients = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    extra = [_channel(name, smooth, gradients) for name in guidance.channels]
    return np.concatenate([planes, np.stack(extra)]).astype(np.float32)


def _channel(name: GuidanceChannel, smooth: AnyArray, gradients: tuple[AnyArray, AnyArray]) -> AnyArray:
    if name == "laplacian":
        return _scaled(cv2.Laplacian(smooth, cv2.CV_32F, ksize=3))
    strength = np.hypot(*gradients)
    if name == "sobel":
        return _scaled(strength)
    low, high = np.percentile(strength, CANNY_LEVELS)
    if high <= 0:
        return np.zeros_like(smooth)
    unit = np.iinfo(np.int16).max / max(float(np.abs(one).max()) for one in gradients)
    whole = [np.round(one * unit).astype(np.int16) for one in gradients]
    edges: AnyArray = cv2.Canny(whole[0], whole[1], float(low) * unit, float(high) * unit, L2gradient=True)
    return (edges > 0).astype(np.float32)


def _scaled(values: AnyArray) -> AnyArray:
    strong = float(np.percentile(np.abs(values), STRONG))
    scaled: AnyArray = np.clip(values / np.float32(strong if strong > 0 else 1.0), -CLIP, CLIP)
    return scaled


def _equalise(plane: AnyArray, guidance: Guidance) -> AnyArray:
    """CLAHE on 16 bits between the minimum and maximum grey level, which are unchanged."""
    low, high = float(plane.min()), float(plane.max())
    if high <= low:
        return plane
    top = np.iinfo(np.uint16).max
    levels = np.round((plane - np.float32(low)) * np.float32(top / (high - low))).astype(np.uint16)
    grid = tuple(max(1, round(side / guidance.clahe_tile)) for side in plane.shape[::-1])
    equalised = cv2.createCLAHE(guidance.clahe, grid).apply(levels)
    result: AnyArray = equalised.astype(np.float32) * np.float32((high - low) / top) + np.float32(low)
    return result
