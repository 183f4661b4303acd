"""Warm start from the weights of another model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from cytotome.errors import ModelError, TrainingError
from cytotome.models.file import read_model
from cytotome.models.header import Header, read_header
from cytotome.models.registry import find_model

MOST_NAMED = 12
"""Maximum number of layers that are listed by name; more are listed by part of the network."""


def start_weights(name_or_path: str | Path) -> Mapping[str, Tensor]:
    """Reads the weights of a model file or of a bundled model."""
    return read_model(find_model(name_or_path)).weights


def start_header(name_or_path: str | Path | None) -> Header | None:
    """Reads the header of the initial model; None if there is none, or it no longer exists."""
    try:
        return read_header(find_model(name_or_path)) if name_or_path else None
    except ModelError:  # reported when its weights are needed
        return None


def load_weights(net: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Copies the weights with matching names and shapes into ``net``; prints how many, and the other layers.

    A model may also be a part of the network, such as the U-Net of a ``flow`` model under the heads of another family:
    the part with the most matching weights gets them.

    Raises:
        TrainingError: if none matches.
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
    """Returns the weights that match a part of a network, by their names in the whole network."""
    within = {_within(part, name): value for name, value in weights.items()}
    return {name: value for name, value in within.items() if name in own and own[name].shape == value.shape}


def _within(part: str, name: str) -> str:
    return f"{part}.{name}" if part else name


def _layer(name: str) -> str:
    """Returns the layer to which a weight belongs."""
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
