"""Grey levels to network input: percentile normalisation, kept with the model that was trained under it."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from cytotome.errors import ImageError
from cytotome.types import AnyArray, FloatArray, Image


class Normalisation(BaseModel):
    """Maps two percentiles of each channel to 0 and 1, without clipping between them and ``clip``.

    Attributes:
        low: percentile that becomes 0.
        high: percentile that becomes 1.
        clip: values are cut to ``[-clip, 1 + clip]``, so that a hot pixel cannot dominate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = 1.0
    high: float = 99.0
    clip: float = 1.0

    @model_validator(mode="after")
    def _check(self) -> Normalisation:
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(f"needs 0 <= low < high <= 100, got low={self.low}, high={self.high}")
        return self


def to_channels(pixels: AnyArray, channels: int) -> AnyArray:
    """``(H, W, channels)`` of an image of any number of channels.

    RGB becomes grey by its luminance where one channel is asked for, grey is repeated where three are asked for; an
    alpha channel is dropped.

    Raises:
        ImageError: where there is no such rule.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    have = pixels.shape[2]
    if have in (2, 4):
        pixels, have = pixels[:, :, : have - 1], have - 1
    if have == channels:
        return pixels
    if have == 3 and channels == 1:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[:, :, None]
    if have == 1:
        return np.repeat(pixels, channels, axis=2)
    raise ImageError(f"the model takes {channels} channels and the image has {have}; choose the channels first")


def normalise(image: Image, normalisation: Normalisation, channels: int = 1) -> FloatArray:
    """``(channels, H, W)`` float32 network input of an image.

    Raises:
        ImageError: where the image holds values that are not finite, or one value only.
    """
    pixels = to_channels(image.pixels, channels)
    sampled = pixels[:: max(1, pixels.shape[0] // 1024), :: max(1, pixels.shape[1] // 1024)]
    planes = np.empty((channels, *image.shape), np.float32)
    for channel in range(channels):
        low, high = np.percentile(sampled[:, :, channel], [normalisation.low, normalisation.high])
        if not np.isfinite(low + high):
            raise ImageError(f"{image.source}: holds values that are not finite; export it again")
        if high <= low:
            low, high = float(pixels[:, :, channel].min()), float(pixels[:, :, channel].max())
        if high <= low:
            raise ImageError(f"{image.source}: every pixel has the value {low:g}; there is nothing to segment")
        np.subtract(pixels[:, :, channel], np.float32(low), out=planes[channel], dtype=np.float32)
        planes[channel] /= np.float32(high - low)
    return np.clip(planes, -normalisation.clip, 1 + normalisation.clip, out=planes)
