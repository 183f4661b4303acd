"""What a method must bring: the family contract, a frozen dataclass of functions.

A family is one folder under :mod:`cytotome.families` whose ``__init__`` holds ``FAMILY``. No engine file names a
family; everything an engine needs is asked from here. ``net`` is always the network that the family's ``build`` made.
Nothing in this module imports torch: its types are imported for type checking only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, Protocol, Self, TypeAlias, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from cytotome.types import AnyArray, Instances, OutputSpec, Sample

if TYPE_CHECKING:
    import torch

    from cytotome.outputs.canvas import Canvas
    from cytotome.outputs.tiling import TileWatch
    from cytotome.outputs.tta import Tta

Batch: TypeAlias = "Mapping[str, torch.Tensor]"
"""``image`` ``(B, C, H, W)`` float32, the family's targets with a leading B, ``valid`` ``(B, 1, H, W)`` float32 that
is 0 where a pixel adds nothing to a loss, ``labelled`` ``(B,)`` bool, ``cell_type`` ``(B,)`` int64 (-1 unknown).
Targets whose name begins with ``PER_INSTANCE`` hold the instances of all crops one after the other; then ``instances``
``(B,)`` int64 says how many belong to each crop."""

PER_INSTANCE = "instance."
"""Begins the name of a target of ``(N, ...)`` arrays, one row per instance."""

Losses: TypeAlias = "Mapping[str, torch.Tensor]"
"""Named scalars; ``total`` is the one that is minimised, the others are logged."""

Stream = Literal["labelled", "unlabelled"]
OptimiserName = Literal["adamw", "adam", "rmsprop", "sgd"]


SIZE_RANGE = 5 / 3
"""By how much more an image is enlarged or reduced at most, to bring its cells to ``cell_size``."""


class FamilyConfig(BaseModel):
    """What every family's config holds; a family adds its own fields.

    Attributes:
        class_names: cell types that the network distinguishes; one class or more.
        channels: channels of the network's input.
        input_scale: factor by which an image is enlarged before the network sees it.
        cell_size: side (root of the area) in pixels of the network's input to which the median cell of each image is
            brought: a first pass at ``input_scale`` finds its size, a second one sees the image enlarged to suit,
            within a factor of 5/3. None for ``input_scale`` whatever the size of the cells. In training, the share of
            crops that a recipe's ``sampling.sized`` says.
        offset: pixels, down and right, by which cells are shifted against their masks in the data whose masks are to be
            matched: instances are returned as far up and left of where they are seen (a recipe's
            ``sampling.sources.NAME.offset``).
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

    def changed(self, **values: object) -> Self:
        """With some fields replaced; these also come before overrides by cell type.

        Raises:
            pydantic.ValidationError: if one is unknown or out of range.
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
    """The same error, of a field within ``place``."""
    return InitErrorDetails(
        type=fault["type"], loc=(*place, *fault["loc"]), input=fault["input"], ctx=fault.get("ctx", {})
    )


Config = TypeVar("Config", bound=FamilyConfig)
Parameters = TypeVar("Parameters", bound=DecodeParameters)
Network = TypeVar("Network", bound="torch.nn.Module")
Batched = TypeVar("Batched")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Phase(Generic[Network]):
    """One optimiser and what it minimises.

    Attributes:
        name: used in logs, as ``<stage>/<phase>/<loss>``.
        parameters: the parameters of ``net`` that this phase changes.
        loss: ``loss(net, batch)`` runs the network and returns named scalars, ``total`` among them.
        every: the phase runs on one batch in ``every``.
        optimiser, learning_rate, weight_decay: of this phase only, before what the recipe says; None for the recipe's.
        after_step: called with ``net`` after each step of the optimiser, such as to clip weights.
    """

    name: str
    parameters: Callable[[Network], Iterable[torch.nn.Parameter]]
    loss: Callable[[Network, Batch], Losses]
    every: int = 1
    optimiser: OptimiserName | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    after_step: Callable[[Network], None] | None = None


@dataclass(frozen=True)
class Stage(Generic[Network]):
    """A part of a training run with its own phases; stages run one after the other.

    Attributes:
        name: identity within the family.
        phases: run in turn on each batch.
        share: part of the run's steps, relative to the other stages.
        streams: the kinds of samples a batch is drawn from.
    """

    name: str
    phases: tuple[Phase[Network], ...]
    share: float = 1.0
    streams: tuple[Stream, ...] = ("labelled",)


class Outputs(Protocol[Batched, Output]):
    """What a network gives, and all that an engine does with it; :mod:`cytotome.outputs` has both kinds.

    ``Batched`` is what the network gives for a batch ``(B, C, H, W)``, ``Output`` what the decoder takes of one image.
    """

    @property
    def specs(self) -> tuple[OutputSpec, ...]:
        """The dense maps, none where the network predicts instances."""
        ...

    @property
    def joins_tiles(self) -> bool:
        """Whether outputs of neighbouring tiles go together before the decoder; embeddings differ from tile to tile."""
        ...

    def tiled(
        self, predict: Callable[[torch.Tensor], Batched], *, tile: int, stride: int, watch: TileWatch | None = None
    ) -> Callable[[torch.Tensor], Batched]:
        """A predictor that sees at most ``tile`` x ``tile`` pixels at once; ``watch`` is called after each tile.

        Raises:
            ConfigError: if tiles are too small to overlap by one stride.
        """
        ...

    def augmented(
        self, predict: Callable[[torch.Tensor], Batched], tta: Tta, *, stride: int
    ) -> Callable[[torch.Tensor], Batched]:
        """A predictor that unites what the network gives for several views of each image."""
        ...

    def at_size(self, found: Batched, canvas: Canvas, size: tuple[int, int]) -> list[Output]:
        """The outputs of each image of a batch, brought from the network's canvas to ``size``, rows and columns."""
        ...

    def why_no_mean(self) -> str:
        """Why outputs of several models cannot be averaged before one decoder; empty if they can."""
        ...

    def mean(self, outputs: Sequence[Output], weights: Sequence[float]) -> Output:
        """The weighted mean of several models' outputs for one image.

        Raises:
            DataError: if they do not go together.
        """
        ...

    def why_no_difference(self) -> str:
        """Why two networks cannot be compared by their outputs; empty if they can."""
        ...

    def difference(self, found: Batched, expected: Batched) -> torch.Tensor:
        """How far apart two networks' outputs for one batch are, a scalar with gradients."""
        ...

    def to_arrays(self, output: Output) -> dict[str, AnyArray]:
        """The outputs for one image as named arrays, to be kept in a file."""
        ...

    def from_arrays(self, arrays: Mapping[str, AnyArray]) -> Output:
        """What :meth:`to_arrays` was given."""
        ...


