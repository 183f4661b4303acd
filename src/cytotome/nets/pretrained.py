"""Weights of an encoder from a file, whoever named them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor, nn

from cytotome.errors import ConfigError


def load_encoder(encoder: nn.Module, path: Path) -> int:
    """Copies weights of a file into an encoder, by their names, or by their order where no name agrees.

    By order: the shapes of the file, from its first on, must be those of the encoder; what follows in the file, such as
    a classifier, is left. The first convolution's colours are summed where images are grey.

    Returns:
        How many tensors of the encoder were taken.

    Raises:
        ConfigError: where the file cannot be read or does not fit.
    """
    weights, own = read_weights(path), encoder.state_dict()
    taken = _by_name(weights, own) or _by_order(weights, own)
    if not taken:
        raise ConfigError(f"pretrained: no weight of {str(path)!r} fits this network; choose the encoder that it is of")
    encoder.load_state_dict({**own, **taken})
    return len(taken)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` or ``.safetensors`` file; nothing in it is executed.

    Raises:
        ConfigError: where it cannot be read.
    """
    if not path.is_file():
        raise ConfigError(f"pretrained: {path} is not there; expected a name that the family knows, or a file's path")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has errors of its own
        fault = " ".join(str(error).split())[:200]
        raise ConfigError(f"pretrained: {path} cannot be read ({fault}); expected a file of weights alone") from error
    content = content if isinstance(content, dict) else {}
    content = content.get("state_dict") or content.get("model") or content
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def fitted(value: Tensor, own: Tensor | None) -> Tensor | None:
    """The value in the shape of our own, None where it has another; colours are summed where images are grey."""
    if own is None:
        return None
    if value.ndim == 4 and own.ndim == 4 and value.shape[1] == 3 and own.shape[1] == 1:
        value = value.sum(dim=1, keepdim=True)
    return value.to(own.dtype) if value.shape == own.shape else None


def _by_name(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {name: fitted(value, own.get(name)) for name, value in weights.items()}
    return {name: value for name, value in found.items() if value is not None}


def _by_order(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    taken = {}
    for name, value in zip_longest(own, list(weights.values())[: len(own)]):
        fitting = None if value is None else fitted(value, own[name])
        if fitting is None:
            return {}
        taken[name] = fitting
    return taken
