"""Pixel embeddings by contrastive learning: pixels of one cell have like vectors (after Wang et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cytotome.contract import Batch, Family, Phase, Stage
from cytotome.families.embedding.config import EmbeddingConfig, EmbeddingParameters
from cytotome.types import AnyArray, DenseMaps, Instances, OutputSpec, Sample

if TYPE_CHECKING:
    import torch


def _outputs(config: EmbeddingConfig) -> tuple[OutputSpec, ...]:
    second = OutputSpec("parts", 3) if config.variant == "binary" else OutputSpec("cell", 1)
    maps: tuple[OutputSpec, ...] = (OutputSpec("embedding", config.dimensions, "embedding"), second)
    if len(config.class_names) > 1:
        maps += (OutputSpec("cell_type", len(config.class_names)),)
    return maps


def _build(config: EmbeddingConfig) -> torch.nn.Module:
    from cytotome.families.embedding.net import build_network

    return build_network(config)


def _targets(instances: Instances, config: EmbeddingConfig) -> dict[str, AnyArray]:
    from cytotome.families.embedding.targets import embedding_targets

    return embedding_targets(instances, config)


def _oracle(targets: Mapping[str, AnyArray], config: EmbeddingConfig) -> DenseMaps:
    from cytotome.families.embedding.targets import oracle_maps

    return oracle_maps(targets, config)


def _stages(config: EmbeddingConfig) -> tuple[Stage, ...]:
    def loss(net: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        from cytotome.families.embedding.loss import embedding_loss

        return embedding_loss(net, batch, config)

    return (Stage("embedding", (Phase("all", lambda net: net.parameters(), loss),)),)


def _predict(net: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    from cytotome.families.embedding.net import predict_maps

    return predict_maps(net, images)


def _decode(maps: DenseMaps, parameters: EmbeddingParameters, class_names: Sequence[str]) -> Instances:
    from cytotome.families.embedding.decode import decode_embeddings

    return decode_embeddings(maps, parameters, class_names)


def _calibrate(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: EmbeddingParameters, config: EmbeddingConfig
) -> EmbeddingParameters:
    from cytotome.families.embedding.calibrate import calibrate

    return calibrate(pairs, parameters, config.class_names)


FAMILY = Family(
    name="embedding",
    summary="pixel embeddings by contrastive learning (after Wang et al. 2021, Khosla et al. 2020)",
    config=EmbeddingConfig,
    parameters=EmbeddingParameters,
    outputs=_outputs,
    build=_build,
    targets=_targets,
    oracle=_oracle,
    stages=_stages,
    predict=_predict,
    decode=_decode,
    ceiling=0.92,
    calibrate=_calibrate,
)
