"""The values that travel through the package: Image, Instances, Sample, Dataset, DenseMaps, OutputSpec."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from cytotome.arrays import AnyArray as AnyArray
from cytotome.arrays import BoolArray as BoolArray
from cytotome.arrays import FloatArray as FloatArray
from cytotome.arrays import IntArray as IntArray
from cytotome.errors import CytotomeError, DataError, ImageError, one_line
from cytotome.instances import Instances as Instances
from cytotome.soft import SoftMasks as SoftMasks

DenseMaps: TypeAlias = Mapping[str, FloatArray]
"""Named network outputs of one image, each ``(C, H, W)`` float32."""

UNKNOWN = "unknown"
"""Written to tables and cards for cells of no known type."""

MapKind = Literal["scalar", "vector", "embedding"]
MaskQuality = Literal["full", "approximate", "none"]

IMAGE_DTYPES = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One image as it was read.

    Attributes:
        pixels: ``(H, W)`` or ``(H, W, C)``, uint8, uint16 or float32, intensities as in the file.
        microns_per_pixel: edge of a pixel in microns, None if the file does not say.
        source: path or name, used in messages.
        notes: what a user should know of the file though it can be read, each one line.

    Raises:
        ImageError: for another rank or type, an empty image or a resolution that is not positive.
    """

    pixels: AnyArray
    microns_per_pixel: float | None = None
    source: str = "image"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim not in (2, 3) or pixels.dtype not in IMAGE_DTYPES:
            raise ImageError(
                f"{self.source}: expected (H, W) or (H, W, C) of uint8, uint16 or float32, "
                f"got {pixels.shape} of {pixels.dtype}; convert it first"
            )
        if pixels.size == 0:
            raise ImageError(f"{self.source}: the image is empty, shape {pixels.shape}; remove it or export it again")
        if self.microns_per_pixel is not None and not self.microns_per_pixel > 0:
            raise ImageError(f"{self.source}: microns_per_pixel must be positive, got {self.microns_per_pixel}")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def __repr__(self) -> str:
        size = "x".join(map(str, self.pixels.shape))
        scale = "" if self.microns_per_pixel is None else f", {self.microns_per_pixel:g} microns per pixel"
        return f"Image({size} {self.pixels.dtype}{scale}, {self.source!r})"

    def _repr_png_(self) -> bytes | None:
        """The image with stretched contrast, for notebooks; None for one too large to be shown."""
        return _shown(self, None)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Says what one dense map is and how it behaves under flips, rotations and averaging.

    Attributes:
        name: key of the map in :data:`DenseMaps`.
        channels: its number of channels; for ``vector`` 2, in the order y, x.
        kind: ``scalar`` maps move with the image and may be averaged; ``vector`` components are swapped and negated
            too; ``embedding`` maps move but are never averaged.
        top: largest value that a map of one channel can have, for pictures.
    """

    name: str
    channels: int
    kind: MapKind = "scalar"
    top: float = 1.0


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """What is known of a sample before its pixels are read.

    Attributes:
        id: unique within its dataset.
        cell_type: name of the cell type of the image, empty if unknown.
        group: images of one group are never split between training and validation (same well, same patient).
        fold: validation fold, -1 for an image that is only trained on, None if the dataset has no folds.
        mask_quality: ``full``, ``approximate`` (train on it, never evaluate on it) or ``none`` (unlabelled).
    """

    id: str
    cell_type: str = ""
    group: str = ""
    fold: int | None = None
    mask_quality: MaskQuality = "full"

    @property
    def split_key(self) -> str:
        """What is never split between training and validation: the group, or the sample itself where it has none."""
        return self.group or self.id

    @property
    def is_labelled(self) -> bool:
        """Whether there are masks to train on, exact or approximate."""
        return self.mask_quality != "none"

    @property
    def is_scored(self) -> bool:
        """Whether the masks are exact, so that predictions may be scored by them."""
        return self.mask_quality == "full"


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image with its instances (None if unlabelled) and what is known of it.

    ``ignore`` is ``(H, W)`` bool or None: pixels that add nothing to any loss.
    """

    info: SampleInfo
    image: Image
    instances: Instances | None = None
    ignore: BoolArray | None = field(default=None)

    def __repr__(self) -> str:
        kind = f", {self.info.cell_type}" if self.info.cell_type else ""
        return f"Sample({self.info.id!r}{kind}, {self.image!r}, {self.instances!r})"

    def _repr_png_(self) -> bytes | None:
        """The image with the outlines of the cells, for notebooks; None for one too large to be shown."""
        return _shown(self.image, self.instances)


