"""How the weights of a run are found: steps, time, stages, optimiser, learning rate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cytotome.contract import OptimiserName, Stream
from cytotome.data.augment import Magnitude, Probability

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a recipe: it takes no field that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StageSettings(Section):
    """How one stage differs from the rest of the run; None for no difference.

    Attributes:
        share: part of the steps that no stage has for itself, relative to the other stages; 0 leaves the stage out.
        steps: batches of this stage, whatever those of the others.
        batch: crops of a batch.
        learning_rate, optimiser, weight_decay: as of the schedule.
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
    """How the weights are found.

    Attributes:
        steps: batches in all, over all stages.
        stages: how single stages differ, by their names; where every stage has its own ``steps``, ``steps`` above is
            not used.
        only: stages to train, the others are left out; each is as long as it is in a run of all; none named means all.
        minutes: wall time after which training ends though steps are left; the learning rate follows whichever of
            steps and time is further on, so that it has always come down at the end. None for no limit.
        optimiser: ``adamw``, ``adam``, ``rmsprop`` or ``sgd`` (with momentum 0.9).
        learning_rate: greatest.
        final_learning_rate: at the end of a stage's cosine, as a part of ``learning_rate``.
        warmup: part of a stage in which the learning rate rises.
        weight_decay: on weights, not on biases and normalisation.
        clip: greatest norm of a phase's gradient; 0 for no limit.
        ema: decay per step of the exponential moving average of the weights, which is what is saved; 0 for none.
        precision: ``auto`` takes bfloat16 where the device computes in it, else float32.
        validate_every: steps between scores on validation images, 0 for never.
        validation_images: how many are scored then.
        pictures_every: steps between pictures of what is found in a labelled and an unlabelled image, 0 for never.
        checkpoint_minutes: wall time between checkpoints.
    """

    steps: AtLeastOne = 4000
    stages: dict[str, StageSettings] = {}
    only: tuple[str, ...] = ()
    optimiser: OptimiserName = "adamw"
    minutes: Positive | None = None
    learning_rate: Positive = 1e-3
    final_learning_rate: Probability = 0.01
    warmup: Probability = 0.05
    weight_decay: Magnitude = 0.05
    clip: Magnitude = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    validate_every: Count = 0
    validation_images: AtLeastOne = 8
    pictures_every: Count = 0
    checkpoint_minutes: Magnitude = 3.0


class TeacherSettings(Section):
    """How a network learns from a mean teacher on unlabelled images (see :mod:`cytotome.training.teacher`).

    Attributes:
        weight: of the consistency beside the family's own losses.
        ramp: part of the run in which the weight rises.
        unlabelled: unlabelled crops for each labelled one.
        strength: factor on the probabilities and ranges of the recipe's changes of grey level, for the network.
        cutouts: rectangles that are cut out of what the network sees.
        cutout_size: greatest side of one, as a part of the crop's.
    """

    weight: Magnitude = 1.0
    ramp: Probability = 0.2
    unlabelled: AtLeastOne = 1
    strength: Magnitude = 2.0
    cutouts: Count = 3
    cutout_size: Probability = 0.25

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Of every stage."""
        unlabelled: tuple[Stream, ...] = ("unlabelled",)
        return ("labelled", *unlabelled * self.unlabelled)


class Pretraining(Section):
    """A first run on other data, whose weights the run itself starts from.

    Attributes:
        data: names of the datasets that are pretrained on, and on nothing else after that.
        steps, minutes, learning_rate: of the first run; None for those of the schedule.
        class_names: of the network in the first run; those of its data where none is given.
    """

    data: Annotated[tuple[str, ...], Field(min_length=1)]
    steps: AtLeastOne | None = None
    minutes: Positive | None = None
    learning_rate: Positive | None = None
    class_names: tuple[str, ...] = ()
