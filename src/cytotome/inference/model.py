"""The model object that a user holds: images in, instances out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeVar, overload

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from cytotome.contract import DecodeParameters, Family
from cytotome.data.normalise import normalise
from cytotome.errors import ConfigError, CytotomeError, ModelError, describe
from cytotome.families import get_family
from cytotome.inference.device import choose_device, choose_precision
from cytotome.inference.inputs import ImageLike, is_one, several, to_image
from cytotome.inference.instance_tiles import segment_in_tiles
from cytotome.inference.instance_tta import with_instance_tta
from cytotome.inference.lanes import process_in_lanes
from cytotome.inference.optimise import can_fuse_activations, optimise
from cytotome.inference.passes import Pass, Shown, geometry
from cytotome.inference.predict import Canvas, instances_to_image_size, to_canvas, to_image_size
from cytotome.inference.scale import CellScale, at_known_size, resized_image, resized_instances
from cytotome.inference.stitching import InstancePredictor, with_stitched_tiles
from cytotome.inference.teller import Teller
from cytotome.inference.tiling import TILE, TileWatch, with_tiles
from cytotome.inference.tta import Predictor, Tta, tta_settings, with_tta
from cytotome.models.card import Card
from cytotome.models.cell_size import CellSizes
from cytotome.models.file import ModelFile, read_model
from cytotome.models.look import Look
from cytotome.models.registry import find_model
from cytotome.types import DenseMaps, FloatArray, Image, Instances

Result = TypeVar("Result")

STRIDE = 32
"""Sides of the network's input are multiples of it where the network names no ``stride`` of its own."""