@dataclass(frozen=True)
class Family(Generic[Config, Parameters, Network, Batched, Output]):
    """One method, whole.

    Attributes:
        name: as in recipes and model files.
        summary: one line, with the paper.
        config: its config type.
        parameters: its decoder parameter type.
        outputs: the kind of what ``predict`` returns, ``Dense(specs)`` or ``Detections()`` of :mod:`cytotome.outputs`.
        build: a network of random weights.
        stride: sides of the network's input are multiples of it.
        targets: ``targets(instances, config)`` gives named ``(C, H, W)`` arrays; it runs after augmentation, in the
            workers. Where the family predicts dense maps, the targets of the same names are what a perfect network
            would output, so ``decode(oracle(targets))`` is the representation ceiling. A target named
            ``PER_INSTANCE + ...`` may have any number of rows.
        oracle: from targets to what a perfect network predicts, dense maps or instances.
        stages: how it is trained.
        predict: ``predict(net, images)`` with images ``(B, C, H, W)`` gives named ``(B, C, H, W)`` tensors, activated
            (probabilities, unit-free vectors), or a list of Instances with soft masks, before anything is dropped.
        decode: ``decode(output, parameters, class_names)`` gives instances with scores; no network.
        ceiling: minimum mAP of ``decode(oracle(targets(truth)))`` on the real images, overall; it is tested.
        tile: largest side of the input of a network that is made for windows of one size; None if any size goes.
        calibrate: ``calibrate(pairs, parameters, class_names)`` fits decoder parameters on pairs of outputs and truth;
            None if nothing is fitted.
    """

    name: str
    summary: str
    config: type[Config]
    parameters: type[Parameters]
    outputs: Callable[[Config], Outputs[Batched, Output]]
    build: Callable[[Config], Network]
    stride: Callable[[Network], int]
    targets: Callable[[Instances, Config], dict[str, AnyArray]]
    oracle: Callable[[Mapping[str, AnyArray], Config], Output]
    stages: Callable[[Config], tuple[Stage[Network], ...]]
    predict: Callable[[Network, torch.Tensor], Batched]
    decode: Callable[[Output, Parameters, Sequence[str]], Instances]
    ceiling: float
    tile: Callable[[Network], int] | None = None
    calibrate: Callable[[Sequence[tuple[Output, Sample]], Parameters, Sequence[str]], Parameters] | None = None
