"""Building an ensemble from methods: predictions of its members on held-out images, and its file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cytotome.ensemble.file import EnsembleFile, Member
from cytotome.families import get_family
from cytotome.models.card import inherited
from cytotome.models.file import read_model
from cytotome.models.registry import bundled_models, find_model
from cytotome.tuning.held_out import CachedOutputs, Method
from cytotome.types import Sample

LOW_SCORE = 0.02
"""Minimum score of the members' instances; the ensemble's own limit applies after fusion."""


def tuning_parts(samples: Sequence[Sample], folds: Sequence[int]) -> list[int]:
    """Assigns each image to one of at most five parts, which are used together for tuning or scoring.

    The parts are the folds; if there is only one fold, its groups are distributed.
    """
    groups: Sequence[object] = folds
    if len(set(folds)) < 2:
        groups = [sample.info.split_key for sample in samples]
    order = {group: number % 5 for number, group in enumerate(dict.fromkeys(groups))}
    return [order[group] for group in groups]


def member_instances(predictions: Sequence[tuple[CachedOutputs, list[Any]]], folds: Sequence[int]) -> list[list[Any]]:
    """Returns, for each image, the instances of each method, including those with low scores."""
    found: list[list[Any]] = [[] for _ in folds]
    for method, outputs in predictions:
        for place, (fold, output) in enumerate(zip(folds, outputs, strict=True)):
            model = method.model_of(fold)
            least = min(LOW_SCORE, float(model.parameters.min_score))
            found[place].append(model.decode(output, min_score=least))
    return found


def ensemble_of(
    methods: Sequence[Method], tuned: EnsembleFile, scores: dict[str, float], output: Path, *, tta: bool
) -> EnsembleFile:
    """Builds the tuned ensemble with all models of the methods; the folds of a method share its weight.

    Models of several folds whose maps can be averaged form a group.

    Args:
        methods: one for each member of ``tuned``.
        tuned: their tuned fusion.
        scores: scores for the card.
        output: path of the file; the members' paths are relative to it.
        tta: whether the members average over symmetries.
    """
    members: list[Member] = []
    cards = []
    for method, like in zip(methods, tuned.members, strict=True):
        files = [read_model(find_model(model.path)) for model in method.models]
        cards += [file.card for file in files]
        grouped = len(files) > 1 and not get_family(files[0].family).outputs(files[0].config).why_no_mean()
        for model, file in zip(method.models, files, strict=True):
            least = min(LOW_SCORE, float(file.parameters.min_score))
            members.append(
                Member(
                    model=_relative(model.path, output),
                    digest=file.digest,
                    weight=1.0 if grouped else 1.0 / len(files),
                    group=method.name if grouped else "",
                    tta=tta,
                    parameters={"min_score": least},
                    curve=like.curve,
                )
            )
    own = {
        "name": output.stem,
        "summary": f"ensemble of {', '.join(method.name for method in methods)}",
        "scores": scores,
    }
    card = inherited(cards).model_copy(update=own)
    return tuned.model_copy(update={"members": tuple(members), "card": card})


def _relative(path: str, output: Path) -> str:
    if path in bundled_models():
        return path
    return Path(os.path.relpath(find_model(path).resolve(), output.resolve().parent)).as_posix()
