"""Training targets of the flow family, and the maps that a perfect network would give."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cytotome.families.flow.config import FlowConfig
from cytotome.ops.flows import flow_maps
from cytotome.ops.labels import label_positions
from cytotome.types import AnyArray, DenseMaps, Instances


def flow_targets(instances: Instances, config: FlowConfig) -> dict[str, AnyArray]:
    """Targets of one crop; where instances overlap, the smaller one gets the pixels.

    Returns:
        ``flow`` ``(2, H, W)`` float32, unit vectors y, x to the centre of the pixel's instance, 0 outside;
        ``cell`` ``(1, H, W)`` float32, 1 inside instances;
        ``cell_type`` ``(1, H, W)`` int64, class of the pixel's instance, -1 outside or where it is unknown.
    """
    del config
    labels = label_positions(instances)
    classes = np.concatenate([[-1], instances.classes]).astype(np.int64)
    return {**flow_maps(labels), "cell_type": classes[labels][None]}


def oracle_maps(targets: Mapping[str, AnyArray], config: FlowConfig) -> DenseMaps:
    """The dense maps whose network made no error."""
    classes = np.arange(len(config.class_names))[:, None, None]
    return {
        "flow": targets["flow"],
        "cell": targets["cell"],
        "cell_type": (targets["cell_type"] == classes).astype(np.float32),
    }
