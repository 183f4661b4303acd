"""Pixel embeddings by contrastive learning: pixels of the same cell have similar vectors (after Wang et al. 2021)."""

from __future__ import annotations

from functools import partial

from cytotome.contract import Family, Phase, Stage
from cytotome.families.embedding.calibrate import calibrate
from cytotome.families.embedding.config import EmbeddingConfig, EmbeddingParameters
from cytotome.families.embedding.decode import decode_embeddings
from cytotome.families.embedding.loss import embedding_loss
from cytotome.families.embedding.net import EmbeddingNet, build_network, predict_maps
from cytotome.families.embedding.targets import embedding_targets, oracle_maps
from cytotome.outputs import Dense
from cytotome.types import OutputSpec


def _outputs(config: EmbeddingConfig) -> Dense:
    second = OutputSpec("parts", 3) if config.variant == "binary" else OutputSpec("cell", 1)
    maps: tuple[OutputSpec, ...] = (OutputSpec("embedding", config.dimensions, "embedding"), second)
    if len(config.class_names) > 1:
        maps += (OutputSpec("cell_type", len(config.class_names)),)
    return Dense(maps)


def _stages(config: EmbeddingConfig) -> tuple[Stage[EmbeddingNet], ...]:
    return (Stage("embedding", (Phase("all", lambda net: net.parameters(), partial(embedding_loss, config=config)),)),)


FAMILY = Family(
    name="embedding",
    summary="pixel embeddings by contrastive learning (after Wang et al. 2021, Khosla et al. 2020)",
    config=EmbeddingConfig,
    parameters=EmbeddingParameters,
    outputs=_outputs,
    build=build_network,
    stride=lambda net: net.stride,
    targets=embedding_targets,
    oracle=oracle_maps,
    stages=_stages,
    predict=predict_maps,
    decode=decode_embeddings,
    ceiling=0.92,
    calibrate=calibrate,
)
