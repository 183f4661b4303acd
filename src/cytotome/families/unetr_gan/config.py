"""What can be set of the UNETR GAN: the generator's fields are those of UNETR, and the discriminator's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cytotome.families.unetr.config import UnetrConfig


class UnetrGanConfig(UnetrConfig):
    """Generator, discriminator and the duel of the two.

    Attributes:
        discriminator_width: channels of the discriminator's first convolution.
        discriminator_levels: its convolutions, each of which halves the resolution; None for as many as bring
            ``window`` below 32 pixels.
        pooling: ``mean`` takes crops of any size; ``places`` has a weight for each place of crops of ``window``.
        lipschitz: what keeps the discriminator's slope bounded: a ``penalty`` on its gradient, or ``clip`` its weights.
        penalty_weight: of the gradient penalty.
        clip_limit: greatest weight of the discriminator under ``clip``.
        supervised_weight: of the losses on labelled images in the generator's phase; 0 leaves them out.
        adversarial_weight: of the discriminator's opinion in the generator's phase.
        judged: whose predictions the discriminator sees: of ``unlabelled`` images alone, or of ``all``, so that it
            cannot tell them by the image.
        generator_every, discriminator_every: the phase runs on one batch in so many.
        optimiser, learning_rate: of both phases, and ``discriminator_learning_rate`` where it differs; None for the
            recipe's.
    """

    discriminator_width: int = Field(default=16, ge=1)
    discriminator_levels: int | None = Field(default=4, ge=1, le=8)
    pooling: Literal["mean", "places"] = "mean"
    lipschitz: Literal["penalty", "clip"] = "penalty"
    penalty_weight: float = Field(default=10.0, ge=0)
    clip_limit: float = Field(default=0.01, gt=0)
    supervised_weight: float = Field(default=1.0, ge=0)
    adversarial_weight: float = Field(default=0.1, ge=0)
    judged: Literal["unlabelled", "all"] = "all"
    generator_every: int = Field(default=1, ge=1)
    discriminator_every: int = Field(default=1, ge=1)
    optimiser: Literal["adamw", "adam", "rmsprop"] | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    discriminator_learning_rate: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check_weights(self) -> UnetrGanConfig:
        if self.supervised_weight == 0 and self.adversarial_weight == 0:
            raise ValueError("supervised_weight and adversarial_weight are both 0; the generator would learn nothing")
        if self.pooling == "mean" and self.discriminator_levels is None:
            raise ValueError("discriminator_levels must be a number where pooling is mean")
        return self