class Model:
    """A network with all that makes instances of its outputs. Its methods may be called from several threads.

    Attributes:
        file: the model as it was read: family, config, parameters, normalisation, card.
        family: the method.
        device, precision: where and in which type the network computes.
    """

    def __init__(self, file: ModelFile, family: Family, net: nn.Module, device: torch.device, precision: torch.dtype):
        """Takes built parts; :func:`load_model` and :func:`build_model` build them."""
        self.file = file
        self.family = family
        self.device = device
        self.precision = precision
        self._stride = int(getattr(net, "stride", STRIDE))
        self._largest_tile = int(getattr(net, "tile", 0))  # of a network that is made for windows of one size
        fuse = can_fuse_activations(device)
        net = optimise(net.eval().requires_grad_(False), fuse_activations=fuse)
        self._net = net.to(device, precision).to(memory_format=torch.channels_last)
        self._specs = family.outputs(file.config)
        self._tell = Teller(file.card.look)
        self._embeds = any(spec.kind == "embedding" for spec in self._specs)
        self._watch: TileWatch | None = None
        # One batch at a time on an accelerator, so that its memory is bounded; threads of a CPU go side by side.
        self._turn = nullcontext() if device.type == "cpu" else threading.Lock()

    @property
    def hash(self) -> str:
        """SHA-256 of the model's content, empty for one that was never saved."""
        return self.file.digest

    @property
    def method(self) -> str:
        """Name of the family."""
        return self.family.name

    @property
    def card(self) -> Card:
        """Origin and merits."""
        return self.file.card

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of its instances."""
        return self.file.config.class_names

    def watch_tiles(self, watch: TileWatch | None) -> None:
        """Has ``watch`` called after each tile of images that are predicted in tiles; what it raises ends the image."""
        self._watch = watch

    @property
    def cell_sizes(self) -> CellSizes | None:
        """The cells that it was trained on, None where its card does not say."""
        return self.card.cell_sizes

    @property
    def look(self) -> Look | None:
        """The kind of images that it was trained on, None where its card does not say."""
        return self.card.look

    @property
    def parameters(self) -> DecodeParameters:
        """The calibrated parameters of the decoder."""
        return self.file.parameters

    def without_offset(self) -> Model:
        """The same model, sharing its network, that gives cells where they are seen, without the config's offset."""
        model = copy(self)
        model.file = replace(self.file, config=self.file.config.model_copy(update={"offset": (0.0, 0.0)}))
        return model

    @overload
    def segment(self, images: ImageLike, **options: Any) -> Instances: ...
    @overload
    def segment(self, images: Iterable[ImageLike], **options: Any) -> list[Instances]: ...
    def segment(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
        **parameters: Any,
    ) -> Instances | list[Instances]:
        """The cells of an image, or of each of several.

        Args:
            images: an :class:`Image` or :class:`Sample`, a ``(H, W)`` or ``(H, W, C)`` array or the path of a file; or
                a list, an iterator or a :class:`Dataset` of such.
            tta: average over the eight symmetries of the square, eight times as slow; or the views to average over.
            tile: images with a longer side, in pixels of the network's input, are predicted in tiles.
            scale: resize images by this factor before the model sees them; cells are given in the image's own pixels,
                while the decoder's parameters count those of the resized image. 1 takes images as they are. By default
                the factor follows from the image's pixel size where both it and the card's ``cell_sizes`` state one,
                and else from a first pass, see :mod:`cytotome.inference.scale`.
            diameter: typical diameter of the cells in pixels, instead of ``scale``.
            **parameters: override the calibrated parameters of the decoder.

        Raises:
            ImageError: where an image cannot be used.
            ConfigError: where a parameter is unknown or out of range; all faults are named.
        """
        if not is_one(images):
            options = {"tta": tta, "tile": tile, "scale": scale, "diameter": diameter, **parameters}
            return list(self.segment_many(images, **options))  # type: ignore[arg-type]
        how = Pass(self.override(**parameters), tta, tile, CellScale(scale, diameter))
        return _raised(self._process_batch([images], self._tell, how)[0])  # type: ignore[list-item]

    def segment_many(self, images: Iterable[ImageLike], **options: Any) -> Iterator[Instances]:
        """The cells of each image of a stream, in order; options as in :meth:`segment`.

        Images are taken a few ahead, so memory does not grow with their number.

        Raises:
            CytotomeError: at the turn of an image that cannot be used; the stream ends there.
        """
        return map(_raised, self.process_many(images, self._tell, **options))

    def process_many(
        self,
        images: Iterable[ImageLike],
        then: Callable[[Image, Instances], Result],
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
        workers: int | None = None,
        **parameters: Any,
    ) -> Iterator[Result | CytotomeError]:
        """``then(image, cells)`` of each image of a stream, in order; an image's error stands in its place.

        Reading, network, decoding and ``then`` of an image run in one of several threads, so that they overlap with
        those of other images. On a CPU each thread has its share of the processors: whole images side by side leave
        none of them waiting, as two threads on one convolution do beside a decoder.

        Args:
            images: paths are read in the threads.
            then: for instance writes files; called from several threads.
            tta, tile, scale, diameter, **parameters: as in :meth:`segment`.
            workers: number of threads.

        Raises:
            ConfigError: at once, where a parameter is unknown or out of range.
        """
        how = Pass(self.override(**parameters), tta, tile, CellScale(scale, diameter))

        def process(batch: Sequence[ImageLike]) -> list[Result | CytotomeError]:
            return self._process_batch(batch, then, how)

        return process_in_lanes(process, several(images), self.device, workers=workers)

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
            ConfigError: where the family predicts instances without maps.
        """
        if not self._specs:
            raise ConfigError(f"the family {self.family.name} predicts instances without maps; use segment")
        picture = to_image(image)
        factor = CellScale(scale, diameter).known(picture, self.cell_sizes) or 1.0
        canvas = replace(self._canvas(resized_image(picture, factor), tile), size=picture.shape)
        return self._maps([canvas], tta, tile)[0]

    def outputs(self, image: ImageLike, *, tta: bool | Tta = False, tile: int = TILE) -> Any:
        """What the family's decoder takes of an image: dense maps, or the instances that it predicts, none dropped."""
        canvases = [self._canvas(to_image(image), tile)]
        return (self._maps if self._specs else self._predicted_instances)(canvases, tta, tile)[0]

    def decode(self, maps: Any, **parameters: Any) -> Instances:
        """Instances of :meth:`outputs`, without the network; ``parameters`` override the calibrated ones."""
        return self.family.decode(maps, self.override(**parameters), self.file.config.class_names)

    def override(self, **parameters: Any) -> DecodeParameters:
        """The calibrated parameters with some replaced; these also come before overrides by cell type.

        Raises:
            ConfigError: where one is unknown or out of range; all faults are named.
        """
        if not parameters:
            return self.parameters
        try:
            return self.parameters.changed(**parameters)
        except ValidationError as error:
            names = ", ".join(type(self.parameters).model_fields)
            raise ConfigError(f"decode parameters: {'; '.join(describe(error))}; there are {names}") from None

    def _process_batch(
        self, sources: Sequence[ImageLike], then: Callable[[Image, Instances], Result], how: Pass
    ) -> list[Result | CytotomeError]:
        """Results in the order of the sources; neighbours of one size share a batch of the network."""
        results: list[Result | CytotomeError] = []
        prepared = (self._prepare(source, how) for source in sources)
        for _, group in groupby(prepared, key=geometry):
            shown = []
            for item in group:
                if isinstance(item, CytotomeError):
                    results.append(item)
                else:
                    shown.append(item)
            if shown:
                found = self._segment([one.canvas for one in shown], how)
                results += [self._finished(one, cells, how, then) for one, cells in zip(shown, found, strict=True)]
        return results

    def _prepare(self, source: ImageLike, how: Pass) -> Shown | CytotomeError:
        try:
            image = to_image(source)
            scale = how.size.known(image, self.cell_sizes)
            return Shown(image, scale, self._canvas(resized_image(image, scale or 1.0), how.tile))
        except CytotomeError as error:
            return error

    def _finished(
        self, shown: Shown, cells: Instances, how: Pass, then: Callable[[Image, Instances], Result]
    ) -> Result | CytotomeError:
        """``then`` of the cells in the image's own pixels, found once more at a better size where they need it."""

        def again(image: Image) -> Instances:
            return self._segment([self._canvas(image, how.tile)], how)[0]

        image, sizes = shown.image, self.cell_sizes
        try:
            if shown.scale is None and sizes is not None:
                cells = at_known_size(cells, image, sizes, again)
            if self.card.cell_types is not None:
                cells = self.card.cell_types.checked(cells)
            return then(image, resized_instances(cells, image.shape))
        except CytotomeError as error:
            return error

    def _segment(self, canvases: Sequence[Canvas], how: Pass) -> list[Instances]:
        """Instances of images of one geometry."""
        if self._embeds and max(canvases[0].pixels.shape[1:]) > how.tile:
            return [self._segment_in_tiles(canvas, how) for canvas in canvases]
        predict = self._maps if self._specs else self._predicted_instances
        outputs: Sequence[Any] = predict(canvases, how.tta, how.tile)
        names = self.file.config.class_names
        return [
            self.family.decode(one, how.parameters, names)
            if canvas.pixels.any()
            else Instances.empty(canvas.size, names)
            for canvas, one in zip(canvases, outputs, strict=True)
        ]

    def _segment_in_tiles(self, canvas: Canvas, how: Pass) -> Instances:
        """Tiles of the image are decoded one by one: embeddings of one are not those of another."""
        assert canvas.planes is not None
        scale = max(content / side for content, side in zip(canvas.content, canvas.size, strict=True))
        tile = -(-how.tile // self._stride) * self._stride

        def segment(planes: FloatArray) -> Instances:
            return self._segment([self._placed(planes, scale)], replace(how, tile=tile))[0]

        return segment_in_tiles(canvas.planes, segment, int(tile / scale), self._watch)

    def _canvas(self, image: Image, tile: int) -> Canvas:
        """What the network sees of an image; where the config names a ``cell_size``, after a first pass."""
        planes = normalise(image, self.file.normalisation, self.file.config.channels)
        scale = self.family.scale(self._net, planes, self.file.config)
        canvas = self._placed(planes, scale)
        if self.file.config.cell_size is None:
            return canvas
        cells = self._segment([canvas], Pass(self.parameters, tta=False, tile=tile))[0]
        factor = round(
            self.file.config.size_factor(cells.areas, scale), 1
        )  # so that images of like cells share batches
        return canvas if factor == 1 else self._placed(planes, scale * factor)

    def _placed(self, planes: FloatArray, scale: float) -> Canvas:
        canvas = to_canvas(planes, scale, self._stride, self.file.config.offset)
        return replace(canvas, planes=planes) if self._embeds else canvas

    def _maps(self, canvases: Sequence[Canvas], tta: bool | Tta, tile: int) -> list[dict[str, Any]]:
        """Dense maps of each of some canvases of one size."""
        predict: Predictor = self._run
        if views := tta_settings(tta):
            predict = with_tta(predict, self._specs, views, stride=self._stride)
        tile = min(tile, self._largest_tile or tile)
        predict = with_tiles(predict, self._specs, tile=tile, stride=self._stride, watch=self._watch)
        with self._turn, torch.inference_mode():
            maps = to_image_size(predict(self._input(canvases)), canvases[0])
            maps = {name: values.cpu() for name, values in maps.items()}
        return [{name: values[index].numpy() for name, values in maps.items()} for index in range(len(canvases))]

    def _predicted_instances(self, canvases: Sequence[Canvas], tta: bool | Tta, tile: int) -> list[Instances]:
        """Instances of each of some canvases of one size, before the decoder drops any."""
        predict: InstancePredictor = self._run_instances
        if views := tta_settings(tta):
            predict = with_instance_tta(predict, views, stride=self._stride)
        predict = with_stitched_tiles(predict, tile=tile, stride=self._stride, watch=self._watch)
        with self._turn, torch.inference_mode():
            found = predict(self._input(canvases))
        return [instances_to_image_size(cells, canvas) for cells, canvas in zip(found, canvases, strict=True)]

    def _run_instances(self, images: Tensor) -> list[Instances]:
        found: list[Instances] = self.family.predict(self._net, images.contiguous(memory_format=torch.channels_last))
        return found

    def _run(self, images: Tensor) -> Mapping[str, Tensor]:
        maps: Mapping[str, Tensor] = self.family.predict(
            self._net, images.contiguous(memory_format=torch.channels_last)
        )
        return maps

    def _input(self, canvases: Sequence[Canvas]) -> Tensor:
        stacked = canvases[0].pixels[None] if len(canvases) == 1 else np.stack([canvas.pixels for canvas in canvases])
        return torch.from_numpy(stacked).to(self.device, self.precision)


def load_model(name_or_path: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto") -> Model:
    """A model by the name of a bundled one (``"neurons"``) or by the path of its file.

    Args:
        name_or_path: name or path.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto`` (bfloat16 where the device computes in it), ``float32`` or ``bfloat16``.

    Raises:
        ModelError: where there is no such model, or its file is damaged, foreign or of a newer format.
        ConfigError: where the device or precision is not there.
    """
    return build_model(read_model(find_model(name_or_path)), device=device, precision=precision)


def build_model(
    file: ModelFile, *, family: Family | None = None, device: str = "auto", precision: str = "auto"
) -> Model:
    """A model from the content of its file; options as in :func:`load_model`.

    Args:
        file: weights and all that belongs to them; they are copied.
        family: the method, where it is not one of :func:`cytotome.families.family_names`.

    Raises:
        ModelError: where the weights do not fit the network.
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
    return Model(file, family, net, chosen_device, chosen_precision)


def _raised(outcome: Result | CytotomeError) -> Result:
    if isinstance(outcome, CytotomeError):
        raise outcome
    return outcome
