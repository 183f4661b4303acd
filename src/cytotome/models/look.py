"""The look of a model's training images, as data in its card, to recognise images of another kind.

Fluorescence has a background near the darkest value, phase contrast one of middle grey, stained tissue or inverted
fluorescence one near the brightest. Inverted phase contrast is recognised by its details, see
:mod:`cytotome.models.polarity`. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cytotome.data.contrast import WINDOW, find_windows
from cytotome.data.normalise import to_channels
from cytotome.errors import ImageError
from cytotome.models.polarity import Polarity
from cytotome.types import AnyArray, Image, Instances

DARK, BRIGHT = 0.2, 0.6
"""Backgrounds below and above these are dark and bright; those between are grey."""

MARGIN = 0.1
"""Margin by which an image's background may be outside the range of the training images."""

INVERTED = (
    "grey levels look inverted compared with the training images; invert them or choose another model "
    "(see cytotome models)"
)

CENTRAL = (0.5, 99.5)
"""Percentiles of the backgrounds of the training images that define their range, to exclude outliers."""


def grey_levels(image: Image) -> AnyArray | None:
    """The ``(H, W)`` grey levels of an image for these checks; None if it is too small or has unsupported channels."""
    if image.shape[0] * image.shape[1] < WINDOW * WINDOW:
        return None
    try:
        plane: AnyArray = to_channels(image.pixels, 1)[:, :, 0]
    except ImageError:
        return None
    return plane


def background_level(grey: AnyArray) -> float | None:
    """Position of the median grey level between the 1st (0) and the 99.8th percentile (1) of the windows with signal.

    Args:
        grey: ``(H, W)``.

    Returns:
        None if the image has no signal.
    """
    windows = find_windows(grey)
    if windows.empty:
        return None
    low, middle, high = np.percentile(windows.pixels(grey), [1, 50, 99.8])
    return float((middle - low) / (high - low)) if high > low else None


class Look(BaseModel):
    """The images that a model knows.

    Attributes:
        least, greatest: :func:`background_level` of the training images, except outliers.
        polarity: polarity of their grey levels, None if not measured.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    least: float = Field(ge=0, le=1)
    greatest: float = Field(ge=0, le=1)
    polarity: Polarity | None = None

    @model_validator(mode="after")
    def _check(self) -> Look:
        if self.least > self.greatest:
            raise ValueError(f"least must not exceed greatest, got {self.least} and {self.greatest}")
        return self

    def knows(self, level: float) -> bool:
        """Whether an image with this background is of the same kind as the training images."""
        return self.least - MARGIN <= level <= self.greatest + MARGIN

    def note(self, image: Image, find: Callable[[], Instances] | None = None) -> str:
        """Returns one line for the user if the image is of another kind than the model knows, else empty.

        Args:
            image: the image, as it was read.
            find: returns what the model finds in the image, only called if needed; without it, inverted phase contrast
                is not detected.
        """
        grey = grey_levels(image)
        level = None if grey is None else background_level(grey)
        if grey is None or level is None:
            return ""
        if self.knows(level):
            inverted = find is not None and self.polarity is not None and self.polarity.is_inverted(grey, find)
            return INVERTED if inverted else ""
        seen, known = describe(level), describe((self.least + self.greatest) / 2)
        advice = "choose another model (see cytotome models)"
        if self.knows(1 - level):
            advice = f"invert the grey levels or {advice}"
        return f"images look like {seen}, the model knows {known}; {advice}"


def describe(level: float) -> str:
    """Describes the kind of image with this background."""
    if level < DARK:
        return "bright objects on a dark background (fluorescence)"
    if level > BRIGHT:
        return "dark objects on a bright background (stained or inverted)"
    return "objects on a grey background (phase contrast)"


def measured_look(levels: Iterable[float | None], polarity: Polarity | None = None) -> Look | None:
    """Computes a look from the :func:`background_level` of each training image; None if none is known."""
    known = [level for level in levels if level is not None]
    if not known:
        return None
    least, greatest = np.percentile(known, CENTRAL)
    return Look(least=round(float(least), 3), greatest=round(float(greatest), 3), polarity=polarity)
