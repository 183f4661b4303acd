"""Prediction of the R-CNN family: detections with soft masks, before filtering by the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms
from torchvision.ops.boxes import clip_boxes_to_image, remove_small_boxes

from cytotome._torch import box_coder
from cytotome.families.rcnn.config import RcnnConfig
from cytotome.families.rcnn.net import BOX_CELLS, Rcnn, stage_code
from cytotome.families.rcnn.targets import MASK_CELLS, detections
from cytotome.ops.soft_masks import from_grids
from cytotome.types import Instances

MASKS_AT_ONCE = 256
"""Number of detections whose masks are predicted together, which limits the memory of their pooled features."""


@dataclass(frozen=True, eq=False)
class Detected:
    """Detections of one image: boxes ``(N, 4)`` of x0, y0, x1, y1, scores ``(N,)``, classes ``(N,)`` from 0 on."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def predict_instances(net: Rcnn, images: Tensor) -> list[Instances]:
    """Detections of each of ``(B, C, H, W)`` images, best first, with soft masks of 28 x 28 cells."""
    config = net.config
    levels = net.features(images)
    proposals, _ = net.propose(images, levels)
    levels = [level.float().contiguous() for level in levels]
    size = (int(images.shape[2]), int(images.shape[3]))
    found = detect(net, levels, proposals, size)
    grids = mask_probabilities(net, levels, found)
    return [
        detections(
            from_grids(grid.numpy(), one.boxes[:, [1, 0, 3, 2]].cpu().numpy()),
            size,
            one.scores.cpu().numpy(),
            one.classes.cpu().numpy(),
            config.class_names,
        )
        for one, grid in zip(found, grids, strict=True)
    ]


def detect(net: Rcnn, levels: list[Tensor], proposals: list[Tensor], size: tuple[int, int]) -> list[Detected]:
    """Detections of the box heads, best first: each stage refines the boxes of the previous one; class probabilities
    are averaged.

    With ``per_class``, each class of a proposal is a separate detection, as in torchvision; otherwise a detection's
    score is the probability that it is a cell, and its class the most likely one.
    """
    counts = [len(part) for part in proposals]
    boxes = torch.cat(proposals)[:, None]
    probabilities = []
    for stage in range(len(net.config.stages)):
        logits, deltas = net.box_outputs(stage, net.pool(levels, list(torch.split(boxes[:, 0], counts)), BOX_CELLS))
        probabilities.append(logits.softmax(dim=1))
        coder, each = box_coder(stage_code(stage)), deltas.shape[1]
        if stage + 1 < len(net.config.stages) and each > 1:
            likeliest = logits[:, 1:].argmax(dim=1) + 1
            deltas, each = deltas[torch.arange(len(deltas)), likeliest][:, None], 1
        refined = coder.decode_single(deltas.flatten(1), boxes[:, 0]).reshape(-1, each, 4)
        boxes = clip_boxes_to_image(refined, size)
    mean = torch.stack(probabilities).mean(dim=0)
    parts = zip(torch.split(boxes, counts), torch.split(mean, counts), strict=True)
    choose = _each_class if net.config.per_class else _likeliest
    return [choose(box, probability, net.config) for box, probability in parts]


def _each_class(boxes: Tensor, probabilities: Tensor, config: RcnnConfig) -> Detected:
    scores = probabilities[:, 1:]
    classes = torch.arange(scores.shape[1], device=scores.device).expand_as(scores).reshape(-1)
    boxes, scores = boxes[:, 1:].reshape(-1, 4), scores.reshape(-1)
    keep = _usable(boxes, scores, config)
    boxes, scores, classes = boxes[keep], scores[keep], classes[keep]
    keep = batched_nms(boxes, scores, classes, config.candidate_iou)[: config.most_candidates]
    return Detected(boxes[keep], scores[keep], classes[keep])


def _likeliest(boxes: Tensor, probabilities: Tensor, config: RcnnConfig) -> Detected:
    boxes, scores = boxes[:, 0], 1 - probabilities[:, 0]
    keep = _usable(boxes, scores, config)
    boxes, scores, classes = boxes[keep], scores[keep], probabilities[keep, 1:].argmax(dim=1)
    keep = nms(boxes, scores, config.candidate_iou)[: config.most_candidates]
    return Detected(boxes[keep], scores[keep], classes[keep])


def _usable(boxes: Tensor, scores: Tensor, config: RcnnConfig) -> Tensor:
    chosen = torch.where(scores > config.candidate_score)[0]
    return chosen[remove_small_boxes(boxes[chosen], 1e-2)]


def mask_probabilities(net: Rcnn, levels: Sequence[Tensor], found: Sequence[Detected]) -> list[Tensor]:
    """``(N, 28, 28)`` float32 of each image's detections, on the CPU."""
    grids = []
    for index, one in enumerate(found):
        own = [level[index : index + 1] for level in levels]
        parts = [torch.zeros(0, MASK_CELLS, MASK_CELLS)]
        pieces = zip(*(torch.split(part, MASKS_AT_ONCE) for part in (one.boxes, one.classes)), strict=True)
        for boxes, classes in pieces:
            if len(boxes) == 0:
                continue
            logits = net.mask_logits(net.pool(own, [boxes], MASK_CELLS // 2))
            channel = classes + 1 if net.config.per_class else torch.zeros_like(classes)
            parts.append(logits[torch.arange(len(logits)), channel].sigmoid().cpu())
        grids.append(torch.cat(parts))
    return grids
