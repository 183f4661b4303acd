"""Training of the R-CNN family: sampling of proposals, and the losses of boxes, classes and masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou
from torchvision.ops.boxes import clip_boxes_to_image

from cytotome._torch import box_coder, box_sampler
from cytotome.contract import Batch
from cytotome.families.rcnn.config import RcnnConfig
from cytotome.families.rcnn.net import BOX_CELLS, Rcnn, stage_code
from cytotome.families.rcnn.proposals import centre_is_valid
from cytotome.families.rcnn.targets import BOXES, CLASSES, MASK_CELLS, MASKS, mask_targets
from cytotome.losses.flow import flow_losses

BETA = 1 / 9
"""Where torchvision's smooth L1 loss becomes linear."""
FLOW_WEIGHT = 5.0
"""Weight of the flow, relative to the cells, in the dense loss, as in ``flow``."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The instances of one crop: boxes ``(N, 4)``, classes ``(N,)``, masks ``(N, G, G)``; and ``valid`` ``(H, W)``."""

    boxes: Tensor
    classes: Tensor
    masks: Tensor
    valid: Tensor


@dataclass(frozen=True, eq=False)
class Matched:
    """Proposals of one crop with their targets.

    Attributes:
        boxes: ``(R, 4)`` of x0, y0, x1, y1.
        truth: ``(R,)`` int64, position of the instance with the highest IoU, 0 if there is none.
        positive: ``(R,)`` bool, whether it is a cell.
    """

    boxes: Tensor
    truth: Tensor
    positive: Tensor


def rcnn_loss(net: Rcnn, batch: Batch, config: RcnnConfig) -> dict[str, Tensor]:
    """Losses of proposals, of each stage's boxes and classes, and of the masks, on one batch.

    Cells of unknown class are trained as cells of any class. The mask head is trained on the proposals of the first
    stage, whose boxes differ most from the truth.
    """
    truths = split_truth(batch)
    images = batch["image"]
    levels, maps = net.features_and_maps(images)
    targets = [{"boxes": truth.boxes, "valid": truth.valid} for truth in truths]
    proposals, found = net.propose(images, levels, targets)
    levels = [level.float().contiguous() for level in levels]
    losses = {"proposals": found["loss_objectness"], "proposal_boxes": found["loss_rpn_box_reg"]}
    total = config.proposal_weight * (losses["proposals"] + losses["proposal_boxes"])
    matched = [choose(boxes, truth, config) for boxes, truth in zip(proposals, truths, strict=True)]
    masks = mask_loss(net, levels, matched, truths, config)
    for stage in range(len(config.stages)):
        if stage:
            matched = [
                match(part.boxes, truth, config.stages[stage]) for part, truth in zip(matched, truths, strict=True)
            ]
        classes, boxes, refined = _stage_losses(net, levels, stage, matched, truths)
        name = str(stage + 1) if len(config.stages) > 1 else ""
        losses |= {f"class{name}": classes, f"box{name}": boxes}
        total = total + 0.5**stage * (classes + config.box_weight * boxes)
        matched = [Matched(box, part.truth, part.positive) for box, part in zip(refined, matched, strict=True)]
    if maps:
        losses |= flow_losses(maps, batch)
        total = total + config.dense_weight * (FLOW_WEIGHT * losses["flow"] + losses["cell"])
    return {**losses, "mask": masks, "total": total + config.mask_weight * masks}


def split_truth(batch: Batch) -> list[Truth]:
    """Returns the instances of each crop of a batch, without those whose centre is not valid."""
    counts = batch["instances"].tolist()
    boxes, classes, masks = (torch.split(batch[name], counts) for name in (BOXES, CLASSES, MASKS))
    valid = batch["valid"][:, 0]
    return [_valid_truth(*parts) for parts in zip(boxes, classes, masks, valid, strict=True)]


def _valid_truth(boxes: Tensor, classes: Tensor, masks: Tensor, valid: Tensor) -> Truth:
    seen = centre_is_valid(boxes, valid)
    return Truth(boxes[seen], classes[seen], masks[seen], valid)


def match(boxes: Tensor, truth: Truth, least_iou: float) -> Matched:
    """Matches each box to the instance with the highest IoU; positive if the IoU is at least ``least_iou``."""
    if len(truth.boxes) == 0:
        none = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
        return Matched(boxes, none, none.bool())
    iou, nearest = box_iou(truth.boxes, boxes).max(dim=0)
    return Matched(boxes, nearest, iou >= least_iou)


