"""Facts for a card that need the model itself: what its images look like, and what it finds in those of each type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cytotome.inference.model import Model
from cytotome.models.familiar import KnownTypes, known_types
from cytotome.models.look import Look, background_level, grey_levels, measured_look
from cytotome.models.polarity import MIN_IMAGES, MIN_SIDE, detail_skewness, measured_polarity
from cytotome.types import AnyArray, Image

INVERTED_IMAGES = 24
"""Images, evenly spread, that the model sees inverted."""


def inverted(image: Image) -> Image:
    """The image with its intensities mirrored within their range."""
    pixels = image.pixels
    return replace(image, pixels=pixels.max() - pixels + pixels.min())


def measure_look(model: Model, images: Sequence[Image]) -> Look | None:
    """What images look like, as the model's card keeps it; None if nothing can be said of any.

    Args:
        model: is shown some of them inverted.
        images: that it was trained on; may be read on demand.
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
    """What the model finds in images of each type, as its card keeps it; None if no type has enough images."""
    return known_types((kind, model.segment(image, scale=1)) for kind, image in images)
