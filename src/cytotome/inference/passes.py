"""Settings and results of the prediction of images."""

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
    """Settings for the prediction of images.

    Attributes:
        tta: views over which outputs are averaged, if any.
        tile: images with a longer side, in pixels of the network's input, are predicted in tiles.
        size: information of the user about the size of the cells.
        keep: whether predictions include the inputs of the decoder.
        watch: called after each tile; an exception stops the processing of the image.
    """

    tta: bool | Tta = False
    tile: int = TILE
    size: CellScale = field(default_factory=CellScale)
    keep: bool = False
    watch: TileWatch | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The prediction of a model or an ensemble for one image.

    Attributes:
        image: the image, as it was read.
        instances: instances in pixels of the image.
        outputs: outputs of the network at the image's size, dense maps or detections, from which the instances were
            decoded. None if they were not requested, and for ensembles.
    """

    image: Image
    instances: Instances
    outputs: Any = None


Finder: TypeAlias = Callable[[Sequence[Image], Sequence[tuple[int, int]]], list[Prediction]]
"""Finds instances in images that are already resized, in their pixels; outputs that are kept have the sizes of the
second argument, ``(H, W)`` for each image."""
