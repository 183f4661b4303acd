"""UNETR: a U-Net decoder on the states of a transformer; foreground by cell type, split by a border.

With ``adversarial``, it is also trained on unlabelled images, against a discriminator of images with masks.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from cytotome.contract import Batch, Family, Phase, Stage
from cytotome.families.unetr.adversarial import discriminator_loss, generator_loss
from cytotome.families.unetr.calibrate import fit_foreground_scores
from cytotome.families.unetr.config import Adversarial, ForegroundParameters, FormerGanConfig, UnetrConfig
from cytotome.families.unetr.decode import decode_foreground
from cytotome.families.unetr.discriminator import clip_weights
from cytotome.families.unetr.loss import foreground_losses
from cytotome.families.unetr.net import Unetr, UnetrGan
from cytotome.families.unetr.targets import predict_maps, unetr_heads, unetr_oracle, unetr_outputs, unetr_targets


def _build(config: UnetrConfig) -> Unetr | UnetrGan:
    heads = unetr_heads(config)
    return Unetr(config, heads) if config.adversarial is None else UnetrGan(config, heads, config.adversarial)


def _loss(net: nn.Module, batch: Batch, config: UnetrConfig) -> dict[str, Tensor]:
    outputs = net(batch["image"])
    return foreground_losses(outputs, batch, dice_weight=config.dice_weight, border_weight=config.border_weight)


def _stages(config: UnetrConfig) -> tuple[Stage[Any], ...]:
    if config.adversarial is not None:
        phases = _adversarial_phases(config, config.adversarial)
        return (Stage("gan", phases, streams=("labelled", "unlabelled")),)
    return (Stage("unetr", (Phase("all", lambda net: net.parameters(), partial(_loss, config=config)),)),)


def _adversarial_phases(config: UnetrConfig, settings: Adversarial) -> tuple[Phase[UnetrGan], Phase[UnetrGan]]:
    def clip(net: UnetrGan) -> None:
        clip_weights(net.discriminator, settings.clip_limit)

    generator = Phase(
        "generator",
        lambda net: net.generator.parameters(),
        partial(generator_loss, config=config, settings=settings),
        every=settings.generator_every,
        optimiser=settings.optimiser,
        learning_rate=settings.learning_rate,
    )
    discriminator = Phase(
        "discriminator",
        lambda net: net.discriminator.parameters(),
        partial(discriminator_loss, settings=settings),
        every=settings.discriminator_every,
        optimiser=settings.optimiser,
        learning_rate=settings.discriminator_learning_rate or settings.learning_rate,
        after_step=clip if settings.lipschitz == "clip" else None,
    )
    return generator, discriminator


FAMILY = Family(
    name="unetr",
    summary="foreground by cell type and the border of touching cells, by UNETR (Hatamizadeh et al. 2022)",
    config=UnetrConfig,
    parameters=ForegroundParameters,
    outputs=unetr_outputs,
    build=_build,
    stride=lambda net: net.stride,
    tile=lambda net: net.tile,
    targets=unetr_targets,
    oracle=unetr_oracle,
    stages=_stages,
    predict=predict_maps,
    decode=decode_foreground,
    ceiling=0.94,
    calibrate=fit_foreground_scores,
)

FORMER = {"unetr_gan": replace(FAMILY, config=FormerGanConfig)}
"""The family under its former name, with the config of that time."""
