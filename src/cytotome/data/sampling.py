"""Sampling of an endless, reproducible sequence of training crops from datasets.

Crop ``index`` only depends on the seed and on ``index``, not on the number of workers or on where training was resumed.
It is part of batch ``index // batch``.
"""

from __future__ import annotations

import itertools
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler, get_worker_info
from torch.utils.data import Dataset as TorchDataset
from typing_extensions import override

from cytotome.contract import PER_INSTANCE, FamilyConfig, Stream
from cytotome.data.augment import (
    Augmentation,
    Picture,
    change_grey_levels,
    draw_matrix,
    make_picture,
    paste_cells,
    warp,
)
from cytotome.data.normalise import Normalisation, normalise
from cytotome.data.sharing import PREFETCH, bytes_in_flight, free_bytes, share, start_method, why_not_sendable
from cytotome.data.strong import StrongChange
from cytotome.errors import TrainingError
from cytotome.ops.cell_types import with_classes
from cytotome.types import AnyArray, Dataset, Instances

WEAK = "weak"
"""Key of the weakly augmented crop for a mean teacher."""
BETWEEN_STEPS = "crops are made between the steps instead, which is slower"

Targets: TypeAlias = Callable[[Instances, Any], dict[str, AnyArray]]
Crop: TypeAlias = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A dataset and how it is sampled.

    Attributes:
        dataset: read on demand; images of mask quality ``none`` belong to the unlabelled stream.
        weight: share of crops, relative to the other sources.
        scale: factor by which its images are enlarged, if its cells have another size than those of the model.
        offset: shift in pixels, down and right, of its cells against their masks.
    """

    dataset: Dataset
    weight: float = 1.0
    scale: float = 1.0
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class CropSettings:
    """Settings of the sampling of crops.

    Attributes:
        size: height and width of a crop in pixels of the network's input.
        batch: number of crops per batch.
        seed: random seed.
        cell_bias: probability that a crop is placed over a cell.
        balance: 1 to sample each cell type of a source equally often, 0 for each image.
        sized: probability that an image is first scaled such that its median cell has the config's ``cell_size``.
        sized_scale: minimum and maximum enlargement of such a crop, instead of the augmentation's ``scale``.
        streams: kinds of samples in a batch, alternating.
        cache_megabytes: memory for cached images in each worker, in megabytes.
    """

    size: tuple[int, int] = (384, 384)
    batch: int = 8
    seed: int = 0
    cell_bias: float = 0.7
    balance: float = 1.0
    sized: float = 0.0
    sized_scale: tuple[float, float] = (0.8, 1.25)
    streams: tuple[Stream, ...] = ("labelled",)
    cache_megabytes: float = 1024.0


@dataclass
class Crops(TorchDataset[Crop]):
    """Training crops by index: image, targets, ``valid``, ``labelled`` and ``cell_type`` (see contract.Batch).

    Attributes:
        sources: datasets with their weights.
        targets: the family's ``targets``; a target with the name of one of these keys replaces it.
        config: the family's config; class names of the datasets are matched to its own by name.
        normalisation: as stored in the model file.
        augmentation: random changes and their probabilities.
        settings: size, batch, seed, balance.
        strong: changes of unlabelled crops; :data:`WEAK` is then the crop without them. None to treat them like others.

    Raises:
        TrainingError: if a stream has no samples.
    """

    sources: Sequence[Source]
    targets: Targets
    config: FamilyConfig
    normalisation: Normalisation = field(default_factory=Normalisation)
    augmentation: Augmentation = field(default_factory=Augmentation)
    settings: CropSettings = field(default_factory=CropSettings)
    strong: StrongChange | None = None

    def __post_init__(self) -> None:
        self._sized = self.augmentation.model_copy(update={"scale": self.settings.sized_scale})
        self._cache = PictureCache(int(self.settings.cache_megabytes * 1e6))
        self._draws = {
            stream: _draw_table(self.sources, stream, self.settings.balance) for stream in self.settings.streams
        }

    def __getitem__(self, index: int) -> Crop:
        rng = np.random.default_rng([self.settings.seed, index])
        streams = self.settings.streams
        stream = streams[index % self.settings.batch % len(streams)]
        places, probabilities = self._draws[stream]
        place = places[int(np.searchsorted(probabilities, rng.random(), side="right"))]
        picture = self._crop(rng, place)
        if stream == "labelled" and rng.random() < self.augmentation.paste:
            picture = self._paste(rng, place, picture)
        strong = self.strong if stream == "unlabelled" else None
        if strong is None:
            pixels = change_grey_levels(rng, self.augmentation, picture.pixels)
        else:
            pixels = strong(rng, picture.pixels)
        crop = self._tensors(pixels, picture, stream == "labelled", self._cell_type(place))
        if self.strong is not None:
            crop[WEAK] = crop["image"] if strong is None else _to_tensor(picture.pixels)
        return crop

    def picture(self, place: tuple[int, int]) -> Picture:
        """The normalised image and instances of sample ``(source, position)``, from the cache if possible."""
        return self._cache.get(place, lambda: self._read(place))

    def _read(self, place: tuple[int, int]) -> Picture:
        source = self.sources[place[0]]
        sample = source.dataset[place[1]]
        planes = normalise(sample.image, self.normalisation, self.config.channels)
        instances = sample.instances
        if instances is not None:
            instances = with_classes(instances, self.config.class_names)
        return make_picture(planes, instances, sample.ignore, source.offset)

    def _crop(self, rng: np.random.Generator, place: tuple[int, int]) -> Picture:
        picture = self.picture(place)
        scale, augmentation = self.config.input_scale * self.sources[place[0]].scale, self.augmentation
        if self.settings.sized and rng.random() < self.settings.sized:
            scale, augmentation = scale * self.config.size_factor(picture.like.areas, scale), self._sized
        matrix = draw_matrix(rng, augmentation, picture, self.settings.size, scale, self.settings.cell_bias)
        return warp(picture, matrix, self.settings.size)

    def _paste(self, rng: np.random.Generator, place: tuple[int, int], picture: Picture) -> Picture:
        infos = self.sources[place[0]].dataset.infos
        kind = infos[place[1]].cell_type
        alike = [i for i, info in enumerate(infos) if info.cell_type == kind and info.is_scored]
        if not alike:
            return picture
        donor = self._crop(rng, (place[0], alike[int(rng.integers(len(alike)))]))
        return paste_cells(rng, picture, donor, self.augmentation.paste_count)

    def _cell_type(self, place: tuple[int, int]) -> int:
        names = self.config.class_names
        cell_type = self.sources[place[0]].dataset.infos[place[1]].cell_type
        if len(names) == 1:
            return 0
        return names.index(cell_type) if cell_type in names else -1

    def _tensors(self, pixels: AnyArray, picture: Picture, labelled: bool, cell_type: int) -> Crop:
        valid = np.ones(picture.shape, np.uint8) if picture.valid is None else picture.valid
        crop = {
            "image": _to_tensor(pixels),
            "valid": torch.from_numpy(valid[None].astype(np.float32)),
            "labelled": torch.tensor(labelled),
            "cell_type": torch.tensor(cell_type),
        }
        targets = self.targets(picture.instances(), self.config)
        return crop | {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in targets.items()}


def _to_tensor(pixels: AnyArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32))


class PictureCache:
    """The most recently used pictures, up to a number of bytes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self._pictures: OrderedDict[tuple[int, int], Picture] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    def get(self, key: tuple[int, int], read: Callable[[], Picture]) -> Picture:
        """Returns the picture of ``key``, reading it if it is not cached."""
        picture = self._pictures.get(key)
        if picture is not None:
            self._pictures.move_to_end(key)
            return picture
        picture = read()
        self._pictures[key] = picture
        self.held += picture.nbytes
        while self.held > self.capacity and len(self._pictures) > 1:
            self.held -= self._pictures.popitem(last=False)[1].nbytes
        return picture


