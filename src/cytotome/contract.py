"""What a method must bring: the family contract, a frozen dataclass of functions.

A family is one folder under :mod:`cytotome.families` whose ``__init__`` holds ``FAMILY``. No engine file names a
family; everything an engine needs is asked from here. ``net`` is always the network that the family's ``build`` made.
Nothing in this module imports torch: its types are named for the type checker alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from cytotome.types import AnyArray, Instances, OutputSpec, Sample

if TYPE_CHECKING:
    import torch

Batch: TypeAlias = "Mapping[str, torch.Tensor]"
"""``image`` ``(B, C, H, W)`` float32, the family's targets with a leading B, ``valid`` ``(B, 1, H, W)`` float32 that
is 0 where a pixel adds nothing to a loss, ``labelled`` ``(B,)`` bool, ``cell_type`` ``(B,)`` int64 (-1 unknown).
Targets whose name begins with ``PER_INSTANCE`` hold the instances of all crops one after the other; then ``instances``
``(B,)`` int64 says how many belong to each crop."""

PER_INSTANCE = "instance."
"""Begins the name of a target of ``(N, ...)`` arrays, one row an instance."""

Losses: TypeAlias = "Mapping[str, torch.Tensor]"
"""Named scalars; ``total`` is the one that is minimised, the others are logged."""

Stream = Literal["labelled", "unlabelled"]
OptimiserName = Literal["adamw", "adam", "rmsprop", "sgd"]


SIZE_RANGE = 5 / 3
"""By how much more an image is enlarged or reduced at most, to bring its cells to ``cell_size``."""


class FamilyConfig(BaseModel):
    """What every family's config holds; a family adds its own fields.

    Attributes:
        class_names: cell types that the network tells apart; one class or more.
        channels: channels of the network's input.
        input_scale: factor by which an image is enlarged before the network sees it.
        cell_size: side (root of the area) in pixels of the network's input to which the median cell of each image is
            brought: a first pass at ``input_scale`` finds its size, a second one sees the image enlarged to suit,
            within a factor of 5/3. None for ``input_scale`` whatever the size of the cells. In training, the share of
            crops that a recipe's ``sampling.sized`` says.
        offset: pixels, down and right, by which cells lie beside their masks in the data whose masks are to be met:
            what is found is given as far up and left of where it is seen (a recipe's ``sampling.sources.NAME.offset``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    class_names: tuple[str, ...] = Field(default=("cell",), min_length=1)
    channels: int = Field(default=1, ge=1)
    input_scale: float = Field(default=1.0, gt=0)
    cell_size: float | None = Field(default=None, gt=0)
    offset: tuple[float, float] = (0.0, 0.0)

    def trained(self) -> Self:
        """The config of a network that has its weights: ``pretrained``, where a family has it, asks for none."""
        return self.model_copy(update={"pretrained": False}) if "pretrained" in type(self).model_fields else self

    def size_factor(self, areas: AnyArray, scale: float) -> float:
        """By how much more an image is to be enlarged to bring its median cell to ``cell_size``; 1 without cells.

        Args:
            areas: ``(N,)`` of its cells in pixels of the image.
            scale: by which the image is enlarged already.
        """
        if self.cell_size is None or not len(areas):
            return 1.0
        factor = self.cell_size / (scale * float(np.median(np.sqrt(areas))))
        return min(max(factor, 1 / SIZE_RANGE), SIZE_RANGE)


class DecodeParameters(BaseModel):
    """What every family's decoder takes; a family adds its own fields. All are kept in the model file.

    Attributes:
        min_score: instances below are dropped.
        min_area: instances of fewer pixels are dropped.
        by_class: overrides of any of the other fields for images of one cell type, by its name.
        search: values that a tuner tries, by the field's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_score: float = Field(default=0.0, ge=0, le=1)
    min_area: int = Field(default=15, ge=0)
    by_class: dict[str, dict[str, float]] = {}

    search: ClassVar[dict[str, tuple[float, ...]]] = {}

    @field_validator("score_weights", check_fields=False)
    @classmethod
    def _check_score_weights(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        """One weight for each feature, as many as a family's default has."""
        expected = len(cls.model_fields["score_weights"].default)
        if len(weights) != expected:
            raise ValueError(f"must be {expected} numbers, one for each feature, got {len(weights)}")
        return weights

    @model_validator(mode="after")
    def _check_types(self) -> Self:
        faults: list[InitErrorDetails] = []
        for name in self.by_class:
            try:
                self.of_type(name)
            except ValidationError as error:
                faults += [_placed(fault, "by_class", name) for fault in error.errors()]
        if faults:
            raise ValidationError.from_exception_data(type(self).__name__, faults)
        return self

    def changed(self, **values: Any) -> Self:
        """With some fields replaced; these also come before overrides by cell type.

        Raises:
            pydantic.ValidationError: where one is unknown or out of range.
        """
        content = self.model_dump()
        by_class = {
            kind: {name: value for name, value in own.items() if name not in values}
            for kind, own in content["by_class"].items()
        }
        return type(self).model_validate({**content, "by_class": by_class, **values})

    def of_type(self, cell_type: str) -> Self:
        """The parameters for images of one cell type: those that ``by_class`` gives it, else the general ones."""
        chosen = self.by_class.get(cell_type)
        general = self.model_dump(exclude={"by_class"})
        return self if chosen is None else type(self).model_validate({**general, **chosen})


def _placed(fault: ErrorDetails, *place: str) -> InitErrorDetails:
    """The same fault, of a field within ``place``."""
    return InitErrorDetails(
        type=fault["type"], loc=(*place, *fault["loc"]), input=fault["input"], ctx=fault.get("ctx", {})
    )


@dataclass(frozen=True)
class Phase:
    """One optimiser and what it minimises.

    Attributes:
        name: used in logs, as ``<stage>/<phase>/<loss>``.
        parameters: the parameters of ``net`` that this phase changes.
        loss: ``loss(net, batch)`` runs the network and returns named scalars, ``total`` among them.
        every: the phase runs on one batch in ``every``.
        optimiser, learning_rate, weight_decay: of this phase alone, before what the recipe says; None for the recipe's.
        after_step: called with ``net`` after each step of the optimiser, such as to clip weights.
    """

    name: str
    parameters: Callable[[Any], Iterable[torch.nn.Parameter]]
    loss: Callable[[Any, Batch], Losses]
    every: int = 1
    optimiser: OptimiserName | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    after_step: Callable[[Any], None] | None = None


@dataclass(frozen=True)
class Stage:
    """A part of a training run with its own phases; stages run one after the other.

    Attributes:
        name: identity within the family.
        phases: run in turn on each batch.
        share: part of the run's steps, relative to the other stages.
        streams: the kinds of samples a batch is drawn from.
    """

    name: str
    phases: tuple[Phase, ...]
    share: float = 1.0
    streams: tuple[Stream, ...] = ("labelled",)


@dataclass(frozen=True)
class Family:
    """One method, whole.

    Attributes:
        name: as in recipes and model files.
        summary: one line, with the paper.
        config: its config type.
        parameters: its decode parameter type.
        outputs: the dense maps that ``predict`` returns; empty when the network predicts instances itself.
        build: a network of random weights.
        targets: ``targets(instances, config)`` gives named ``(C, H, W)`` arrays; it runs after augmentation, in the
            workers. Where the family predicts dense maps, the targets of the same names are what a perfect network
            would output, so ``decode(oracle(targets))`` is the representation ceiling. A target named
            ``PER_INSTANCE + ...`` may have any number of rows.
        oracle: from targets to what a perfect network predicts, dense maps or instances.
        stages: how it is trained.
        predict: ``predict(net, images)`` with images ``(B, C, H, W)`` gives named ``(B, C, H, W)`` tensors, activated
            (probabilities, unit-free vectors), or a list of Instances with soft masks, before anything is dropped.
        decode: ``decode(maps, parameters, class_names)`` gives instances with scores; no network. Where ``predict``
            gives instances, it takes these in the place of maps.
        ceiling: least mAP of ``decode(oracle(targets(truth)))`` on the real images, over all; tests hold it.
        scale: input resize factor for one image.
        calibrate: ``calibrate(pairs, parameters, class_names)`` fits decode parameters on pairs of maps and truth; None
            where nothing is fitted.
    """

    name: str
    summary: str
    config: type[FamilyConfig]
    parameters: type[DecodeParameters]
    outputs: Callable[[Any], tuple[OutputSpec, ...]]
    build: Callable[[Any], torch.nn.Module]
    targets: Callable[[Instances, Any], dict[str, AnyArray]]
    oracle: Callable[[Mapping[str, AnyArray], Any], Any]
    stages: Callable[[Any], tuple[Stage, ...]]
    predict: Callable[[Any, torch.Tensor], Any]
    decode: Callable[[Any, Any, Sequence[str]], Instances]
    ceiling: float
    scale: Callable[[Any, AnyArray, Any], float] = field(default=lambda net, image, config: float(config.input_scale))
    calibrate: Callable[[Sequence[tuple[Any, Sample]], Any, Sequence[str]], Any] | None = None
