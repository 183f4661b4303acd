"""Options of UNETR: network, targets, losses, discriminator and decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cytotome.contract import DecodeParameters, FamilyConfig

PATCH = 16
"""Side of a token's patch in pixels, as in the paper."""
STRIDE = 32
"""Sides of the network's input are multiples of this: two patches, so that no map is a single pixel."""


class Adversarial(BaseModel):
    """A discriminator of images with their masks, against which the network is trained.

    Attributes:
        width: channels of the discriminator's first convolution.
        levels: number of convolutions, each of which halves the resolution; None for as many as reduce ``window`` to
            less than 32 pixels.
        pooling: ``mean`` accepts crops of any size; ``places`` has one weight per position for crops of ``window``.
        lipschitz: how the discriminator's slope is bounded: ``penalty`` on its gradient, or ``clip`` its weights.
        penalty_weight: weight of the gradient penalty.
        clip_limit: largest weight of the discriminator with ``clip``.
        supervised_weight: weight of the losses on labelled images in the generator's phase; 0 omits them.
        weight: weight of the discriminator's value in the generator's phase.
        judged: predictions passed to the discriminator: of ``unlabelled`` images only, or of ``all`` images, so that it
            cannot identify them by the image.
        generator_every, discriminator_every: each phase runs on every n-th batch.
        optimiser, learning_rate: of both phases, with ``discriminator_learning_rate`` if it differs; None for the
            recipe's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    width: int = Field(default=16, ge=1)
    levels: int | None = Field(default=4, ge=1, le=8)
    pooling: Literal["mean", "places"] = "mean"
    lipschitz: Literal["penalty", "clip"] = "penalty"
    penalty_weight: float = Field(default=10.0, ge=0)
    clip_limit: float = Field(default=0.01, gt=0)
    supervised_weight: float = Field(default=1.0, ge=0)
    weight: float = Field(default=0.1, ge=0)
    judged: Literal["unlabelled", "all"] = "all"
    generator_every: int = Field(default=1, ge=1)
    discriminator_every: int = Field(default=1, ge=1)
    optimiser: Literal["adamw", "adam", "rmsprop"] | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    discriminator_learning_rate: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check_weights(self) -> Adversarial:
        if self.supervised_weight == 0 and self.weight == 0:
            raise ValueError("supervised_weight and weight are both 0; the generator would learn nothing")
        if self.pooling == "mean" and self.levels is None:
            raise ValueError("levels must be a number if pooling is mean")
        return self


class UnetrConfig(FamilyConfig):
    """Network, targets and losses. The defaults are small; the paper's are 768, 3072, 12 and 16.

    Attributes:
        window: height and width in pixels of the image for which there are position embeddings; larger images are
            predicted in tiles of this size.
        hidden_size, mlp_size, heads: sizes and heads of the twelve transformer blocks.
        feature_size: channels of the decoder at full resolution.
        dropout: dropout rate of the transformer.
        border: also predict the border between touching cells, with which the decoder splits them.
        border_width: pixels on each side of the line between two cells that belong to the border.
        dice_weight: weight of the soft Dice loss, relative to the cross entropy.
        border_weight: weight of the border losses, relative to those of the foreground.
        adversarial: train against a discriminator, including unlabelled images; None to train on labelled images only.
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
    adversarial: Adversarial | None = None

    @model_validator(mode="after")
    def _check_sizes(self) -> UnetrConfig:
        if min(self.window) < 3 * STRIDE or any(side % STRIDE for side in self.window):
            raise ValueError(f"window must be multiples of {STRIDE}, {3 * STRIDE} or more, got {list(self.window)}")
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size must be a multiple of heads, got {self.hidden_size} and {self.heads}")
        return self


FORMER_FIELDS = {
    "discriminator_width": "width",
    "discriminator_levels": "levels",
    "adversarial_weight": "weight",
    **{name: name for name in Adversarial.model_fields if name not in ("width", "levels", "weight")},
}
"""Fields of :class:`Adversarial` by their former names in configs of ``unetr_gan``."""


class FormerGanConfig(UnetrConfig):
    """The config of ``unetr_gan`` in recipes and model files from before the discriminator became an option of UNETR.

    The discriminator's fields were at the top level; they are moved into ``adversarial``.
    """

    adversarial: Adversarial | None = Adversarial()

    @model_validator(mode="before")
    @classmethod
    def _move_fields(cls, values: Any) -> Any:
        moved = {new: values[old] for old, new in FORMER_FIELDS.items() if old in values} if values else {}
        if not moved or not isinstance(values, Mapping):
            return values
        rest = {name: value for name, value in values.items() if name not in FORMER_FIELDS}
        return {**rest, "adversarial": {**(rest.get("adversarial") or {}), **moved}}


class ForegroundParameters(DecodeParameters):
    """Decoder parameters; areas are in pixels of the image.

    Attributes:
        threshold: pixels of a higher foreground probability belong to a cell.
        border_threshold: pixels of a higher border probability separate cells.
        min_seed: parts of a cell's inside with fewer pixels do not become separate cells next to a larger part.
        max_area: larger instances are dropped.
        score_weights: logistic weights of the features that :func:`~cytotome.families.unetr.decode.features` names.
    """

    threshold: float = Field(default=0.5, ge=0, le=1)
    border_threshold: float = Field(default=0.5, ge=0, le=1)
    min_seed: int = Field(default=12, ge=1)
    max_area: int = Field(default=1_000_000, ge=1)
    score_weights: tuple[float, ...] = (6.0, -2.0, 0.0, -2.5)

    search: ClassVar[dict[str, tuple[float, ...]]] = {
        "threshold": (0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8),
        "border_threshold": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        "min_seed": (3, 6, 12, 20, 30),
        "min_score": (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6),
        "min_area": (15, 30, 45, 60, 80, 100, 130, 160),
    }
