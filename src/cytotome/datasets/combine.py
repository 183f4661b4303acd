"""Combination of several datasets into one, with one list of class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cytotome.errors import ConfigError, DataError
from cytotome.types import Dataset, Instances, Sample, SampleInfo


class CombinedDataset(Dataset):
    """The concatenated samples of several datasets.

    Ids are kept if they are unique; otherwise all are prefixed with the dataset's name (and its number, if names are
    equal too). Groups of different datasets are always different.

    Args:
        datasets: one or more.
        class_map: new names of classes and cell types; others are kept.
        class_names: order of the classes; by default, the order of first appearance. Other classes become -1.
        name: name of the combined dataset.

    Raises:
        DataError: if no dataset is given.
        ConfigError: if ``class_map`` contains a class that no dataset has.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        *,
        class_map: Mapping[str, str] | None = None,
        class_names: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        if not datasets:
            raise DataError("combine: no dataset given; name one or more")
        self.datasets = tuple(datasets)
        self.name = name or "+".join(part.name for part in self.datasets)
        self.notes = tuple(note for part in self.datasets for note in part.notes)
        self.licence = "; ".join(dict.fromkeys(part.licence for part in self.datasets if part.licence))
        self.class_map = dict(class_map or {})
        had = [label for part in self.datasets for label in part.class_names]
        unknown = [label for label in self.class_map if label not in had]
        if unknown:
            known = ", ".join(dict.fromkeys(had))
            raise ConfigError(f"class_map: no dataset has {', '.join(unknown)}; the classes are {known}")
        self.class_names = tuple(class_names or dict.fromkeys(self.class_map.get(label, label) for label in had))
        self._lookup = [self._positions(part.class_names) for part in self.datasets]
        self._where = [(number, i) for number, part in enumerate(self.datasets) for i in range(len(part))]
        prefixes = _prefixes(self.datasets)
        equal = len({self._info_of(where).id for where in self._where}) < len(self._where)
        self.infos = tuple(self._renamed(where, prefixes[where[0]], equal) for where in self._where)

    def _positions(self, names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        """New class of each old one, followed by -1, which is found by the index -1."""
        renamed = [self.class_map.get(name, name) for name in names]
        known = [self.class_names.index(name) if name in self.class_names else -1 for name in renamed]
        return np.array([*known, -1], np.int32)

    def _info_of(self, where: tuple[int, int]) -> SampleInfo:
        return self.datasets[where[0]].infos[where[1]]

    def _renamed(self, where: tuple[int, int], prefix: str, equal: bool) -> SampleInfo:
        info = self._info_of(where)
        return replace(
            info,
            id=f"{prefix}/{info.id}" if equal else info.id,
            cell_type=self.class_map.get(info.cell_type, info.cell_type),
            group=f"{prefix}/{info.split_key}",
        )

    def read(self, index: int) -> Sample:
        """One sample with its pixels."""
        number, position = self._where[index]
        sample = self.datasets[number][position]
        return replace(sample, info=self.infos[index], instances=self._mapped(sample.instances, number))

    def instances(self, index: int) -> Instances | None:
        """Returns the masks of one sample, without reading its pixels if its dataset can."""
        number, position = self._where[index]
        return self._mapped(self.datasets[number].instances(position), number)

    def digest(self, index: int) -> str:
        """Returns the hash of the sample in its own dataset."""
        number, position = self._where[index]
        return self.datasets[number].digest(position)

    def _mapped(self, instances: Instances | None, number: int) -> Instances | None:
        if instances is None:
            return None
        return replace(instances, classes=self._lookup[number][instances.classes], class_names=self.class_names)


def combine(
    datasets: Sequence[Dataset], *, class_map: Mapping[str, str] | None = None, class_names: Sequence[str] | None = None
) -> CombinedDataset:
    """Combines datasets; ``class_map={"SHSY5Y": "shsy5y"}`` merges LIVECell's cell line with Sartorius' cell type."""
    return CombinedDataset(datasets, class_map=class_map, class_names=class_names)


def _prefixes(datasets: Sequence[Dataset]) -> list[str]:
    names = [part.name for part in datasets]
    if len(set(names)) == len(names):
        return names
    return [f"{name}-{number}" for number, name in enumerate(names, start=1)]
