"""Instances as the outputs of a network that predicts them directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cytotome.errors import ConfigError
from cytotome.outputs.canvas import Canvas, resized_detections
from cytotome.outputs.instance_tta import with_instance_tta
from cytotome.outputs.stitching import InstancePredictor, with_stitched_tiles
from cytotome.outputs.tiling import TileWatch
from cytotome.outputs.tta import Tta
from cytotome.types import AnyArray, Instances, OutputSpec, SoftMasks

FIELDS = ("shape", "runs", "offsets", "scores", "classes", "ids", "class_names")
SOFT_FIELDS = ("values", "sizes", "boxes")


@dataclass(frozen=True)
class Detections:
    """Instances with soft masks, before filtering; an :class:`cytotome.contract.Outputs`."""

    @property
    def specs(self) -> tuple[OutputSpec, ...]:
        """No maps."""
        return ()

    @property
    def joins_tiles(self) -> bool:
        """Instances of one tile are instances of the image."""
        return True

    def tiled(
        self, predict: InstancePredictor, *, tile: int, stride: int, watch: TileWatch | None = None
    ) -> InstancePredictor:
        """Tiles are stitched, see :func:`cytotome.outputs.stitching.with_stitched_tiles`."""
        return with_stitched_tiles(predict, tile=tile, stride=stride, watch=watch)

    def augmented(self, predict: InstancePredictor, tta: Tta, *, stride: int) -> InstancePredictor:
        """The views are fused by voting, see :func:`cytotome.outputs.instance_tta.with_instance_tta`."""
        return with_instance_tta(predict, tta, stride=stride)

    def at_size(self, found: list[Instances], canvas: Canvas, size: tuple[int, int]) -> list[Instances]:
        """The instances of each image of a batch, with soft masks pasted at that size."""
        return [resized_detections(instances, canvas.content, size) for instances in found]

    def why_no_mean(self) -> str:
        """Instances are fused, not averaged."""
        return "these models predict instances without maps"

    def mean(self, outputs: Sequence[Instances], weights: Sequence[float]) -> Instances:
        """Raises ConfigError for more than one model, see :meth:`why_no_mean`."""
        if len(outputs) > 1:
            raise ConfigError(f"fusion of maps: {self.why_no_mean()}; fuse instances")
        return outputs[0]

    def why_no_difference(self) -> str:
        """Lists of instances have no difference that a network could be trained on."""
        return "instances without maps"

    def difference(self, found: list[Instances], expected: list[Instances]) -> Tensor:
        """Raises ConfigError: see :meth:`why_no_difference`."""
        raise ConfigError(f"teacher: the network predicts {self.why_no_difference()}")

    def to_arrays(self, output: Instances) -> dict[str, AnyArray]:
        """The fields of the instances, and those of the soft masks with the prefix ``soft/``."""
        arrays: dict[str, AnyArray] = {name: np.asarray(getattr(output, name)) for name in FIELDS}
        if output.soft is not None:
            arrays |= {f"soft/{name}": getattr(output.soft, name) for name in SOFT_FIELDS}
        return arrays

    def from_arrays(self, arrays: Mapping[str, AnyArray]) -> Instances:
        """Restores the instances from their fields."""
        soft = SoftMasks(*(arrays[f"soft/{name}"] for name in SOFT_FIELDS)) if "soft/values" in arrays else None
        return Instances(
            shape=(int(arrays["shape"][0]), int(arrays["shape"][1])),
            runs=arrays["runs"],
            offsets=arrays["offsets"],
            scores=arrays["scores"],
            classes=arrays["classes"],
            ids=arrays["ids"],
            class_names=tuple(str(name) for name in arrays["class_names"]),
            soft=soft,
        )
