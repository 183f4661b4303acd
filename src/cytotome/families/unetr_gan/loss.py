"""Losses of the two phases."""

from __future__ import annotations

import torch
from torch import Tensor

from cytotome.contract import Batch
from cytotome.families.unetr_gan.config import UnetrGanConfig
from cytotome.families.unetr_gan.net import UnetrGan
from cytotome.losses.foreground import foreground_losses
from cytotome.losses.wasserstein import distance, gradient_penalty


def generator_loss(net: UnetrGan, batch: Batch, config: UnetrGanConfig) -> dict[str, Tensor]:
    """The losses of UNETR on labelled images, and how far the discriminator holds the predictions from the truth.

    Returns:
        ``supervised`` (where it has a weight), ``adversarial``, ``total``.
    """
    logits = net(batch["image"])
    losses: dict[str, Tensor] = {}
    total = torch.zeros((), device=batch["image"].device)
    if config.supervised_weight:
        parts = foreground_losses(logits, batch, dice_weight=config.dice_weight, border_weight=config.border_weight)
        losses["supervised"] = parts["total"]
        total = total + config.supervised_weight * parts["total"]
    if config.adversarial_weight:
        made = net.discriminator(_made(net, batch, logits, config))
        with torch.no_grad():
            real = net.discriminator(_real(net, batch))  # without it the loss would drift with the values' origin
        losses["adversarial"] = distance(real, made)
        total = total + config.adversarial_weight * losses["adversarial"]
    return {**losses, "total": total}


def discriminator_loss(net: UnetrGan, batch: Batch, config: UnetrGanConfig) -> dict[str, Tensor]:
    """Less the Wasserstein distance of images with true maps and images with predicted ones, plus the penalty.

    Returns:
        ``distance``, ``penalty`` (where it is used), ``total``.
    """
    with torch.no_grad():
        made = _made(net, batch, net(batch["image"]), config)
    real = _real(net, batch)
    apart = distance(net.discriminator(real), net.discriminator(made))
    losses = {"distance": apart}
    total = -apart
    if config.lipschitz == "penalty":
        count = min(len(real), len(made))
        losses["penalty"] = gradient_penalty(net.discriminator, real[:count], made[-count:])
        total = total + config.penalty_weight * losses["penalty"]
    return {**losses, "total": total}


def _real(net: UnetrGan, batch: Batch) -> Tensor:
    """Labelled images with their true maps."""
    known = batch["labelled"]
    maps = {name: batch[name][known] for name in net.heads}
    return net.pairs(batch["image"][known], maps, (batch["valid"] * batch["typed"])[known])


def _made(net: UnetrGan, batch: Batch, logits: dict[str, Tensor], config: UnetrGanConfig) -> Tensor:
    """Images with predicted maps.

    Where the labelled images have pixels that do not count, their maps are 0 in what is real. So that this does not
    tell the two apart, each prediction is covered in the same places as one of the labelled images.
    """
    known = batch["labelled"]
    masks = (batch["valid"] * batch["typed"])[known]
    chosen = torch.ones_like(known) if config.judged == "all" else ~known
    cover = masks[torch.arange(len(known), device=masks.device) % len(masks)]
    cover = torch.where(known[:, None, None, None], batch["valid"] * batch["typed"], cover)
    maps = {name: logits[name][chosen].float().sigmoid() for name in net.heads}
    return net.pairs(batch["image"][chosen], maps, cover[chosen])
