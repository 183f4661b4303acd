"""The card of a model: its origin and scores as data, rendered for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from cytotome.models.cell_size import CellSizes
from cytotome.models.familiar import KnownTypes
from cytotome.models.look import Look, describe


class TrainedOn(BaseModel):
    """How a model used one dataset.

    Attributes:
        held_out: validation folds that neither the model nor any of its ancestors was trained on.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    held_out: tuple[int, ...] = ()


class Card(BaseModel):
    """The origin and the scores of one model. Fields added by later versions are ignored.

    Attributes:
        name: name for ``load_model(name)`` of a bundled model.
        summary: one line on the cells and the microscopy.
        trained_on: by name, all datasets that the model and its ancestors were trained on.
        licence: licence of the weights, with those of the data and of the ancestors if they apply, separated by ``;``.
        scores: named scores, such as ``"challenge mAP, fold 0"``.
        notes: further remarks for people; they have no effect.
        command: command to train it again.
        date: date of training, ISO 8601.
        versions: versions of the libraries it was trained with.
        cell_sizes: cell sizes in the training images, None if not measured.
        cell_types: statistics of what the model finds in images of each type, None if not measured.
        look: the look of the training images, None if not measured.
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
            dataset: name of the dataset.
            fold: None for any fold.
        """
        known = self.trained_on.get(dataset)
        return known is not None and (fold is None or fold not in known.held_out)

    def describe_training(self, dataset: str) -> str:
        """Returns the dataset's name, and its folds that the model has not seen."""
        folds = self.trained_on[dataset].held_out if dataset in self.trained_on else ()
        listed = ", ".join(map(str, folds))
        return f"{dataset} (all but fold{'s' if len(folds) > 1 else ''} {listed})" if folds else dataset

    def text(self) -> str:
        """Formats the non-empty fields, one per line, each after its name."""
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
    """Combines the cards of everything a model is made of: its data, initial model, teachers, members.

    Datasets are merged; a fold counts as held out only if every card with the dataset holds it out. Licences are merged
    too. All other fields are empty.
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
    """Converts a card from before ``trained_on``, which had the names ``data`` and the sentence ``folds``.

    The sentence joined those of the model and its ancestors, without the dataset of each fold. So a fold counts as held
    out only if all of them hold it out, and only for the first dataset, for which the model was made.
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
