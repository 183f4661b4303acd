"""Check that the outputs of several models of one family can be averaged before decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cytotome.contract import Outputs
from cytotome.errors import ConfigError


def check_can_average(kinds: Sequence[Outputs[Any, Any]]) -> None:
    """Checks that all outputs are of one kind that can be averaged.

    Raises:
        ConfigError: if they are not.
    """
    if why := kinds[0].why_no_mean():
        raise ConfigError(f"fusion of maps: {why}; fuse instances")
    if any(other != kinds[0] for other in kinds):
        raise ConfigError("fusion of maps: the models have different maps; fuse instances")
