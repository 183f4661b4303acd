"""Warm start: from the weights of another model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from cytotome.errors import ModelError, TrainingError
from cytotome.models.file import read_model
from cytotome.models.header import Header, read_header
from cytotome.models.registry import find_model

MOST_NAMED = 12
"""Layers that a line names one by one; more are named by the part of the network that they are in."""


def start_weights(name_or_path: str | Path) -> Mapping[str, Tensor]:
    """The weights of a model file or of a bundled model."""
    return read_model(find_model(name_or_path)).weights


def start_header(name_or_path: str | Path | None) -> Header | None:
    """The head of the model that training starts from; None if there is none, or no longer."""
    try:
        return read_header(find_model(name_or_path)) if name_or_path else None
    except ModelError:  # which is said when its weights are needed
        return None


def load_weights(net: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Copies the weights whose names and shapes agree into ``net``; says how many did and names the layers left.

    A model may also be a part of the network, such as the U-Net of a ``flow`` model under the heads of another family:
    the part with which most weights agree takes them.

    Raises:
        TrainingError: if none agrees.
    """
    own = net.state_dict()
    part = max((name for name, _ in net.named_modules()), key=lambda name: len(_agreeing(own, weights, name)))
    agreeing = _agreeing(own, weights, part)
    if not agreeing:
        raise TrainingError("weights: none of the model fits this network; choose a model of the same config")
    weights = {_within(part, name): value for name, value in weights.items()}
    net.load_state_dict({**own, **{name: value.to(own[name].dtype) for name, value in agreeing.items()}})
    said = f"started from {len(agreeing)} of the network's {len(own)} weights" + (f", all in {part}" if part else "")
    other = [name for name in own if name in weights and name not in agreeing]
    kinds = {
        "of another shape, so new": [
            f"{_layer(name)} ({_sizes(weights[name])} to {_sizes(own[name])})" for name in other
        ],
        "not in the model, so new": [_layer(name) for name in own if name not in weights],
        "not in the network, so unused": [_layer(name) for name in weights if name not in own],
    }
    return "; ".join([said, *(f"{kind}: {_listed(layers)}" for kind, layers in kinds.items() if layers)])


def _agreeing(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The weights that fit into a part of a network, under their names in the whole network."""
    within = {_within(part, name): value for name, value in weights.items()}
    return {name: value for name, value in within.items() if name in own and own[name].shape == value.shape}


def _within(part: str, name: str) -> str:
    return f"{part}.{name}" if part else name


def _layer(name: str) -> str:
    """The layer that a weight belongs to."""
    return name.rpartition(".")[0] or name


def _sizes(weight: Tensor) -> str:
    return "x".join(map(str, weight.shape)) or "1"


def _listed(layers: Iterable[str]) -> str:
    names = list(dict.fromkeys(layers))
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    parts: dict[str, int] = {}
    for name in names:
        part = name.split(" ")[0].split(".")[0]
        parts[part] = parts.get(part, 0) + 1
    return ", ".join(f"{part} ({count} layers)" if count > 1 else part for part, count in parts.items())
