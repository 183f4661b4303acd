"""What can be set of a UNETR that predicts foreground and border maps; the families that use one add their own."""

from __future__ import annotations

from pydantic import Field, model_validator

from cytotome.contract import FamilyConfig

PATCH = 16
"""Side of a token's patch in pixels, as in the paper."""
STRIDE = 32
"""Sides of the images that the network takes are multiples of it: two patches, so that no map is a single pixel."""


class UnetrConfig(FamilyConfig):
    """Network, targets and losses. The defaults are small; the paper's are 768, 3072, 12 and 16.

    Attributes:
        window: height and width in pixels of the largest image whose patches have position embeddings of their own;
            larger images are predicted in tiles of it.
        hidden_size, mlp_size, heads: of the twelve transformer blocks.
        feature_size: channels of the decoder at full resolution.
        dropout: of the transformer.
        border: also predict the border between touching cells, by which the decoder parts them.
        border_width: pixels on each side of the line between two cells that belong to the border.
        dice_weight: of the soft Dice loss beside the cross entropy.
        border_weight: of the losses of the border beside those of the foreground.
    """

    window: tuple[int, int] = (256, 256)
    hidden_size: int = Field(default=96, ge=1)
    mlp_size: int = Field(default=384, ge=1)
    heads: int = Field(default=4, ge=1)
    feature_size: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    border: bool = True
    border_width: int = Field(default=1, ge=1, le=10)
    dice_weight: float = Field(default=1.0, ge=0)
    border_weight: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _check_sizes(self) -> UnetrConfig:
        if min(self.window) < 3 * STRIDE or any(side % STRIDE for side in self.window):
            raise ValueError(f"window must be multiples of {STRIDE}, {3 * STRIDE} or more, got {list(self.window)}")
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size must be a multiple of heads, got {self.hidden_size} and {self.heads}")
        return self
