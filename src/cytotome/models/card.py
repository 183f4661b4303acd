"""What a model is and where it comes from: facts as data, rendered for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from cytotome.models.cell_size import CellSizes
from cytotome.models.familiar import KnownTypes
from cytotome.models.look import Look, describe


class TrainedOn(BaseModel):
    """How a model knows one dataset.

    Attributes:
        held_out: validation folds that neither the model nor any of its ancestors was trained on.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    held_out: tuple[int, ...] = ()


class Card(BaseModel):
    """The origin and the merits of one model. Fields that a later version adds are ignored.

    Attributes:
        name: as in ``load_model(name)`` for a bundled model.
        summary: one line: which cells, which microscopy.
        trained_on: by name of the dataset, all that the model and its ancestors were trained on.
        licence: of the weights, with those of the data and of the ancestors where they bind, ``;`` between them.
        scores: named figures, such as ``"challenge mAP, fold 0"``.
        notes: further remarks for people; nothing is decided by them.
        command: the command that trains it again.
        date: when it was trained, ISO 8601.
        versions: of the libraries that trained it.
        cell_sizes: of the training images, None if they were not measured.
        cell_types: what the model finds in images of each type, None if it was not measured.
        look: the backgrounds of the training images, None if they were not measured.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    summary: str = ""
    trained_on: dict[str, TrainedOn] = {}
    licence: str = ""
    scores: dict[str, float] = {}
    notes: str = ""
    command: str = ""
    date: str = ""
    versions: dict[str, str] = {}
    cell_sizes: CellSizes | None = None
    cell_types: KnownTypes | None = None
    look: Look | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, content: Any) -> Any:
        return _with_facts(content) if isinstance(content, Mapping) and "trained_on" not in content else content

    def may_have_seen(self, dataset: str, fold: int | None) -> bool:
        """Whether the model or one of its ancestors was trained on images of a fold of a dataset.

        Args:
            dataset: its name.
            fold: None for any fold.
        """
        known = self.trained_on.get(dataset)
        return known is not None and (fold is None or fold not in known.held_out)

    def describe_training(self, dataset: str) -> str:
        """The dataset's name, and the folds of it that the model has not seen."""
        folds = self.trained_on[dataset].held_out if dataset in self.trained_on else ()
        listed = ", ".join(map(str, folds))
        return f"{dataset} (all but fold{'s' if len(folds) > 1 else ''} {listed})" if folds else dataset

    def text(self) -> str:
        """The filled fields, one per line, each after its name."""
        rows = {
            "name": self.name,
            "summary": self.summary,
            "data": ", ".join(self.describe_training(name) for name in self.trained_on),
            "licence": self.licence,
            "cells": self.cell_sizes.text() if self.cell_sizes else "",
            "images": describe((self.look.least + self.look.greatest) / 2) if self.look else "",
            "scores": ", ".join(f"{name} {score:.4g}" for name, score in self.scores.items()),
            "notes": self.notes,
            "command": self.command,
            "date": self.date,
            "versions": ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        }
        return "\n".join(f"{name:<10}{value}" for name, value in rows.items() if value)


def inherited(cards: Iterable[Card]) -> Card:
    """What a model takes over from all that it is made of: its own data, the model it starts from, teachers, members.

    The datasets are united; a fold counts as held out only where every card that knows the dataset holds it out. The
    licences are united too. All other fields are empty.
    """
    trained_on: dict[str, TrainedOn] = {}
    licences: dict[str, None] = {}
    for card in cards:
        for name, one in card.trained_on.items():
            before = trained_on.get(name, one).held_out
            trained_on[name] = TrainedOn(held_out=tuple(fold for fold in before if fold in one.held_out))
        licences |= dict.fromkeys(part for part in card.licence.split("; ") if part)
    return Card(trained_on=trained_on, licence="; ".join(licences))


_OLD_HELD_OUT = re.compile(r"(?:validated on|trained on all but) fold (\d+)\b")


def _with_facts(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a card written before ``trained_on``, which had the names ``data`` and the sentence ``folds``.

    The sentence joined the words of the model and of its ancestors, and did not say whose fold it meant. So a fold
    counts as held out only where all of them hold it out, and only of the first dataset, which the model was made for.
    """
    facts = dict(content)
    names, sentence = facts.pop("data", ()), facts.pop("folds", "")
    parts = [part.strip() for part in sentence.split(";")] if isinstance(sentence, str) else []
    training = [part for part in parts if re.search(r"\b(?:trained|validated)\b", part)]
    folds = {int(found.group(1)) if (found := _OLD_HELD_OUT.match(part)) else None for part in training}
    held_out = [] if None in folds or len(folds) != 1 else list(folds)
    if isinstance(names, (list, tuple)):
        facts["trained_on"] = {name: {"held_out": [] if position else held_out} for position, name in enumerate(names)}
    notes = [part for part in parts if part and not _OLD_HELD_OUT.match(part) and part != "trained on all images"]
    if notes and "notes" not in facts:
        facts["notes"] = "; ".join(notes)
    return facts
