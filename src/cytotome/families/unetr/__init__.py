"""UNETR: a transformer's states feed a U-Net's decoder; foreground by cell type, parted by a border."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cytotome.contract import Batch, Family, Phase, Stage
from cytotome.families.unetr.config import ForegroundParameters, UnetrConfig
from cytotome.types import AnyArray, DenseMaps, Instances, OutputSpec, Sample

if TYPE_CHECKING:
    import torch


def _outputs(config: UnetrConfig) -> tuple[OutputSpec, ...]:
    foreground = OutputSpec("foreground", len(config.class_names))
    return (foreground, OutputSpec("border", 1)) if config.border else (foreground,)


def _build(config: UnetrConfig) -> torch.nn.Module:
    from cytotome.nets.unetr import Unetr

    return Unetr(config, {spec.name: spec.channels for spec in _outputs(config)})


def _targets(instances: Instances, config: UnetrConfig) -> dict[str, AnyArray]:
    from cytotome.ops.foreground import foreground_targets

    return foreground_targets(instances, len(config.class_names), config.border_width)


def _oracle(targets: Mapping[str, AnyArray], config: UnetrConfig) -> DenseMaps:
    from cytotome.ops.foreground import oracle_foreground

    return oracle_foreground(targets, border=config.border)


def _stages(config: UnetrConfig) -> tuple[Stage, ...]:
    def loss(net: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        from cytotome.losses.foreground import foreground_losses

        outputs = net(batch["image"])
        return foreground_losses(outputs, batch, dice_weight=config.dice_weight, border_weight=config.border_weight)

    return (Stage("unetr", (Phase("all", lambda net: net.parameters(), loss),)),)


def _predict(net: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: logits.sigmoid() for name, logits in net(images).items()}


def _decode(maps: DenseMaps, parameters: ForegroundParameters, class_names: Sequence[str]) -> Instances:
    from cytotome.ops.foreground import decode_foreground

    return decode_foreground(maps, parameters, class_names)


def _calibrate(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: ForegroundParameters, config: UnetrConfig
) -> ForegroundParameters:
    from cytotome.ops.foreground_scores import fit_foreground_scores

    return fit_foreground_scores(pairs, parameters, config.class_names)


FAMILY = Family(
    name="unetr",
    summary="foreground by cell type and the border of touching cells, by UNETR (Hatamizadeh et al. 2022)",
    config=UnetrConfig,
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
