"""Facts for a card that need the model itself: the look of its images, and what it finds in images of each type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cytotome.inference.model import Model
from cytotome.models.familiar import KnownTypes, known_types
from cytotome.models.look import Look, background_level, grey_levels, measured_look
from cytotome.models.polarity import MIN_IMAGES, MIN_SIDE, detail_skewness, measured_polarity
from cytotome.types import AnyArray, Image

INVERTED_IMAGES = 24
"""Number of images, evenly spread, that are passed to the model inverted."""


def inverted(image: Image) -> Image:
    """Returns the image with its grey levels inverted within their range."""
    pixels = image.pixels
    return replace(image, pixels=pixels.max() - pixels + pixels.min())


def measure_look(model: Model, images: Sequence[Image]) -> Look | None:
    """Measures the look of images, as stored in the model's card; None if it cannot be measured for any.

    Args:
        model: applied to some of the images, inverted.
        images: the training images; may be read on demand.
    """
    levels: list[float | None] = []
    skewness: list[AnyArray] = []
    shown: list[int] = []
    for place, image in enumerate(images):
        grey = grey_levels(image)
        levels.append(None if grey is None else background_level(grey))
        if grey is not None and levels[-1] is not None and min(grey.shape) >= MIN_SIDE:
            skewness.append(detail_skewness(grey))
            shown.append(place)
    chosen = shown[:: max(1, len(shown) // INVERTED_IMAGES)] if len(shown) >= MIN_IMAGES else []
    confused = [model.segment(inverted(images[place]), scale=1) for place in chosen]
    return measured_look(levels, measured_polarity(skewness, confused))


def measure_types(model: Model, images: Iterable[tuple[str, Image]]) -> KnownTypes | None:
    """Measures what the model finds in images of each type, as stored in its card; None if no type has enough
    images.
    """
    return known_types((kind, model.segment(image, scale=1)) for kind, image in images)
