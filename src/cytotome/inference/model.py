"""The model object that a user holds: images in, instances out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import ValidationError

from cytotome.contract import DecodeParameters, FamilyConfig, Outputs
from cytotome.data.normalise import normalise
from cytotome.errors import ConfigError, ModelError, describe
from cytotome.families import AnyFamily, family_names, get_family
from cytotome.inference.device import choose_device, choose_precision
from cytotome.inference.inputs import ImageLike, to_image
from cytotome.inference.instance_tiles import segment_in_tiles
from cytotome.inference.passes import Finder, Pass, Prediction
from cytotome.inference.runner import Runner, Seen
from cytotome.inference.scale import CellScale, resized_image
from cytotome.inference.segmenter import Segmenter
from cytotome.models.card import Card
from cytotome.models.cell_size import CellSizes
from cytotome.models.file import ModelFile, read_model
from cytotome.models.look import Look
from cytotome.models.registry import find_model
from cytotome.outputs.tiling import TILE, round_up
from cytotome.outputs.tta import Tta
from cytotome.types import DenseMaps, FloatArray, Image, Instances, OutputSpec


@dataclass(frozen=True, eq=False, repr=False)
class Model(Segmenter):
    """A network with all that makes instances of its outputs; see :func:`load_single_model` and :func:`build_model`.

    Attributes:
        file: the model as it was read: family, config, parameters, normalisation, card.
        runner: its network.
    """

    file: ModelFile
    runner: Runner

    def __repr__(self) -> str:
        precision = str(self.precision).removeprefix("torch.")
        return f"Model({self.card.name!r}, {self.method}, {self.device}, {precision})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its file: the network is rebuilt on the same kind of device."""
        known = self.family.name in family_names() and get_family(self.family.name) is self.family
        precision = str(self.precision).removeprefix("torch.")
        return _rebuilt, (self.file, None if known else self.family, str(self.device), precision)

    @property
    def digest(self) -> str:
        """SHA-256 of the model's content, empty for one that was never saved."""
        return self.file.digest

    @property
    def family(self) -> AnyFamily:
        """The method."""
        return self.runner.family

    @property
    def method(self) -> str:
        """Name of the family."""
        return self.family.name

    @property
    def config(self) -> FamilyConfig:
        """The family's config."""
        return self.file.config

    @property
    def card(self) -> Card:
        """Origin and merits."""
        return self.file.card

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of its instances."""
        return self.config.class_names

    @property
    def kind(self) -> Outputs[Any, Any]:
        """Of its outputs."""
        return self.runner.kind

    @property
    def maps(self) -> tuple[OutputSpec, ...]:
        """The dense maps that it predicts, none where it predicts instances."""
        return self.kind.specs

    @property
    def cell_sizes(self) -> CellSizes | None:
        """The cells that it was trained on, None if its card does not say."""
        return self.card.cell_sizes

    @property
    def look(self) -> Look | None:
        """The kind of images that it was trained on, None if its card does not say."""
        return self.card.look

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.runner.device

    @property
    def precision(self) -> torch.dtype:
        """In which type the network computes."""
        return self.runner.precision

    @property
    def parameters(self) -> DecodeParameters:
        """The calibrated parameters of the decoder."""
        return self.file.parameters

    def without_offset(self) -> Model:
        """The same model, sharing its network, that gives cells where they are seen, without the config's offset."""
        return replace(self, file=replace(self.file, config=self.config.model_copy(update={"offset": (0.0, 0.0)})))

    def override(self, **parameters: Any) -> DecodeParameters:
        """The calibrated parameters with some replaced; these also come before overrides by cell type.

        Raises:
            ConfigError: if one is unknown or out of range; all errors are reported.
        """
        if not parameters:
            return self.parameters
        try:
            return self.parameters.changed(**parameters)
        except ValidationError as error:
            names = ", ".join(type(self.parameters).model_fields)
            raise ConfigError(f"decode parameters: {'; '.join(describe(error))}; there are {names}") from None

    def predict_maps(
        self,
        image: ImageLike,
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
    ) -> DenseMaps:
        """The network's maps ``(C, H, W)`` float32 of the image's own size, to be decoded by :meth:`decode`.

        Options are those of :meth:`segment`; no first pass estimates the size of the cells.

        Raises:
            ConfigError: if the family predicts instances without maps.
        """
        if not self.maps:
            raise ConfigError(f"the family {self.method} predicts instances without maps; use segment")
        picture = to_image(image)
        factor = CellScale(scale, diameter).known(picture, self.cell_sizes) or 1.0
        how = Pass(tta, tile)
        _, maps = self.runner.outputs(self._seen([resized_image(picture, factor)], how), how, [picture.shape])[0]
        return maps  # type: ignore[no-any-return]

    def outputs(self, image: ImageLike, *, tta: bool | Tta = False, tile: int = TILE) -> Any:
        """What the family's decoder takes of an image: dense maps, or the instances that it predicts, none dropped."""
        return self.outputs_of([to_image(image)], Pass(tta, tile))[0]

    def outputs_of(self, images: Sequence[Image], how: Pass) -> list[Any]:
        """What the decoder takes of each of some images; those of one size go through the network together."""
        return [outputs for (outputs,) in self.runner.outputs(self._seen(images, how), how)]

    def decode(self, outputs: Any, **parameters: Any) -> Instances:
        """Instances of :meth:`outputs`, without the network; ``parameters`` override the calibrated ones."""
        return self.family.decode(outputs, self.override(**parameters), self.class_names)

    def uncalibrated(self, image: Image, cells: Instances) -> Instances:
        """The cells as they are: their scores are the model's own."""
        return cells

    def finder(self, how: Pass, **parameters: Any) -> Finder:
        """What finds the instances of images at the size that these are given in, and judges their type there.

        Raises:
            ConfigError: if a parameter is unknown or out of range.
        """
        chosen, types = self.override(**parameters), self.card.cell_types

        def find(images: Sequence[Image], sizes: Sequence[tuple[int, int]]) -> list[Prediction]:
            found = self._decoded(self._seen(images, how), sizes, chosen, how)
            return [
                Prediction(image, cells if types is None else types.checked(cells), outputs)
                for image, (cells, outputs) in zip(images, found, strict=True)
            ]

        return find

    def _seen(self, images: Sequence[Image], how: Pass) -> list[Seen]:
        """What the network sees of images; where the config names a ``cell_size``, after a first pass on each."""
        config = self.config
        planes = [normalise(image, self.file.normalisation, config.channels) for image in images]
        seen = [self.runner.see(one, config.input_scale, config.offset) for one in planes]
        if config.cell_size is None:
            return seen
        first = self._decoded(seen, [], self.parameters, Pass(tile=how.tile, watch=how.watch))
        factors = [config.size_factor(cells.areas, config.input_scale) for cells, _ in first]
        return [  # rounded, so that images of like cells share batches
            self.runner.see(one, config.input_scale * round(factor, 1), config.offset)
            for one, factor in zip(planes, factors, strict=True)
        ]

    def _decoded(
        self, seen: Sequence[Seen], sizes: Sequence[tuple[int, int]], parameters: DecodeParameters, how: Pass
    ) -> list[tuple[Instances, Any]]:
        """Instances of each image and, where they are kept, the outputs at its ``sizes``, else None."""
        in_tiles = [not self.kind.joins_tiles and max(one.canvas.pixels.shape[1:]) > how.tile for one in seen]
        whole = [place for place, apart in enumerate(in_tiles) if not apart or how.keep]
        further = [[sizes[place] for place in whole]] if how.keep else []
        outputs = dict(zip(whole, self.runner.outputs([seen[place] for place in whole], how, *further), strict=True))
        found = []
        for place, one in enumerate(seen):
            own, *kept = outputs.get(place, (None,))
            if in_tiles[place]:
                cells = self._decoded_in_tiles(one, parameters, how)
            elif one.is_blank:
                cells = Instances.empty(one.size, self.class_names)
            else:
                cells = self.family.decode(own, parameters, self.class_names)
            found.append((cells, kept[0] if kept else None))
        return found

    def _decoded_in_tiles(self, seen: Seen, parameters: DecodeParameters, how: Pass) -> Instances:
        """Tiles of the image are decoded one by one: embeddings of one are not those of another.

        So outputs of the whole image, where they are kept, are not those that the decoder took: the network makes them
        once more.
        """
        scale = max(content / side for content, side in zip(seen.canvas.content, seen.size, strict=True))
        tile = round_up(how.tile, self.runner.stride)
        inside = replace(how, tile=tile, keep=False)

        def segment(planes: FloatArray) -> Instances:
            return self._decoded([self.runner.see(planes, scale, self.config.offset)], [], parameters, inside)[0][0]

        return segment_in_tiles(seen.planes, segment, int(tile / scale), how.watch)


