"""What goes with an image on its way through a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from cytotome.contract import DecodeParameters
from cytotome.errors import CytotomeError
from cytotome.inference.scale import CellScale
from cytotome.outputs.canvas import Canvas
from cytotome.outputs.tta import Tta
from cytotome.types import FloatArray, Image


@dataclass(frozen=True, slots=True)
class Pass:
    """How images go through the network and the decoder."""

    parameters: DecodeParameters
    tta: bool | Tta
    tile: int
    size: CellScale = field(default_factory=CellScale)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a network sees of an image.

    Attributes:
        planes: ``(C, H, W)`` float32, the normalised image.
        canvas: the same at the size that the network sees.
        size: rows and columns of its outputs, once they are brought back.
    """

    planes: FloatArray
    canvas: Canvas
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """An image, the factor that it was resized by (None where a first pass is to tell) and what the network sees."""

    image: Image
    scale: float | None
    seen: Seen


def geometry(prepared: Shown | CytotomeError) -> object:
    """What images must share to go through the network together; None for an error."""
    if isinstance(prepared, CytotomeError):
        return None
    seen = prepared.seen
    return seen.canvas.pixels.shape, seen.canvas.content, seen.size
