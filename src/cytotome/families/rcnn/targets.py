"""Training targets of the R-CNN family, and the detections of a perfect network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align

from cytotome.contract import PER_INSTANCE
from cytotome.families.rcnn.config import RcnnConfig
from cytotome.ops.flows import flow_maps
from cytotome.ops.labels import label_positions
from cytotome.ops.soft_masks import from_grids, mask_grids, paste
from cytotome.types import AnyArray, Instances, SoftMasks

BOXES, CLASSES, MASKS = PER_INSTANCE + "boxes", PER_INSTANCE + "classes", PER_INSTANCE + "masks"
MASK_CELLS = 28
"""Grid cells along each axis of a predicted mask."""


def rcnn_targets(instances: Instances, config: RcnnConfig) -> dict[str, AnyArray]:
    """Returns boxes, classes and masks of the instances of one crop, which may be empty.

    Instances narrower or lower than ``least_side``, due to the crop or a broken annotation, are left out. A mask of
    several parts has one box around all of them.

    Returns:
        ``instance.boxes`` ``(N, 4)`` float32 of x0, y0, x1, y1 in pixels of the crop, half open; ``instance.classes``
        ``(N,)`` int64, -1 if unknown; ``instance.masks`` ``(N, G, G)`` uint8, the mask resampled linearly over its box,
        255 inside; ``size`` ``(2,)`` int64, height and width of the crop; with a dense loss, ``flow`` and ``cell`` of
        :func:`cytotome.ops.flows.flow_maps`.
    """
    dense = flow_maps(label_positions(instances)) if config.dense_weight else {}
    boxes = instances.boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    instances = instances.select(sides.min(axis=1, initial=1 << 30) >= max(config.least_side, 1))
    boxes = instances.boxes.astype(np.float32)
    grids = mask_grids(instances, boxes, config.target_cells)
    return {
        BOXES: boxes[:, [1, 0, 3, 2]],
        CLASSES: instances.classes.astype(np.int64),
        MASKS: np.round(grids * 255).astype(np.uint8),
        "size": np.array(instances.shape, np.int64),
        **dense,
    }


def mask_targets(masks: Tensor, boxes: Tensor, regions: Tensor, cells: int) -> Tensor:
    """Targets of the mask head for each region: the mask, resampled linearly over it and thresholded at 0.5.

    Args:
        masks: ``(R, G, G)`` uint8 over ``boxes``, 255 inside.
        boxes: ``(R, 4)`` of x0, y0, x1, y1.
        regions: ``(R, 4)``, the boxes for which masks are computed.
        cells: along each axis of the result.

    Returns:
        ``(R, cells, cells)`` float32 of 0 and 1.
    """
    if len(masks) == 0:
        return torch.zeros(0, cells, cells, device=masks.device)
    # Add a border of zeros, since RoIAlign repeats the outermost grid cells.
    grids = functional.pad(masks.float() / 255, (1, 1, 1, 1))[:, None]
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    places = (regions - boxes[:, :2].repeat(1, 2)) / size.repeat(1, 2) * masks.shape[-1] + 1
    owners = torch.arange(len(masks), device=masks.device)[:, None]
    sampled = roi_align(grids, torch.cat([owners, places], dim=1), cells, sampling_ratio=2, aligned=True)[:, 0]
    above: Tensor = sampled >= 0.5
    return above.float()


def oracle_detections(targets: Mapping[str, AnyArray], config: RcnnConfig) -> Instances:
    """The detections of a perfect network, with the masks that the mask head is trained on."""
    boxes = torch.from_numpy(targets[BOXES])
    grids = mask_targets(torch.from_numpy(targets[MASKS]), boxes, boxes, MASK_CELLS).numpy()
    soft = from_grids(grids, targets[BOXES][:, [1, 0, 3, 2]])
    height, width = (int(side) for side in targets["size"])
    classes = targets[CLASSES].astype(np.int32)
    return detections(soft, (height, width), np.ones(len(classes), np.float32), classes, config.class_names)


def detections(
    soft: SoftMasks, shape: tuple[int, int], scores: AnyArray, classes: AnyArray, class_names: Sequence[str]
) -> Instances:
    """Converts soft masks to instances, thresholded at a probability of 0.5."""
    runs, offsets, _ = paste(soft, shape)
    found = Instances.from_runs(shape, runs, offsets, scores=scores, classes=classes, class_names=class_names)
    return replace(found, soft=soft)