def _draw_table(sources: Sequence[Source], stream: Stream, balance: float) -> tuple[list[tuple[int, int]], AnyArray]:
    """Positions of the samples of a stream and their cumulative probabilities."""
    places: list[tuple[int, int]] = []
    weights: list[float] = []
    for number, source in enumerate(sources):
        infos = source.dataset.infos
        chosen = [i for i, info in enumerate(infos) if info.is_labelled == (stream == "labelled")]
        counts: dict[str, int] = {}
        for i in chosen:
            counts[infos[i].cell_type] = counts.get(infos[i].cell_type, 0) + 1
        raw = [counts[infos[i].cell_type] ** -balance for i in chosen]
        places += [(number, i) for i in chosen]
        weights += [source.weight * value / sum(raw) for value in raw]
    if not sum(weights) > 0:
        names = ", ".join(source.dataset.name for source in sources)
        raise TrainingError(f"no {stream} image in {names or 'no dataset'}; give a dataset that contains some")
    return places, np.cumsum(weights)[:-1] / sum(weights)


def collate(crops: Sequence[Crop]) -> Crop:
    """Collates a batch: tensors are stacked, those with one row per instance concatenated (see contract.Batch).

    Raises:
        TrainingError: in a worker process, if there is not enough shared memory for the batch.
    """
    ragged = [name for name in crops[0] if name.startswith(PER_INSTANCE)]
    batch = {name: torch.stack([crop[name] for crop in crops]) for name in crops[0] if name not in ragged}
    for name in ragged:
        batch[name] = torch.cat([crop[name] for crop in crops])
        batch["instances"] = torch.tensor([len(crop[name]) for crop in crops])
    return batch if get_worker_info() is None else share(batch)


