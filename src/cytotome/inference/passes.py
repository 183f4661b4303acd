"""What goes with images on their way through a model, and what comes out at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cytotome.inference.scale import CellScale
from cytotome.outputs.tiling import TILE, TileWatch
from cytotome.outputs.tta import Tta
from cytotome.types import Image, Instances


@dataclass(frozen=True, slots=True)
class Pass:
    """How images go through the networks.

    Attributes:
        tta: whether, and over which views, the outputs are averaged.
        tile: images with a longer side, in pixels of the network's input, go in tiles.
        size: what the user says of the size of the cells.
        keep: whether predictions keep the outputs that the decoder took.
        watch: called after each tile; what it raises ends the image.
    """

    tta: bool | Tta = False
    tile: int = TILE
    size: CellScale = field(default_factory=CellScale)
    keep: bool = False
    watch: TileWatch | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model or an ensemble finds in one image.

    Attributes:
        image: as it was read.
        instances: in the image's own pixels.
        outputs: of the image's size, what the network gave for these instances and the decoder takes: dense maps or
            detections. None if they were not asked for, and for ensembles.
    """

    image: Image
    instances: Instances
    outputs: Any = None


Finder: TypeAlias = Callable[[Sequence[Image], Sequence[tuple[int, int]]], list[Prediction]]
"""What is found in images as the model is to see them, in their pixels; kept outputs get the sizes of the second
argument, ``(H, W)`` of each."""
