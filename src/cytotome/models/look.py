"""How bright the background of a model's training images is, as data in its card, to tell pictures of another kind.

Fluorescence has a background near the darkest value, phase contrast one of middle grey, stained tissue or an inverted
picture one near the brightest. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cytotome.data.contrast import WINDOW, find_windows
from cytotome.data.normalise import to_channels
from cytotome.errors import ImageError
from cytotome.types import Image

DARK, BRIGHT = 0.2, 0.6
"""Backgrounds below and above these are dark and bright; those between are grey."""

MARGIN = 0.1
"""By how much the background of an image may leave the range of the training images."""

CENTRAL = (0.5, 99.5)
"""Percentiles of the training images between which their backgrounds lie; the rest are odd ones."""


def background_level(image: Image) -> float | None:
    """Where the median grey level lies between the 1st (0) and the 99.8th percentile (1) of what holds signal.

    None where nothing can be said: of an empty image, a very small one, or one without a rule for its channels.
    """
    if image.shape[0] * image.shape[1] < WINDOW * WINDOW:
        return None
    try:
        grey = to_channels(image.pixels, 1)[:, :, 0]
    except ImageError:
        return None
    windows = find_windows(grey)
    if windows.empty:
        return None
    low, middle, high = np.percentile(windows.pixels(grey), [1, 50, 99.8])
    return float((middle - low) / (high - low)) if high > low else None


class Look(BaseModel):
    """The backgrounds that a model knows, as :func:`background_level` gives them.

    Attributes:
        least, greatest: of the training images, but for a few odd ones.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    least: float = Field(ge=0, le=1)
    greatest: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Look:
        if self.least > self.greatest:
            raise ValueError(f"least must not exceed greatest, got {self.least} and {self.greatest}")
        return self

    def knows(self, level: float) -> bool:
        """Whether an image of this background is of the kind of the training images."""
        return self.least - MARGIN <= level <= self.greatest + MARGIN

    def note(self, image: Image) -> str:
        """One line for the user where the image is of another kind than the model knows; else empty."""
        level = background_level(image)
        if level is None or self.knows(level):
            return ""
        seen, known = describe(level), describe((self.least + self.greatest) / 2)
        advice = "choose another model (see cytotome models)"
        if self.knows(1 - level):
            advice = f"invert the grey levels or {advice}"
        return f"images look like {seen}, the model knows {known}; {advice}"


def describe(level: float) -> str:
    """The kind of picture with this background, in words."""
    if level < DARK:
        return "bright objects on a dark background (fluorescence)"
    if level > BRIGHT:
        return "dark objects on a bright background (stained or inverted)"
    return "objects on a grey background (phase contrast)"


def measured_look(images: Iterable[Image]) -> Look | None:
    """The backgrounds of training images; None where nothing can be said of any."""
    levels = [level for level in map(background_level, images) if level is not None]
    if not levels:
        return None
    least, greatest = np.percentile(levels, CENTRAL)
    return Look(least=round(float(least), 3), greatest=round(float(greatest), 3))
