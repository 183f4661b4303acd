"""Conversion of grey levels to network input: percentile normalisation, stored with the model.

Percentiles are computed over the windows of the image that contain signal (:mod:`cytotome.data.contrast`). In most
images, these are all windows, so the percentiles are those of the image. In a sparse field, percentiles of the whole
image would be in the background and stretch its noise to full contrast.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from cytotome.data.contrast import find_windows
from cytotome.data.guidance import Guidance, guide
from cytotome.errors import ConfigError, ImageError
from cytotome.types import AnyArray, FloatArray, Image

_LUMINANCE = (0.299, 0.587, 0.114)


class Normalisation(BaseModel):
    """Maps two percentiles of each channel, over the windows with signal, to 0 and 1.

    Attributes:
        low: percentile that becomes 0.
        high: percentile that becomes 1.
        clip: values are clipped to ``[-clip, 1 + clip]``, so that a hot pixel cannot dominate.
        guidance: contrast enhancement and edge channels, None for neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = 1.0
    high: float = 99.0
    clip: float = 1.0
    guidance: Guidance | None = None

    @model_validator(mode="after")
    def _check(self) -> Normalisation:
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(f"needs 0 <= low < high <= 100, got low={self.low}, high={self.high}")
        return self


def to_channels(pixels: AnyArray, channels: int, source: str = "image") -> AnyArray:
    """Returns ``(H, W, channels)`` of an image of any number of channels; messages name it ``source``.

    For one channel, RGB becomes grey: the channel itself if all three are equal, else their luminance (BT.601) as
    float32, since integers would leave 30 levels of a blue image. For more channels, grey is repeated. Of two or four
    channels, the last is an alpha channel and is dropped.

    Raises:
        ImageError: if there is no rule for these channels.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    have = pixels.shape[2]
    if have in (2, 4):
        pixels, have = pixels[:, :, : have - 1], have - 1
    if have == channels:
        return pixels
    if have == 3 and channels == 1:
        if (pixels == pixels[:, :, :1]).all():
            return pixels[:, :, :1]
        grey = np.zeros((*pixels.shape[:2], 1), np.float32)
        for channel, weight in enumerate(_LUMINANCE):
            grey[:, :, 0] += pixels[:, :, channel] * np.float32(weight)
        return grey
    if have == 1:
        return np.repeat(pixels, channels, axis=2)
    raise ImageError(
        f"{source}: the model expects {channels} channels, the image has {have}; select the channels first"
    )


def image_channels(channels: int, guidance: Guidance) -> int:
    """Number of channels of the image itself in an input of ``channels``.

    Raises:
        ConfigError: if there is none.
    """
    own = channels - len(guidance.channels)
    if own < 1:
        raise ConfigError(
            f"config.channels: expected at least {len(guidance.channels) + 1} (the image and "
            f"{', '.join(guidance.channels)}), got {channels}; set config.channels={len(guidance.channels) + 1}"
        )
    return own


def normalise(image: Image, normalisation: Normalisation, channels: int = 1) -> FloatArray:
    """``(channels, H, W)`` float32 network input of an image; edge channels are last.

    A channel that contains only noise, or is constant while others are not, becomes zeros.

    Raises:
        ImageError: if the image contains values that are not finite, or every channel has one value only.
        ConfigError: if the guidance leaves no channel for the image itself.
    """
    guidance = normalisation.guidance
    if guidance is not None:
        plain = normalisation.model_copy(update={"guidance": None})
        return guide(normalise(image, plain, image_channels(channels, guidance)), guidance)
    pixels = to_channels(image.pixels, channels, image.source)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError(f"{image.source}: contains values that are not finite; export it again")
    planes = np.zeros((channels, *image.shape), np.float32)
    for channel, plane in enumerate(planes):
        grey = pixels[:, :, channel]
        windows = find_windows(grey)
        if windows.empty:
            continue
        low, high = np.percentile(windows.pixels(grey), [normalisation.low, normalisation.high])
        if high <= low:
            low, high = float(grey.min()), float(grey.max())
        np.subtract(grey, np.float32(low), out=plane, dtype=np.float32)
        plane /= np.float32(high - low)
    if not planes.any() and (pixels == pixels[0, 0]).all():
        raise ImageError(
            f"{image.source}: every pixel has the value {pixels[0, 0].max():g}; there is nothing to segment"
        )
    return np.clip(planes, -normalisation.clip, 1 + normalisation.clip, out=planes)
