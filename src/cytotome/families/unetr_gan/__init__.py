"""UNETR GAN: a discriminator of images with masks lets a UNETR learn from images without labels."""

from __future__ import annotations

from functools import partial

from cytotome.contract import Family, Phase, Stage
from cytotome.families.unetr.calibrate import fit_foreground_scores
from cytotome.families.unetr.decode import decode_foreground
from cytotome.families.unetr.parameters import ForegroundParameters
from cytotome.families.unetr.targets import predict_maps, unetr_heads, unetr_oracle, unetr_outputs, unetr_targets
from cytotome.families.unetr_gan.config import UnetrGanConfig
from cytotome.families.unetr_gan.loss import discriminator_loss, generator_loss
from cytotome.families.unetr_gan.net import UnetrGan
from cytotome.nets.discriminator import clip_weights


def _build(config: UnetrGanConfig) -> UnetrGan:
    return UnetrGan(config, unetr_heads(config))


def _stages(config: UnetrGanConfig) -> tuple[Stage[UnetrGan], ...]:
    def clip(net: UnetrGan) -> None:
        clip_weights(net.discriminator, config.clip_limit)

    generator = Phase(
        "generator",
        lambda net: net.generator.parameters(),
        partial(generator_loss, config=config),
        every=config.generator_every,
        optimiser=config.optimiser,
        learning_rate=config.learning_rate,
    )
    discriminator = Phase(
        "discriminator",
        lambda net: net.discriminator.parameters(),
        partial(discriminator_loss, config=config),
        every=config.discriminator_every,
        optimiser=config.optimiser,
        learning_rate=config.discriminator_learning_rate or config.learning_rate,
        after_step=clip if config.lipschitz == "clip" else None,
    )
    return (Stage("gan", (generator, discriminator), streams=("labelled", "unlabelled")),)


FAMILY = Family(
    name="unetr_gan",
    summary="UNETR against a Wasserstein discriminator of images with masks, on labelled and unlabelled images",
    config=UnetrGanConfig,
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
