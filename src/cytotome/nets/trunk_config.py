"""Options of a trunk of levels, channels and blocks, shared by several families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import Field

Widths: TypeAlias = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
"""Channels of the levels, finest first."""
Blocks: TypeAlias = tuple[Annotated[int, Field(ge=0)], ...]
"""Number of residual blocks, or convolutions, of each level."""


def check_levels(widths: Sequence[int], blocks: Sequence[int], prefix: str = "") -> None:
    """Checks that there is a number of blocks for each level.

    Args:
        widths, blocks: channels and blocks of the levels.
        prefix: prefix of the names of both fields.

    Raises:
        ValueError: if their numbers differ.
    """
    if len(widths) != len(blocks):
        raise ValueError(
            f"{prefix}blocks must have one number for each of the {len(widths)} {prefix}widths, got {len(blocks)}"
        )


def check_pretrained(pretrained: bool | str, network: str, has_encoder: bool) -> None:
    """Raises ValueError if pretrained weights are requested for a network without a timm encoder."""
    if pretrained and not has_encoder:
        raise ValueError(
            f"pretrained: the network {network} has no pretrained weights; choose a network with an encoder of timm, "
            "omit it, or start from a trained model with weights"
        )
