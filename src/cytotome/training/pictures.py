"""Pictures of a network's predictions during training, for labelled and unlabelled images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cytotome.inference.model import Model
from cytotome.report.overlay import draw_overlay
from cytotome.training.data import Place, Prepared
from cytotome.types import Image, Sample

LARGEST = 512
"""Side in pixels of the central part of an image that is drawn."""

Bytes = npt.NDArray[np.uint8]


def shown_places(prepared: Prepared) -> dict[str, Place]:
    """``labelled`` and ``unlabelled``: the first image of each kind, if there is one; validation images first."""
    found: dict[str, Place] = {}
    if prepared.validation:
        found["labelled"] = prepared.validation[0]
    for source in prepared.sources:
        for position, info in enumerate(source.dataset.infos):
            found.setdefault("labelled" if info.is_labelled else "unlabelled", (source.dataset, position))
    return found


def draw_prediction(model: Model, sample: Sample) -> Bytes:
    """``(H, n W, 3)`` uint8: the outlines of the cells found; then, for dense families, each channel of the maps."""
    image = _middle(sample.image)
    found = model.predict(image, keep_outputs=True)
    parts: list[Bytes] = [draw_overlay(image, found.instances)]
    for spec in model.maps:
        parts += [_grey(channel, spec.kind == "scalar") for channel in found.outputs[spec.name]]
    return np.concatenate(parts, axis=1)


def _middle(image: Image) -> Image:
    height, width = image.shape
    top, left = max(0, (height - LARGEST) // 2), max(0, (width - LARGEST) // 2)
    pixels = np.ascontiguousarray(image.pixels[top : top + LARGEST, left : left + LARGEST])
    return Image(pixels, image.microns_per_pixel, image.source)


def _grey(values: npt.NDArray[np.float32], unit: bool) -> Bytes:
    """``(H, W, 3)`` uint8; 0 to 1 is black to white if ``unit``, else minimum to maximum."""
    low, high = (0.0, 1.0) if unit else (float(values.min()), float(values.max()))
    scaled = (values - low) / max(high - low, 1e-6)
    return np.repeat((255 * np.clip(scaled, 0, 1)).astype(np.uint8)[:, :, None], 3, axis=2)


def draw_all(model: Model, places: dict[str, Place]) -> dict[str, Bytes]:
    """Returns a picture of each place, by its name."""
    return {name: draw_prediction(model, dataset[position]) for name, (dataset, position) in places.items()}
