"""Settings of a run's optimisation: steps, time, stages, optimiser, learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cytotome.contract import OptimiserName, Stream
from cytotome.data.augment import Magnitude, Probability

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]


NOT_OF_THE_RESULT = "not of the result"
"""Marks a field, with ``Annotated``, that may be changed when a run is resumed, as it does not affect the result."""


class Section(BaseModel):
    """A part of a recipe; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def result_fields(section: BaseModel) -> dict[str, Any]:
    """The fields that determine the result of a run, as plain values, without those that have their defaults.

    So a field that is added later does not affect runs that do not use it.
    """
    found: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value, default = getattr(section, name), field.get_default(call_default_factory=True)
        plain = _plain(value)
        if NOT_OF_THE_RESULT not in field.metadata and plain != _plain(default):
            found[name] = plain
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return result_fields(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


class StageSettings(Section):
    """How one stage differs from the rest of the run; None for no difference.

    Attributes:
        share: share of the steps not assigned to a single stage, relative to the other stages; 0 omits the stage.
        steps: steps of this stage, regardless of the others.
        batch: crops per batch.
        learning_rate, optimiser, weight_decay: as for the schedule.
    """

    share: Magnitude | None = None
    steps: AtLeastOne | None = None
    batch: AtLeastOne | None = None
    learning_rate: Positive | None = None
    optimiser: OptimiserName | None = None
    weight_decay: Magnitude | None = None

    @model_validator(mode="after")
    def _check_length(self) -> StageSettings:
        if self.share is not None and self.steps is not None:
            raise ValueError("give a stage a share or steps, not both")
        return self


class Schedule(Section):
    """Settings of the optimisation.

    Attributes:
        steps: total over all stages.
        accumulate: batches per step, whose gradients are averaged: one larger batch in the memory of a small one.
        stages: settings of individual stages, by name; if every stage has its own ``steps``, those above are not
            needed.
        only: stages to train, each as long as in a run of all stages; empty for all.
        minutes: wall time after which training ends even if steps are left; the learning rate follows whichever of
            steps and time is further along, so that it has always decayed at the end. None for no limit.
        optimiser: ``adamw``, ``adam``, ``rmsprop`` or ``sgd`` (with momentum 0.9).
        learning_rate: maximum learning rate.
        final_learning_rate: learning rate at the end of a stage, as a fraction of ``learning_rate``.
        warmup: fraction of a stage in which the learning rate rises.
        weight_decay: decay of weights, not of biases and normalisation.
        clip: maximum norm of a phase's gradient; 0 for no limit.
        ema: decay per step of the exponential moving average of the weights, which is what is saved; 0 for none.
        precision: ``auto`` uses bfloat16 if the hardware supports it, else float32.
        validate_every: steps between scores on validation images, 0 for never.
        validation_images: number of images that are scored.
        patience: training ends after this many scores in a row without a new best one. The model has the weights of
            the best score, also when the schedule ends first. 0 for never.
        pictures_every: steps between pictures of what is found in a labelled and an unlabelled image, 0 for never.
        checkpoint_minutes: wall time between checkpoints.
    """

    steps: AtLeastOne = 4000
    accumulate: AtLeastOne = 1
    stages: dict[str, StageSettings] = {}
    only: tuple[str, ...] = ()
    optimiser: OptimiserName = "adamw"
    minutes: Annotated[Positive | None, NOT_OF_THE_RESULT] = None
    learning_rate: Positive = 1e-3
    final_learning_rate: Probability = 0.01
    warmup: Probability = 0.05
    weight_decay: Magnitude = 0.05
    clip: Magnitude = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    validate_every: Annotated[Count, NOT_OF_THE_RESULT] = 0
    validation_images: Annotated[AtLeastOne, NOT_OF_THE_RESULT] = 8
    patience: Annotated[Count, NOT_OF_THE_RESULT] = 0
    pictures_every: Annotated[Count, NOT_OF_THE_RESULT] = 0
    checkpoint_minutes: Annotated[Magnitude, NOT_OF_THE_RESULT] = 3.0

    @model_validator(mode="after")
    def _check_patience(self) -> Schedule:
        if self.patience and not self.validate_every:
            raise ValueError("patience needs validation scores; set validate_every too, such as validate_every: 200")
        return self


class TeacherSettings(Section):
    """How a network learns from a mean teacher on unlabelled images (see :mod:`cytotome.training.teacher`).

    Attributes:
        weight: weight of the consistency, relative to the family's losses.
        ramp: fraction of the run in which the weight rises.
        unlabelled: number of unlabelled crops per labelled one.
        strength: factor for the probabilities and ranges of the recipe's changes of grey levels, in the network's
            input.
        cutouts: number of rectangles that are cut out of the network's input.
        cutout_size: maximum side of one, as a fraction of the crop's.
    """

    weight: Magnitude = 1.0
    ramp: Probability = 0.2
    unlabelled: AtLeastOne = 1
    strength: Magnitude = 2.0
    cutouts: Count = 3
    cutout_size: Probability = 0.25

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Streams of every stage."""
        unlabelled: tuple[Stream, ...] = ("unlabelled",)
        return ("labelled", *unlabelled * self.unlabelled)


class Pretraining(Section):
    """A first run on other data, whose weights are used for initialisation.

    Attributes:
        data: names of the datasets that are only used for pretraining.
        steps, minutes, learning_rate: settings of the first run; None for those of the schedule.
        class_names: class names of the network in the first run; by default, those of its data.
    """

    data: Annotated[tuple[str, ...], Field(min_length=1)]
    steps: AtLeastOne | None = None
    minutes: Positive | None = None
    learning_rate: Positive | None = None
    class_names: tuple[str, ...] = ()
