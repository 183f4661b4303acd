"""Origin of a run: the content of its data, and what its model inherits from data, initial model and pseudo-labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cytotome.data.sampling import Source
from cytotome.datasets.combine import CombinedDataset
from cytotome.models.card import Card, TrainedOn, inherited
from cytotome.pseudolabels.dataset import label_card
from cytotome.types import Dataset, Subset


@dataclass(frozen=True)
class Identity:
    """Everything that determines the result of a run; a run is only resumed if it is the same.

    Attributes:
        recipe: a hash of the recipe's fields that determine the result.
        start: hash of the initial model, empty if there is none, or it no longer exists.
        data: a hash of each sample, by ``dataset/id``, in order.
    """

    recipe: str
    start: str
    data: Mapping[str, str]

    def changes(self, before: Mapping[str, Any]) -> list[str]:
        """Describes what has changed since; ``before`` has the fields of an identity."""
        found = ["the recipe"] if before["recipe"] != self.recipe else []
        if self.start and before["start"] != self.start:
            found.append("the model that training starts from")
        then: Mapping[str, str] = before["data"]
        both = [name for name in self.data if name in then]
        named = {
            "changed": [name for name in both if self.data[name] != then[name]],
            "new": [name for name in self.data if name not in then],
            "missing": [name for name in then if name not in self.data],
        }
        counted = [f"{len(names)} {how}, first {names[0]}" for how, names in named.items() if names]
        if counted:
            found.append(f"images or labels ({'; '.join(counted)})")
        elif list(self.data) != list(then):
            found.append("the order of the images")
        return found


def data_digests(sources: Sequence[Source], others: Sequence[tuple[Dataset, int]]) -> dict[str, str]:
    """Returns a hash of each sample that a run uses, by name; ``others`` are used for other purposes than training."""
    places = [(source.dataset, i) for source in sources for i in range(len(source.dataset))]
    digests: dict[str, str] = {}
    for dataset, i in (*places, *others):
        info = dataset.infos[i]
        facts = f"{dataset.digest(i)} {info.cell_type} {info.mask_quality} {dataset.class_names}"
        name = f"{dataset.name}/{info.id}"
        digests[name] = hashlib.sha256(f"{digests.get(name, '')} {facts}".encode()).hexdigest()
    return digests


def data_card(dataset: Dataset, fold: int | None) -> Card:
    """Returns what a model inherits from a dataset that it is trained on.

    Args:
        dataset: the dataset; a combined one also counts as each of its parts.
        fold: held-out fold; None for none.
    """
    held_out = () if fold is None else (fold,)
    own = Card(trained_on={dataset.name: TrainedOn(held_out=held_out)}, licence=dataset.licence)
    cards = [own]
    for part in _parts(dataset):
        if part.name != dataset.name:
            # Folds that are distributed over the whole dataset are not those of the part.
            folds = held_out if any(info.fold is not None for info in part.infos) else ()
            cards.append(Card(trained_on={part.name: TrainedOn(held_out=folds)}))
        cards.append(label_card(part))
    return inherited(cards)


def _parts(dataset: Dataset) -> Iterator[Dataset]:
    if isinstance(dataset, Subset):
        yield from _parts(dataset.parent)
    elif isinstance(dataset, CombinedDataset):
        for part in dataset.datasets:
            yield from _parts(part)
    else:
        yield dataset