def _shown(image: Image, instances: Instances | None) -> bytes | None:
    from cytotome.ops.pictures import encode_png, fits_notebook, picture_of_image

    return encode_png(*picture_of_image(image.pixels, instances)) if fits_notebook(image.shape) else None


@dataclass(frozen=True, slots=True)
class Note:
    """What a user should know of a dataset: parts that no sample is made of, or that were not taken as they stand.

    Attributes:
        what: what they are, and what was made of them.
        names: of each of them.
        remedy: what can be done about it, empty if nothing has to be.
    """

    what: str
    names: tuple[str, ...]
    remedy: str = ""

    def text(self, most: int | None = 3) -> str:
        """One line, with the first ``most`` names; all of them where None."""
        more = ", ..." if most is not None and len(self.names) > most else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.what} ({len(self.names)}): {', '.join(self.names[:most])}{more}{remedy}"

    __str__ = text


class Dataset(Sequence[Sample]):
    """Samples read one at a time, on demand: a subclass sets ``infos`` and defines :meth:`read`.

    Attributes:
        name: that of the class where a subclass sets none.
        class_names: of the instances.
        infos: what is known of each sample; costs no pixel.
        licence: of the images and masks, empty if it is not known.
        notes: what was not used, and what was read otherwise than it is in the files.
    """

    name: str
    class_names: tuple[str, ...] = ("cell",)
    infos: tuple[SampleInfo, ...]
    licence: str = ""
    notes: tuple[Note, ...] = ()

    if not TYPE_CHECKING:

        def __getattr__(self, attribute: str) -> Any:
            """What a subclass has not set."""
            if attribute == "name":
                return type(self).__name__
            if attribute == "infos":
                raise DataError(f"{self.name}: infos is not set; set it to a tuple with one SampleInfo per sample")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")

    def read(self, index: int) -> Sample:
        """Reads one sample from its files; engines index the dataset instead, so that errors name the sample."""
        raise TypeError(f"{type(self).__name__} must define read(index)")

    def instances(self, index: int) -> Instances | None:
        """The truth of one sample, None if unlabelled; a dataset that can reads no pixel for it."""
        return self[index].instances

    def digest(self, index: int) -> str:
        """A hash of the content of one sample, image and truth; a dataset that can decodes nothing for it."""
        sample = self[index]
        arrays: list[AnyArray] = [sample.image.pixels]
        if sample.instances is not None:
            arrays += [sample.instances.runs, sample.instances.offsets, sample.instances.classes]
        if sample.ignore is not None:
            arrays.append(sample.ignore)
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.infos)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)} images, classes {'/'.join(self.class_names)})"

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Subset: ...

    def __getitem__(self, index: int | slice) -> Sample | Subset:
        if isinstance(index, slice):
            return Subset(self, range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._read(index % len(self))

    def __iter__(self) -> Iterator[Sample]:
        return (self._read(index) for index in range(len(self)))

    def _read(self, index: int) -> Sample:
        """:meth:`read`, whose own errors are reported with the sample that they are of."""
        which = f"{self.name}: sample {index} ({self.infos[index].id})"
        try:
            sample = self.read(index)
        except CytotomeError:
            raise
        except Exception as error:
            raise DataError(f"{which} cannot be read ({one_line(error)}); check its read") from error
        if not isinstance(sample, Sample):
            raise DataError(f"{which}: read must return a Sample, got {type(sample).__name__}")
        return sample

    def subset(self, indices: Sequence[int]) -> Subset:
        """The samples at these positions, read as lazily as before."""
        return Subset(self, indices)


class Subset(Dataset):
    """Some samples of a dataset, in a given order."""

    def __init__(self, parent: Dataset, indices: Sequence[int]) -> None:
        self.parent = parent
        self.indices = tuple(indices)
        self.name = parent.name
        self.licence = parent.licence
        self.class_names = parent.class_names
        self.notes = parent.notes
        self.infos = tuple(parent.infos[index] for index in self.indices)

    def read(self, index: int) -> Sample:
        """The parent's sample."""
        return self.parent[self.indices[index]]

    def instances(self, index: int) -> Instances | None:
        """The parent's instances."""
        return self.parent.instances(self.indices[index])

    def digest(self, index: int) -> str:
        """The parent's hash."""
        return self.parent.digest(self.indices[index])
