"""The network: pyramid, proposals, one box head per stage, mask head; built from torchvision's parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

from cytotome.families.rcnn.config import COMPACT, RcnnConfig
from cytotome.families.rcnn.proposals import build_proposals
from cytotome.families.rcnn.pyramid import LEVELS, CompactPyramid, Pyramid, norm_layer
from cytotome.losses.flow import FLOW_HEADS
from cytotome.nets.compact import CompactUNet, initialise
from cytotome.nets.encoder_decoder import EncoderDecoder
from cytotome.nets.pretrained import remember

BOX_CELLS = 7
STAGE_CODES = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
"""Factors on box deltas of the first, second and every later stage (Cai and Vasconcelos 2018)."""


class Rcnn(nn.Module):
    """Mask R-CNN of one or several stages.

    Args:
        config: config of the family; pretrained weights are loaded by :func:`build_network`.
    """

    stride = 32

    def __init__(self, config: RcnnConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _pyramid(config)
        self.rpn = build_proposals(config, self.backbone.strides)
        classes, wide = len(config.class_names) + 1, config.pyramid_channels
        stages = range(len(config.stages))
        self.box_heads = nn.ModuleList(TwoMLPHead(wide * BOX_CELLS**2, config.box_features) for _ in stages)
        self.box_predictors = nn.ModuleList(_predictor(config, classes) for _ in stages)
        layers = [config.mask_channels] * config.mask_layers
        self.mask_head = MaskRCNNHeads(wide, layers, 1, norm_layer(config.norm))
        self.mask_predictor = MaskRCNNPredictor(
            config.mask_channels, config.mask_channels, classes if config.per_class else 1
        )
        _begin_small(self.box_predictors)

    def features(self, images: Tensor) -> list[Tensor]:
        """The five levels of the pyramid."""
        levels: list[Tensor] = self.backbone(images)
        return levels

    def features_and_maps(self, images: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The five levels and, with a dense loss, the logits ``flow`` and ``cell``."""
        if isinstance(self.backbone, CompactPyramid) and self.config.dense_weight:
            return self.backbone.with_maps(images)
        return self.features(images), {}

    def propose(
        self, images: Tensor, levels: Sequence[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Boxes ``(P, 4)`` of x0, y0, x1, y1 for each image and, in training, the losses of the proposals."""
        size = (int(images.shape[2]), int(images.shape[3]))
        named = {str(index): level for index, level in enumerate(levels)}
        boxes, losses = self.rpn(ImageList(images, [size] * len(images)), named, targets)
        return boxes, losses

    def pool(self, levels: Sequence[Tensor], boxes: list[Tensor], cells: int) -> Tensor:
        """``(R, C, cells, cells)`` features of all boxes, each from the level for its size (Lin et al. 2017, eq. 1)."""
        return pool_boxes(levels[:LEVELS], boxes, self.backbone.strides, cells, aligned=self.config.aligned)

    def box_outputs(self, stage: int, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits ``(R, K + 1)``, background first, and deltas ``(R, 1 or K + 1, 4)``, float32."""
        logits, deltas = self.box_predictors[stage](self.box_heads[stage](pooled.to(self._dtype)))
        return logits.float(), deltas.float().unflatten(1, (-1, 4))

    def mask_logits(self, pooled: Tensor) -> Tensor:
        """``(R, 1 or K + 1, 28, 28)`` float32."""
        pooled = pooled.to(self._dtype, memory_format=torch.channels_last)
        logits: Tensor = self.mask_predictor(self.mask_head(pooled))
        return logits.float()

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.box_predictors.parameters()).dtype


def stage_code(stage: int) -> tuple[float, float, float, float]:
    """Factors on the box deltas of a stage."""
    return STAGE_CODES[min(stage, len(STAGE_CODES) - 1)]


def pool_boxes(
    levels: Sequence[Tensor], boxes: list[Tensor], strides: Sequence[int], cells: int, *, aligned: bool
) -> Tensor:
    """RoIAlign (He et al. 2017) over a pyramid, in float32, like torchvision's ``MultiScaleRoIAlign``.

    Args:
        levels: ``(B, C, h, w)`` each, finest first.
        boxes: ``(R, 4)`` of x0, y0, x1, y1 for each image.
        strides: strides of the levels; the first is 4 in the paper.
        cells: number of grid cells along each axis of the result.
        aligned: account for the half pixel between the corner and the centre of a feature pixel.
    """
    owners = torch.cat([torch.full_like(part[:, :1], index) for index, part in enumerate(boxes)])
    regions = torch.cat([owners, torch.cat(boxes)], dim=1)
    finest = round(torch.log2(torch.tensor(float(strides[0]))).item())
    level_of = LevelMapper(finest, finest + len(levels) - 1)(boxes)
    pooled = torch.zeros(len(regions), levels[0].shape[1], cells, cells, device=regions.device)
    for index, level in enumerate(levels):
        chosen = torch.where(level_of == index)[0]
        if len(chosen):
            scale = 1 / strides[index]
            maps = level.float().contiguous()
            part = roi_align(maps, regions[chosen], cells, scale, sampling_ratio=2, aligned=aligned)
            pooled = pooled.index_put((chosen,), part.to(pooled.dtype))
    return pooled


def build_network(config: RcnnConfig) -> Rcnn:
    """Builds the network, with the weights given by ``config.pretrained``."""
    net = Rcnn(config)
    if isinstance(config.pretrained, str) and config.pretrained != "imagenet" and config.backbone != COMPACT:
        from cytotome.families.rcnn.pretrained import load_pretrained

        remember(net, load_pretrained(net, config.pretrained))
    return net


def _pyramid(config: RcnnConfig) -> Pyramid | CompactPyramid:
    if config.backbone == COMPACT:
        return CompactPyramid(_compact(config), config.widths, config.pyramid_channels, config.norm)
    return Pyramid(
        config.backbone,
        config.channels,
        config.pyramid_channels,
        widths=config.widths,
        stem_stride=config.stem_stride,
        norm=config.norm,
        imagenet_normalisation=config.imagenet_normalisation,
        pretrained=config.pretrained is True or config.pretrained == "imagenet",
    )


def _compact(config: RcnnConfig) -> CompactUNet | EncoderDecoder:
    """The network of ``flow``, with its heads."""
    if config.encoder:
        return EncoderDecoder(
            config.encoder,
            "compact",
            config.channels,
            FLOW_HEADS,
            {},
            pretrained=config.pretrained,
            widths=config.widths,
        )
    net = CompactUNet(config.channels, config.widths, config.blocks, FLOW_HEADS, {})
    initialise(net)
    return net


def _begin_small(predictors: nn.ModuleList) -> None:
    """As in Detectron: initially, all classes are equally likely and boxes are not moved."""
    for predictor in predictors:
        for layer, deviation in ((predictor.cls_score, 0.01), (predictor.bbox_pred, 0.001)):
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)


def _predictor(config: RcnnConfig, classes: int) -> FastRCNNPredictor:
    predictor = FastRCNNPredictor(config.box_features, classes)
    if not config.per_class:
        predictor.bbox_pred = nn.Linear(config.box_features, 4)
    return predictor