def choose(proposals: Tensor, truth: Truth, config: RcnnConfig) -> Matched:
    """Samples the proposals, true and jittered boxes for training on one crop, with a limited fraction of cells."""
    height, width = truth.valid.shape
    boxes = [proposals.detach(), truth.boxes]
    boxes += [jittered(truth.boxes, config.jitter) for _ in range(config.jitter_copies)]
    pool = clip_boxes_to_image(torch.cat(boxes), (height, width))
    pool = pool[((pool[:, 2:] - pool[:, :2]) >= 1).all(dim=1)]
    found = match(pool, truth, config.stages[0])
    labels = found.positive.float()
    labels[~found.positive & ~centre_is_valid(pool, truth.valid)] = -1
    sampler = box_sampler(config.box_batch, config.positive_fraction)
    cells, background = sampler([labels])
    chosen = torch.where(cells[0] | background[0])[0]
    return Matched(pool[chosen], found.truth[chosen], found.positive[chosen])


def jittered(boxes: Tensor, amount: float) -> Tensor:
    """Moves the four sides of each box by up to ``amount`` of the width or height, sampled uniformly."""
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return boxes + (2 * torch.rand_like(boxes) - 1) * amount * size


def _stage_losses(
    net: Rcnn, levels: list[Tensor], stage: int, matched: list[Matched], truths: list[Truth]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Loss of the classes, loss of the boxes, and the boxes as this stage refines them."""
    proposals = [part.boxes for part in matched]
    logits, deltas = net.box_outputs(stage, net.pool(levels, proposals, BOX_CELLS))
    positive = torch.cat([part.positive for part in matched])
    classes = torch.cat([_of_truth(part, truth.classes) for part, truth in zip(matched, truths, strict=True)])
    label = torch.where(positive, classes.clamp(min=0) + 1, 0)
    known = ~positive | (classes >= 0)
    one_each = torch.where(known, label, 0) if deltas.shape[1] > 1 else torch.zeros_like(label)
    chosen = deltas[torch.arange(len(deltas), device=deltas.device), one_each]
    goal = torch.cat([_of_truth(part, truth.boxes) for part, truth in zip(matched, truths, strict=True)])
    coder = box_coder(stage_code(stage))
    learned = torch.where(positive & (known | (deltas.shape[1] == 1)))[0]
    encoded = coder.encode_single(goal[learned], torch.cat(proposals)[learned])
    boxes = functional.smooth_l1_loss(chosen[learned], encoded, beta=BETA, reduction="sum") / max(1, len(label))
    with torch.no_grad():
        refined = coder.decode_single(chosen.detach(), torch.cat(proposals))
        height, width = truths[0].valid.shape
        refined = clip_boxes_to_image(refined, (height, width))
    return class_loss(logits, label, known), boxes, list(torch.split(refined, [len(part) for part in proposals]))


def _of_truth(matched: Matched, values: Tensor) -> Tensor:
    """The value of each proposal's instance; zeros, which do not contribute to a loss, if a crop has none."""
    return values[matched.truth] if len(values) else values.new_zeros(len(matched.truth), *values.shape[1:])


def class_loss(logits: Tensor, label: Tensor, known: Tensor) -> Tensor:
    """Mean cross entropy over ``(R, K + 1)`` logits, background first.

    If the class is not ``known``, the probability is the sum over all classes except the background.
    """
    exact = functional.cross_entropy(logits, label, reduction="none")
    some = logits.logsumexp(dim=1) - logits[:, 1:].logsumexp(dim=1)
    return torch.where(known, exact, some).sum() / max(1, len(label))


def mask_loss(
    net: Rcnn, levels: list[Tensor], matched: list[Matched], truths: list[Truth], config: RcnnConfig
) -> Tensor:
    """Mean binary cross entropy of the masks of the proposals that are cells."""
    chosen = [torch.where(part.positive)[0] for part in matched]
    chosen = [part[torch.randperm(len(part), device=part.device)[: config.mask_batch]] for part in chosen]
    boxes = [part.boxes[index] for part, index in zip(matched, chosen, strict=True)]
    if sum(map(len, boxes)) == 0:
        nothing: Tensor = 0 * next(net.mask_predictor.parameters()).sum()
        return nothing
    nearest = [part.truth[index] for part, index in zip(matched, chosen, strict=True)]
    logits = net.mask_logits(net.pool(levels, boxes, MASK_CELLS // 2))
    goals, classes = [], []
    for box, index, truth in zip(boxes, nearest, truths, strict=True):
        goals.append(mask_targets(truth.masks[index], truth.boxes[index], box, MASK_CELLS))
        classes.append(truth.classes[index])
    label = torch.cat(classes) + 1 if config.per_class else torch.zeros(len(logits), dtype=torch.long)
    known = torch.cat(classes) >= 0 if config.per_class else torch.ones(len(logits), dtype=torch.bool)
    label, known = label.to(logits.device), known.to(logits.device)
    predicted = logits[torch.arange(len(logits), device=logits.device), label][known]
    wrong = functional.binary_cross_entropy_with_logits(predicted, torch.cat(goals)[known], reduction="sum")
    return wrong / max(1, predicted.numel())
