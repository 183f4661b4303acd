"""What a model is and where it comes from, told to people."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from cytotome.models.cell_size import CellSizes
from cytotome.models.familiar import KnownTypes
from cytotome.models.look import Look, describe


class Card(BaseModel):
    """The origin and the merits of one model. Fields that a later version adds are passed over.

    Attributes:
        name: as in ``load_model(name)`` for a bundled model.
        summary: one line: which cells, which microscopy.
        data: the datasets it was trained on.
        licence: of the weights, with that of the data where it binds.
        folds: training and validation folds, in words; ``fold N`` stands there only for folds that were not trained on.
        scores: named figures, such as ``"challenge mAP, fold 0"``.
        command: the command that trains it again.
        date: when it was trained, ISO 8601.
        versions: of the libraries that trained it.
        cell_sizes: of the training images, None where they were not measured.
        cell_types: what the model finds in images of each type, None where it was not measured.
        look: the backgrounds of the training images, None where they were not measured.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    summary: str = ""
    data: tuple[str, ...] = ()
    licence: str = ""
    folds: str = ""
    scores: dict[str, float] = {}
    command: str = ""
    date: str = ""
    versions: dict[str, str] = {}
    cell_sizes: CellSizes | None = None
    cell_types: KnownTypes | None = None
    look: Look | None = None

    def may_have_seen(self, dataset: str, fold: int | None) -> bool:
        """Whether the model, or one that it started from, was trained on images of a fold of a dataset.

        Args:
            dataset: its name.
            fold: None for any fold.
        """
        unseen = {int(number) for number in re.findall(r"\bfold (\d+)", self.folds)}
        return dataset in self.data and (fold is None or unseen != {fold})

    def text(self) -> str:
        """The filled fields, one to a line, with their names before them."""
        rows = {
            "name": self.name,
            "summary": self.summary,
            "data": ", ".join(self.data),
            "licence": self.licence,
            "folds": self.folds,
            "cells": self.cell_sizes.text() if self.cell_sizes else "",
            "images": describe((self.look.least + self.look.greatest) / 2) if self.look else "",
            "scores": ", ".join(f"{name} {score:.4g}" for name, score in self.scores.items()),
            "command": self.command,
            "date": self.date,
            "versions": ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        }
        return "\n".join(f"{name:<10}{value}" for name, value in rows.items() if value)
