"""The common interface of models and ensembles: converts images to instances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar, overload

import torch
from pydantic import BaseModel

from cytotome.errors import CytotomeError
from cytotome.inference.inputs import ImageLike, is_one, several, to_image
from cytotome.inference.passes import Finder, Pass, Prediction
from cytotome.inference.scale import CellScale, estimate_scale, resized_image, resized_instances
from cytotome.inference.stream import JobKind, Outcome, stream_jobs
from cytotome.inference.teller import Teller
from cytotome.models.card import Card
from cytotome.models.cell_size import CellSizes
from cytotome.models.look import Look
from cytotome.outputs.tiling import TILE, TileWatch
from cytotome.outputs.tta import Tta
from cytotome.types import Image, Instances, OutputSpec

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class ImageJob:
    """An image of a stream, as given by the user."""

    source: ImageLike

    def read(self) -> Image:
        """Returns the image; files are read here."""
        return to_image(self.source)


class Segmenter(Protocol):
    """A model or an ensemble. Its methods may be called from several threads."""

    @property
    def digest(self) -> str:
        """SHA-256 of its content, empty if it was never saved."""
        ...

    @property
    def method(self) -> str:
        """Names of its families."""
        ...

    @property
    def card(self) -> Card:
        """Card with origin and scores."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of its instances."""
        ...

    @property
    def maps(self) -> tuple[OutputSpec, ...]:
        """The dense maps among its outputs; empty for detections and for ensembles."""
        ...

    @property
    def cell_sizes(self) -> CellSizes | None:
        """Sizes of the cells that it was trained on, None if not in the card."""
        ...

    @property
    def look(self) -> Look | None:
        """The kind of images that it was trained on, None if not in the card."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        ...

    @property
    def precision(self) -> torch.dtype:
        """Precision of the networks."""
        ...

    @property
    def parameters(self) -> BaseModel:
        """The parameters that :meth:`override` can replace."""
        ...

    def override(self, **parameters: Any) -> BaseModel:
        """Returns the parameters with some replaced; overrides of these by cell type are dropped.

        Raises:
            ConfigError: if one is unknown or out of range; all errors are listed.
        """
        ...

    def finder(self, how: Pass, **parameters: Any) -> Finder:
        """Returns a function that finds instances in images, at their given size; of unknown type if unlike all known
        types.

        Raises:
            ConfigError: if a parameter is unknown or out of range.
        """
        ...

    def uncalibrated(self, image: Image, cells: Instances) -> Instances:
        """Returns the cells found in an image, with the kind of scores with which :attr:`look` was measured."""
        ...

    def note(self, image: Image, cells: Instances) -> str:
        """Returns one line for the user if an image is of another kind than the training images, else empty.

        Args:
            image: the image, as it was read.
            cells: cells found in it.
        """
        look = self.look
        return "" if look is None else look.note(image, lambda: self.uncalibrated(image, cells))

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
        watch: TileWatch | None = None,
        **parameters: Any,
    ) -> Instances | list[Instances]:
        """Finds the cells of one or several images.

        Args:
            images: an :class:`Image` or :class:`Sample`, a ``(H, W)`` or ``(H, W, C)`` array or the path of a file; or
                a list, an iterator or a :class:`Dataset` of these.
            tta: average over the eight symmetries of the square, which is eight times slower; or the views to average
                over. Members of an ensemble with their own views keep these.
            tile: images with a longer side, in pixels of the network's input, are predicted in tiles.
            scale: resize images by this factor before prediction; cells are returned in pixels of the original image,
                while the decoder's parameters refer to those of the resized image. 1 does not resize. By default, the
                factor is derived from the image's pixel size if both the image and the card's ``cell_sizes`` have one,
                and otherwise from a first pass, see :mod:`cytotome.inference.scale`.
            diameter: typical diameter of the cells in pixels, instead of ``scale``.
            watch: called after each tile with the number of finished tiles and of all tiles; an exception stops the
                processing of the image.
            **parameters: override the calibrated parameters of the decoder, or those of an ensemble's fusion.

        Returns:
            The instances of the image; for several images, a list with the instances of each.

        Raises:
            ImageError: if an image cannot be read or used.
            ConfigError: if a parameter is unknown or out of range; all errors are listed.
        """
        options = {"tta": tta, "tile": tile, "scale": scale, "diameter": diameter, "watch": watch, **parameters}
        if not is_one(images):
            return list(self.segment_many(images, **options))  # type: ignore[arg-type]
        found = self.predict(images, **options)  # type: ignore[arg-type]
        return self._tell(found.image, found.instances)

    def segment_many(self, images: Iterable[ImageLike], **options: Any) -> Iterator[Instances]:
        """Yields the cells of each image of a stream, in order; options as in :meth:`segment`.

        Only a few images are read ahead, so memory does not grow with their number.

        Raises:
            CytotomeError: when an image that cannot be used is reached; the stream ends there.
        """
        outcomes = self._stream_images(images, self._tell, options)
        return (outcome.result() for outcome in outcomes)

    def process_many(
        self, images: Iterable[ImageLike], then: Callable[[Image, Instances], Result], **options: Any
    ) -> Iterator[Result | CytotomeError]:
        """Yields ``then(image, cells)`` for each image of a stream, in order, or the error of the image.

        Args:
            images: paths are read in the threads.
            then: processes a result, such as writing files; called from several threads.
            **options: as in :meth:`segment`, and ``workers``, the number of threads.

        Raises:
            ConfigError: immediately, if a parameter is unknown or out of range.
        """
        outcomes = self._stream_images(images, then, options)
        return (one.value if isinstance(one.value, CytotomeError) else one.result() for one in outcomes)

    def predict(
        self,
        image: ImageLike,
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
        keep_outputs: bool = False,
        watch: TileWatch | None = None,
        **parameters: Any,
    ) -> Prediction:
        """Predicts the cells of one image and, with ``keep_outputs``, the network's outputs from which they were
        decoded.

        Other options and errors as in :meth:`segment`.
        """
        how = Pass(tta, tile, CellScale(scale, diameter), keep_outputs, watch)
        return self._predictions([to_image(image)], self.finder(how, **parameters), how.size)[0]

    def segment_stream(
        self,
        jobs: Iterable[JobKind],
        then: Callable[[JobKind, Prediction], Result],
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
        keep_outputs: bool = False,
        watch: TileWatch | None = None,
        workers: int | None = None,
        **parameters: Any,
    ) -> Iterator[Outcome[JobKind, Result]]:
        """Yields the outcomes of a stream of jobs, in order: the result of ``then(job, prediction)``, or the error.

        Each job is read, predicted, decoded and passed to ``then`` in one of several threads, in parallel with others;
        an error only affects its own image. Memory does not grow with the number of jobs.

        Args:
            jobs: objects with a method ``read()`` that returns an :class:`Image`; only a few are taken ahead.
            then: processes a result, such as writing files; called from several threads.
            keep_outputs: whether predictions include the network's outputs.
            workers: number of threads.

        Raises:
            ConfigError: immediately, if a parameter is unknown or out of range.
        """
        how = Pass(tta, tile, CellScale(scale, diameter), keep_outputs, watch)
        find = self.finder(how, **parameters)

        def predict(images: Sequence[Image]) -> list[Prediction]:
            return self._predictions(images, find, how.size)

        return stream_jobs(jobs, predict, then, self.device, workers=workers)

    def _stream_images(
        self, images: Iterable[ImageLike], then: Callable[[Image, Instances], Result], options: dict[str, Any]
    ) -> Iterator[Outcome[ImageJob, Result]]:
        jobs = map(ImageJob, several(images))
        return self.segment_stream(jobs, lambda job, found: then(found.image, found.instances), **options)

    def _predictions(self, images: Sequence[Image], find: Finder, size: CellScale) -> list[Prediction]:
        """Returns one prediction per image, after a second pass if the first finds cells of another size."""
        scales = [size.known(image, self.cell_sizes) for image in images]
        views = [resized_image(image, scale or 1.0) for image, scale in zip(images, scales, strict=True)]
        first = find(views, [image.shape for image in images])
        return [
            self._in_pixels_of(image, found if scale is not None else self._second_pass(image, found, find))
            for image, scale, found in zip(images, scales, first, strict=True)
        ]

    def _second_pass(self, image: Image, first: Prediction, find: Finder) -> Prediction:
        """Returns the prediction of the first pass, or one for the image resized by the estimate of the first pass."""
        if self.cell_sizes is None:
            return first

        def again(view: Image) -> Prediction:
            return find([view], [image.shape])[0]

        factor = estimate_scale(first.instances, image, self.cell_sizes, lambda view: again(view).instances)
        return first if factor == 1 else again(resized_image(image, factor))

    def _in_pixels_of(self, image: Image, found: Prediction) -> Prediction:
        return Prediction(image, resized_instances(found.instances, image.shape), found.outputs)

    @cached_property
    def _tell(self) -> Teller:
        return Teller(self.note)
