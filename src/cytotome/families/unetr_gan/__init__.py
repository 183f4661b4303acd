"""UNETR GAN: a discriminator of images with masks lets a UNETR learn from images without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cytotome.contract import Batch, Family, Phase, Stage
from cytotome.families.unetr_gan.config import ForegroundParameters, UnetrGanConfig
from cytotome.types import AnyArray, DenseMaps, Instances, OutputSpec, Sample

if TYPE_CHECKING:
    import torch


def _outputs(config: UnetrGanConfig) -> tuple[OutputSpec, ...]:
    foreground = OutputSpec("foreground", len(config.class_names))
    return (foreground, OutputSpec("border", 1)) if config.border else (foreground,)


def _build(config: UnetrGanConfig) -> torch.nn.Module:
    from cytotome.families.unetr_gan.net import UnetrGan

    return UnetrGan(config, {spec.name: spec.channels for spec in _outputs(config)})


def _targets(instances: Instances, config: UnetrGanConfig) -> dict[str, AnyArray]:
    from cytotome.ops.foreground import foreground_targets

    return foreground_targets(instances, len(config.class_names), config.border_width)


def _oracle(targets: Mapping[str, AnyArray], config: UnetrGanConfig) -> DenseMaps:
    from cytotome.ops.foreground import oracle_foreground

    return oracle_foreground(targets, border=config.border)


def _stages(config: UnetrGanConfig) -> tuple[Stage, ...]:
    def generate(net: Any, batch: Batch) -> dict[str, torch.Tensor]:
        from cytotome.families.unetr_gan.loss import generator_loss

        return generator_loss(net, batch, config)

    def discriminate(net: Any, batch: Batch) -> dict[str, torch.Tensor]:
        from cytotome.families.unetr_gan.loss import discriminator_loss

        return discriminator_loss(net, batch, config)

    def clip(net: Any) -> None:
        from cytotome.nets.discriminator import clip_weights

        clip_weights(net.discriminator, config.clip_limit)

    generator = Phase(
        "generator",
        lambda net: net.generator.parameters(),  # type: ignore[union-attr]
        generate,
        every=config.generator_every,
        optimiser=config.optimiser,
        learning_rate=config.learning_rate,
    )
    discriminator = Phase(
        "discriminator",
        lambda net: net.discriminator.parameters(),  # type: ignore[union-attr]
        discriminate,
        every=config.discriminator_every,
        optimiser=config.optimiser,
        learning_rate=config.discriminator_learning_rate or config.learning_rate,
        after_step=clip if config.lipschitz == "clip" else None,
    )
    return (Stage("gan", (generator, discriminator), streams=("labelled", "unlabelled")),)


def _predict(net: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: logits.sigmoid() for name, logits in net(images).items()}


def _decode(maps: DenseMaps, parameters: ForegroundParameters, class_names: Sequence[str]) -> Instances:
    from cytotome.ops.foreground import decode_foreground

    return decode_foreground(maps, parameters, class_names)


def _calibrate(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: ForegroundParameters, config: UnetrGanConfig
) -> ForegroundParameters:
    from cytotome.ops.foreground_scores import fit_foreground_scores

    return fit_foreground_scores(pairs, parameters, config.class_names)


FAMILY = Family(
    name="unetr_gan",
    summary="UNETR against a Wasserstein discriminator of images with masks, on labelled and unlabelled images",
    config=UnetrGanConfig,
    parameters=ForegroundParameters,
    outputs=_outputs,
    build=_build,
    targets=_targets,
    oracle=_oracle,
    stages=_stages,
    predict=_predict,
    decode=_decode,
    ceiling=0.94,
    calibrate=_calibrate,
)
