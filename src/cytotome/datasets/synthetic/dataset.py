"""The synthetic dataset: any number of images, generated on demand, identical on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cytotome.datasets.files import content_digest
from cytotome.datasets.sartorius import CELL_TYPES
from cytotome.datasets.synthetic.kinds import KINDS
from cytotome.datasets.synthetic.scene import render
from cytotome.errors import DataError
from cytotome.types import Dataset, Image, Sample, SampleInfo

FOLDS = 5


class SyntheticDataset(Dataset):
    """Phase-contrast images of neurons that look like the Sartorius challenge's three cell types.

    Image ``index`` only depends on ``seed``, ``index``, its cell type and ``shape``. Cell types alternate.

    Args:
        count: number of images.
        seed: random seed.
        cell_types: some of :data:`KINDS`.
        shape: ``(H, W)``; numbers of cells and debris are proportional to the area.

    Raises:
        DataError: if a cell type is unknown, the count or seed is negative, or a side is below 32 pixels.
    """

    def __init__(
        self,
        count: int,
        seed: int = 0,
        cell_types: Sequence[str] = CELL_TYPES,
        shape: tuple[int, int] = (520, 704),
    ) -> None:
        unknown = [name for name in cell_types if name not in KINDS]
        if unknown or not cell_types:
            named = ", ".join(unknown) or "none"
            raise DataError(f"synthetic: unknown cell type {named}; choose from {', '.join(KINDS)}")
        if count < 0 or seed < 0:
            raise DataError(f"synthetic: count and seed must not be negative, got {count} and {seed}")
        if min(shape) < 32:
            raise DataError(f"synthetic: images must be 32 pixels or more on either side, got {shape[0]}x{shape[1]}")
        self.name = "synthetic"
        self.seed = seed
        self.shape = (int(shape[0]), int(shape[1]))
        self.class_names = tuple(cell_types)
        self.infos = tuple(self._info(index) for index in range(count))

    def _info(self, index: int) -> SampleInfo:
        kinds = len(self.class_names)
        key = f"synthetic-{self.seed}-{index:04d}"
        return SampleInfo(key, self.class_names[index % kinds], key, index // kinds % FOLDS)

    def read(self, index: int) -> Sample:
        """Generates one image."""
        info = self.infos[index]
        random = np.random.default_rng([self.seed, index])
        pixels, instances = render(KINDS[info.cell_type], self.shape, random)
        classes = np.full(len(instances), self.class_names.index(info.cell_type), np.int32)
        named = replace(instances, classes=classes, class_names=self.class_names)
        return Sample(info, Image(pixels, source=info.id), named)

    def digest(self, index: int) -> str:
        """Returns a hash of everything that the image depends on."""
        info = self.infos[index]
        return content_digest(f"{self.seed} {index} {info.cell_type} {self.shape} {self.class_names}")