def load_single_model(name_or_path: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto") -> Model:
    """A model by the name of a bundled one (``"neurons"``) or by the path of its file; not an ensemble.

    :func:`cytotome.ensemble.load.load_model` opens both.

    Args:
        name_or_path: name or path.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto`` (bfloat16 where the device computes in it), ``float32`` or ``bfloat16``.

    Raises:
        ModelError: if there is no such model, or its file is damaged, foreign or of a newer format.
        ConfigError: if the device or precision is not there.
    """
    return build_model(read_model(find_model(name_or_path)), device=device, precision=precision)


def build_model(
    file: ModelFile, *, family: AnyFamily | None = None, device: str = "auto", precision: str = "auto"
) -> Model:
    """A model from the content of its file; options as in :func:`load_single_model`.

    Args:
        file: weights and all that belongs to them; they are copied.
        family: the method, where it is not one of :func:`cytotome.families.family_names`.

    Raises:
        ModelError: if the weights do not fit the network.
    """
    chosen_device = choose_device(device)
    chosen_precision = choose_precision(precision, chosen_device)
    family = family or get_family(file.family)
    with torch.random.fork_rng(devices=[]):  # random weights that are overwritten cost the caller no seed
        net = family.build(file.config.trained())
    try:
        net.load_state_dict(dict(file.weights))
    except RuntimeError as error:
        fault = " ".join(str(error).split())[:200]
        raise ModelError(f"the weights do not fit the {family.name} network ({fault}); train it again") from None
    return Model(file, Runner.of(family, file.config, net, chosen_device, chosen_precision))


def _rebuilt(file: ModelFile, family: AnyFamily | None, device: str, precision: str) -> Model:
    """What :meth:`Model.__reduce__` names."""
    return build_model(file, family=family, device=device, precision=precision)
