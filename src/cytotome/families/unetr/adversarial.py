"""Wasserstein losses of the generator and the discriminator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cytotome.contract import Batch
from cytotome.families.unetr.config import Adversarial, UnetrConfig
from cytotome.families.unetr.loss import foreground_losses
from cytotome.families.unetr.net import UnetrGan


def generator_loss(net: UnetrGan, batch: Batch, config: UnetrConfig, settings: Adversarial) -> dict[str, Tensor]:
    """The losses of UNETR on labelled images, and the discriminator's distance of predictions from the truth.

    Args:
        net: generator and discriminator.
        batch: labelled and unlabelled crops.
        config: weights of the losses of UNETR.
        settings: weights of the two terms.

    Returns:
        ``supervised`` (if it has a weight), ``adversarial``, ``total``.
    """
    logits = net(batch["image"])
    losses: dict[str, Tensor] = {}
    total = torch.zeros((), device=batch["image"].device)
    if settings.supervised_weight:
        parts = foreground_losses(logits, batch, dice_weight=config.dice_weight, border_weight=config.border_weight)
        losses["supervised"] = parts["total"]
        total = total + settings.supervised_weight * parts["total"]
    if settings.weight:
        made = net.discriminator(_made(net, batch, logits, settings))
        with torch.no_grad():
            real = net.discriminator(
                _real(net, batch)
            )  # without it, the loss would drift with the offset of the values
        losses["adversarial"] = distance(real, made)
        total = total + settings.weight * losses["adversarial"]
    return {**losses, "total": total}


def discriminator_loss(net: UnetrGan, batch: Batch, settings: Adversarial) -> dict[str, Tensor]:
    """The negative Wasserstein distance between images with true and with predicted maps, plus the penalty.

    Returns:
        ``distance``, ``penalty`` (if used), ``total``.
    """
    with torch.no_grad():
        made = _made(net, batch, net(batch["image"]), settings)
    real = _real(net, batch)
    apart = distance(net.discriminator(real), net.discriminator(made))
    losses = {"distance": apart}
    total = -apart
    if settings.lipschitz == "penalty":
        count = min(len(real), len(made))
        losses["penalty"] = gradient_penalty(net.discriminator, real[:count], made[-count:])
        total = total + settings.penalty_weight * losses["penalty"]
    return {**losses, "total": total}


def _real(net: UnetrGan, batch: Batch) -> Tensor:
    """Labelled images with their true maps."""
    known = batch["labelled"]
    maps = {name: batch[name][known] for name in net.heads}
    return net.pairs(batch["image"][known], maps, (batch["valid"] * batch["typed"])[known])


def _made(net: UnetrGan, batch: Batch, logits: dict[str, Tensor], settings: Adversarial) -> Tensor:
    """Images with predicted maps.

    Real maps are 0 at invalid pixels of the labelled images. So that the discriminator cannot use this, each prediction
    is masked at the same pixels as one of the labelled images.
    """
    known = batch["labelled"]
    masks = (batch["valid"] * batch["typed"])[known]
    chosen = torch.ones_like(known) if settings.judged == "all" else ~known
    cover = masks[torch.arange(len(known), device=masks.device) % len(masks)]
    cover = torch.where(known[:, None, None, None], batch["valid"] * batch["typed"], cover)
    maps = {name: logits[name][chosen].float().sigmoid() for name in net.heads}
    return net.pairs(batch["image"][chosen], maps, cover[chosen])


def distance(real: Tensor, made: Tensor) -> Tensor:
    """Mean value of real minus mean value of generated samples: the estimate of the Wasserstein distance to be
    maximised.

    Arjovsky et al. 2017, arXiv 1701.07875.

    Args:
        real, made: ``(B,)`` values of the discriminator for real and generated samples.
    """
    return real.float().mean() - made.float().mean()


def gradient_penalty(discriminate: Callable[[Tensor], Tensor], real: Tensor, made: Tensor) -> Tensor:
    """Mean of ``(slope - 1)^2`` at points between real and generated samples (Gulrajani et al. 2017, arXiv 1704.00028).

    The slope uses the root mean square over the input instead of the paper's Euclidean norm, so that values and losses
    are comparable for crops of any size. Computed in float32, since half precision loses second-order gradients.

    Args:
        discriminate: returns ``(B,)`` values for ``(B, C, H, W)`` inputs.
        real, made: ``(B, C, H, W)`` float32.
    """
    with torch.autocast(real.device.type, enabled=False):
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (made + share * (real - made)).detach().requires_grad_(True)
        values = discriminate(between)
        (gradient,) = torch.autograd.grad(values.sum(), between, create_graph=True)
        slope = gradient.flatten(1).norm(dim=1) * gradient[0].numel() ** 0.5
        penalty: Tensor = (slope - 1).square().mean()
        return penalty
