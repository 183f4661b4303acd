"""What goes with an image on its way through a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from cytotome.contract import DecodeParameters
from cytotome.errors import CytotomeError
from cytotome.inference.predict import Canvas
from cytotome.inference.scale import CellScale
from cytotome.inference.tta import Tta
from cytotome.types import Image


@dataclass(frozen=True, slots=True)
class Pass:
    """How images go through the network and the decoder."""

    parameters: DecodeParameters
    tta: bool | Tta
    tile: int
    size: CellScale = field(default_factory=CellScale)


@dataclass(frozen=True, slots=True)
class Shown:
    """An image, the factor that it was resized by (None where a first pass is to tell) and what the network sees."""

    image: Image
    scale: float | None
    canvas: Canvas


def geometry(prepared: Shown | CytotomeError) -> object:
    """What images must share to go through the network together; None for an error."""
    if isinstance(prepared, CytotomeError):
        return None
    canvas = prepared.canvas
    return canvas.pixels.shape, canvas.content, canvas.size
