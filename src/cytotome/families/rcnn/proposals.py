"""The region proposal network: torchvision's, with known strides, in float32, ignoring invalid pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from typing_extensions import override

from cytotome.families.rcnn.config import RcnnConfig


class CellAnchors(AnchorGenerator):  # type: ignore[misc]  # torchvision has no types
    """Anchors in float32, regardless of the type of the features, with the strides of the levels.

    torchvision infers strides by integer division of the image size by the level size, which is wrong for odd sides.
    """

    def __init__(self, config: RcnnConfig, strides: tuple[int, ...]) -> None:
        sizes = tuple(tuple(edge * config.input_scale for edge in edges) for edges in config.anchor_sizes)
        super().__init__(sizes, (config.anchor_ratios,) * len(sizes))
        self.level_strides = strides

    @override
    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """``(A, 4)`` of x0, y0, x1, y1 for each image."""
        device = feature_maps[0].device
        self.set_cell_anchors(torch.float32, device)
        strides = [[torch.tensor(stride, device=device)] * 2 for stride in self.level_strides]
        levels = self.grid_anchors([list(maps.shape[-2:]) for maps in feature_maps], strides)
        return [torch.cat(levels)] * len(image_list.image_sizes)


class ProposalHead(RPNHead):  # type: ignore[misc]  # torchvision has no types
    """torchvision's head with float32 outputs, which box coordinates need."""

    @override
    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness and box deltas of each level, ``(B, A, h, w)`` and ``(B, 4 A, h, w)``."""
        logits, deltas = super().forward(x)
        return [level.float() for level in logits], [level.float() for level in deltas]


class Proposals(RegionProposalNetwork):  # type: ignore[misc]  # torchvision has no types
    """torchvision's network; anchors whose centre is not valid are neither cell nor background."""

    @override
    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for label, anchor, target in zip(labels, anchors, targets, strict=True):
            label[~centre_is_valid(anchor, target["valid"])] = -1
        return labels, boxes


def centre_is_valid(boxes: Tensor, valid: Tensor) -> Tensor:
    """``(N,)`` bool: whether the pixel in the centre of each box of x0, y0, x1, y1 is set in ``(H, W)``."""
    middle = ((boxes[:, :2] + boxes[:, 2:]) / 2).long()
    x = middle[:, 0].clamp(0, valid.shape[1] - 1)
    y = middle[:, 1].clamp(0, valid.shape[0] - 1)
    return valid[y, x] > 0


def build_proposals(config: RcnnConfig, strides: tuple[int, ...]) -> nn.Module:
    """Builds the network for a pyramid with these strides, with the settings of torchvision's Mask R-CNN."""
    anchors = CellAnchors(config, strides)
    head = ProposalHead(config.pyramid_channels, anchors.num_anchors_per_location()[0])
    names = ("training", "testing")
    return Proposals(
        anchors,
        head,
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n=dict(zip(names, config.proposals_per_level, strict=True)),
        post_nms_top_n=dict(zip(names, config.proposals, strict=True)),
        nms_thresh=0.7,
    )
