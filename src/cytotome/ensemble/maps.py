"""Fusion of the dense maps of several models of one family, before one decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cytotome.errors import ConfigError, DataError
from cytotome.types import DenseMaps, OutputSpec


def check_can_average(specs: Sequence[Sequence[OutputSpec]]) -> tuple[OutputSpec, ...]:
    """The maps of models that may be averaged; all must have the same.

    Raises:
        ConfigError: where they differ, where there are none, or where one is an embedding.
    """
    first = tuple(specs[0])
    if not first:
        raise ConfigError("fusion of maps: these models predict instances without maps; fuse instances")
    if any(tuple(other) != first for other in specs):
        raise ConfigError("fusion of maps: the models have different maps; fuse instances")
    if bad := [spec.name for spec in first if spec.kind == "embedding"]:
        raise ConfigError(
            f"fusion of maps: {', '.join(bad)} is an embedding, whose values differ from model to model; fuse instances"
        )
    return first


def fuse_maps(maps: Sequence[DenseMaps], weights: Sequence[float] | None = None) -> dict[str, np.ndarray]:
    """The weighted mean of each map.

    Args:
        maps: of one image, of each model.
        weights: positive; equal by default.

    Raises:
        DataError: where names or shapes differ.
    """
    names = list(maps[0])
    shapes = [{name: np.shape(one.get(name, ())) for name in names} for one in maps]
    if any(set(one) != set(names) for one in maps) or any(shape != shapes[0] for shape in shapes):
        raise DataError("fusion of maps: names or shapes differ between the models")
    share = np.ones(len(maps)) if weights is None else np.asarray(weights, np.float64)
    share = (share / share.sum()).astype(np.float32)
    if len(maps) == 1:
        return dict(maps[0])
    fused = {}
    for name in names:
        total = maps[0][name] * share[0]
        for one, weight in zip(maps[1:], share[1:], strict=True):
            total += one[name] * weight
        fused[name] = total
    return fused
