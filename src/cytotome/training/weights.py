"""Starting from the weights of another model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from cytotome.errors import TrainingError
from cytotome.models.file import read_model
from cytotome.models.registry import find_model


def start_weights(name_or_path: str | Path) -> Mapping[str, Tensor]:
    """The weights of a model file or of a bundled model."""
    return read_model(find_model(name_or_path)).weights


def load_weights(net: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Copies the weights whose names and shapes agree into ``net`` and says how many did.

    Raises:
        TrainingError: where none agrees.
    """
    own = net.state_dict()
    agreeing = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not agreeing:
        raise TrainingError("weights: none of the model fits this network; choose a model of the same config")
    net.load_state_dict({**own, **{name: value.to(own[name].dtype) for name, value in agreeing.items()}})
    left = len(own) - len(agreeing)
    return f"started from {len(agreeing)} weights of the model" + (f"; {left} are new" if left else "")
