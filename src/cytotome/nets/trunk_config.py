"""What can be set of a trunk of levels: channels and blocks of each; for the families whose networks have one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import Field

Widths: TypeAlias = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
"""Channels of the levels, from the finest on."""
Blocks: TypeAlias = tuple[Annotated[int, Field(ge=0)], ...]
"""Residual blocks, or convolutions, of each level."""


def check_levels(widths: Sequence[int], blocks: Sequence[int], prefix: str = "") -> None:
    """Looks for a number of blocks for each level.

    Args:
        widths, blocks: of the levels.
        prefix: of the names of both fields.

    Raises:
        ValueError: if there are more or fewer.
    """
    if len(widths) != len(blocks):
        raise ValueError(
            f"{prefix}blocks must have one number for each of the {len(widths)} {prefix}widths, got {len(blocks)}"
        )


def check_pretrained(pretrained: bool | str, network: str, has_encoder: bool) -> None:
    """Raises ValueError where pretrained weights are asked for a network that has no encoder of timm to take them."""
    if pretrained and not has_encoder:
        raise ValueError(
            f"pretrained: the network {network} has no pretrained weights; choose a network with an encoder of timm, "
            "omit it, or start from a trained model with weights"
        )
