"""UNETR: a transformer's states feed a U-Net's decoder; foreground by cell type, parted by a border."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from cytotome.contract import Batch, Family, Phase, Stage
from cytotome.families.unetr.calibrate import fit_foreground_scores
from cytotome.families.unetr.config import UnetrConfig
from cytotome.families.unetr.decode import decode_foreground
from cytotome.families.unetr.net import Unetr
from cytotome.families.unetr.parameters import ForegroundParameters
from cytotome.families.unetr.targets import predict_maps, unetr_heads, unetr_oracle, unetr_outputs, unetr_targets
from cytotome.losses.foreground import foreground_losses


def _build(config: UnetrConfig) -> Unetr:
    return Unetr(config, unetr_heads(config))


def _loss(net: nn.Module, batch: Batch, config: UnetrConfig) -> dict[str, Tensor]:
    outputs = net(batch["image"])
    return foreground_losses(outputs, batch, dice_weight=config.dice_weight, border_weight=config.border_weight)


def _stages(config: UnetrConfig) -> tuple[Stage[Unetr], ...]:
    return (Stage("unetr", (Phase("all", lambda net: net.parameters(), partial(_loss, config=config)),)),)


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
