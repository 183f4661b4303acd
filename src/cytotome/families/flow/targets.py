"""Training targets of the flow family, and the maps of a perfect network."""

from __future__ import annotations

from collections.abc import Mapping

from cytotome.families.flow.config import FlowConfig
from cytotome.ops.cell_types import class_plane, one_hot
from cytotome.ops.flows import flow_maps
from cytotome.ops.labels import label_positions
from cytotome.types import AnyArray, DenseMaps, Instances


def flow_targets(instances: Instances, config: FlowConfig) -> dict[str, AnyArray]:
    """Computes the targets of one crop; where instances overlap, the smaller one gets the pixels.

    Returns:
        ``flow`` ``(2, H, W)`` float32, vectors y, x along the flow field of the pixel's instance, of unit length, 0
        outside; ``cell`` ``(1, H, W)`` float32, 1 inside instances; ``cell_type`` ``(1, H, W)`` int64, class of the
        pixel's instance, -1 outside or if unknown.
    """
    del config
    labels = label_positions(instances)
    return {**flow_maps(labels), "cell_type": class_plane(labels, instances.classes)}


def oracle_maps(targets: Mapping[str, AnyArray], config: FlowConfig) -> DenseMaps:
    """The dense maps of a perfect network."""
    return {
        "flow": targets["flow"],
        "cell": targets["cell"],
        "cell_type": one_hot(targets["cell_type"], len(config.class_names)),
    }