@dataclass(frozen=True)
class _Numbers(Sampler[int]):
    """Endless sequence of the crops of each batch from ``first_batch`` on, or of one of several equal parts of them."""

    first_batch: int
    batch: int
    part: int
    parts: int

    def __iter__(self) -> Iterator[int]:
        length = self.batch // self.parts
        for number in itertools.count(self.first_batch):
            start = number * self.batch + self.part * length
            yield from range(start, start + length)


class CropLoader(DataLoader[Crop]):
    """Starts its workers while OpenCV has no threads, since a forked process would wait for threads that it did not
    inherit.
    """

    @override
    def __iter__(self) -> Any:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            return super().__iter__()
        finally:
            cv2.setNumThreads(threads)


def start_worker(_: int) -> None:
    """Uses one thread per worker, to leave the processors to the training."""
    torch.set_num_threads(1)


def why_no_workers(crops: Crops, first_batch: int, workers: int) -> str:
    """Returns why the crops cannot be made by this number of workers, in one line; empty if they can.

    Makes one batch to measure the size of batches.
    """
    if workers and (why := why_not_sendable(crops)):
        return f"{why}; {BETWEEN_STEPS}"
    free = free_bytes()
    if not workers or free is None:
        return ""
    first = first_batch * crops.settings.batch
    needed = bytes_in_flight(collate([crops[first + place] for place in range(crops.settings.batch)]), workers)
    if needed <= free:
        return ""
    return (
        f"sampling.workers={workers} needs {needed / 1e6:.0f} MB of shared memory and {free / 1e6:.0f} MB are free; "
        f"{BETWEEN_STEPS} (in a container: docker run "
        f"--shm-size={-(-needed // 10**9)}g)"
    )


def crop_loader(
    crops: Crops, *, first_batch: int = 0, workers: int = 1, pin: bool = False, part: int = 0, parts: int = 1
) -> CropLoader:
    """Endless batches from batch ``first_batch`` on.

    Args:
        crops: source of the batches.
        first_batch: number of the first batch.
        workers: number of processes that make crops; with 0, this process makes them.
        pin: put batches into page-locked memory, which a GPU reads faster.
        part, parts: number of this process, from 0, and number of processes that share each batch.
    """
    batch = crops.settings.batch
    return CropLoader(
        crops,
        batch_size=batch // parts,
        sampler=_Numbers(first_batch, batch, part, parts),
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=start_worker if workers else None,
        multiprocessing_context=start_method() if workers else None,
        pin_memory=pin,
        prefetch_factor=PREFETCH if workers else None,
        persistent_workers=False,
        generator=torch.Generator().manual_seed(random.Random(crops.settings.seed).getrandbits(32)),
    )
