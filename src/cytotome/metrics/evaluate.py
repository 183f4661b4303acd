"""All scores of a set of predictions: per image, per cell type and overall."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from cytotome.errors import DataError
from cytotome.metrics.aji import aggregated_jaccard_index
from cytotome.metrics.boundary import TOLERANCE, boundary_f
from cytotome.metrics.challenge import Rule, count_hits, precision_at
from cytotome.metrics.coco import CocoScores, coco_scores
from cytotome.metrics.panoptic import panoptic_quality
from cytotome.ops.matching import THRESHOLDS, Overlaps
from cytotome.types import Dataset, Instances, SampleInfo, Subset

if TYPE_CHECKING:
    import pandas as pd

OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one image, or their means over several images; each is in [0, 1].

    Attributes:
        mean_ap: the challenge's score, the mean of TP / (TP + FP + FN) over IoU 0.50, 0.55 ... 0.95.
        ap50: TP / (TP + FP + FN) at IoU 0.50.
        ap75: TP / (TP + FP + FN) at IoU 0.75.
        ap90: TP / (TP + FP + FN) at IoU 0.90.
        precision: TP / (TP + FP) at IoU 0.50.
        recall: TP / (TP + FN) at IoU 0.50.
        f1: 2 TP / (2 TP + FP + FN) at IoU 0.50.
        panoptic_quality: PQ at IoU 0.50.
        segmentation_quality: its factor SQ, the mean IoU of the matched pairs.
        aggregated_jaccard_index: AJI.
        boundary_f: F score of the outlines.
    """

    mean_ap: float
    ap50: float
    ap75: float
    ap90: float
    precision: float
    recall: float
    f1: float
    panoptic_quality: float
    segmentation_quality: float
    aggregated_jaccard_index: float
    boundary_f: float


COLUMNS: dict[str, str] = {
    "mean_ap": "mAP",
    "ap50": "AP.50",
    "ap75": "AP.75",
    "ap90": "AP.90",
    "precision": "prec.",
    "recall": "recall",
    "f1": "F1",
    "panoptic_quality": "PQ",
    "segmentation_quality": "SQ",
    "aggregated_jaccard_index": "AJI",
    "boundary_f": "bound.F",
}
"""Headers of the text table's columns, by the name of the score."""


@dataclass(frozen=True, slots=True)
class ImageScores:
    """One image: its id, cell type, numbers of true and predicted cells, and scores."""

    id: str
    cell_type: str
    truths: int
    predictions: int
    scores: Scores


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Several images: their number, total true and predicted cells, mean scores, and COCO's scores."""

    images: int
    truths: int
    predictions: int
    scores: Scores
    coco: tuple[CocoScores, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of :func:`evaluate`.

    Attributes:
        rule: how hits were counted, ``matching`` or ``kernel``.
        images: one entry per image, in the order of the truth.
        types: scores by cell type, in order of appearance; empty if no cell type is known.
        overall: scores of all images, each with the same weight.
        notes: what was left out, and why.
    """

    rule: Rule
    images: tuple[ImageScores, ...]
    types: Mapping[str, GroupScores]
    overall: GroupScores
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """The challenge's mAP over all images."""
        return self.overall.scores.mean_ap

    def to_dict(self) -> dict[str, object]:
        """Converts to plain dicts, lists, numbers and strings, for JSON; NaN becomes None."""
        whole: dict[str, object] = _plain(asdict(self))  # type: ignore[assignment]
        return whole

    def to_json(self) -> str:
        """Returns :meth:`to_dict` as indented JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_text(self) -> str:
        """Formats a table of the cell types and overall, COCO's scores and the notes as plain text."""
        groups = {**self.types, OVERALL: self.overall}
        width = max(len(name) for name in [*groups, "cell type"])
        lines = [
            f"{'cell type':<{width}}  images   cells   found  " + "  ".join(f"{head:>7}" for head in COLUMNS.values())
        ]
        for name, group in groups.items():
            values = "  ".join(f"{getattr(group.scores, column):>7.3f}" for column in COLUMNS)
            lines.append(f"{name:<{width}}  {group.images:>6}  {group.truths:>6}  {group.predictions:>6}  {values}")
        for coco in self.overall.coco:
            lines.append(
                f"COCO, at most {coco.max_detections} per image: AP {coco.ap:.3f}, AP.50 {coco.ap50:.3f}, "
                f"AP.75 {coco.ap75:.3f}, AR {coco.ar:.3f}; AP of small {coco.ap_small:.3f}, "
                f"medium {coco.ap_medium:.3f}, large {coco.ap_large:.3f}"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    __str__ = to_text

    def to_frame(self) -> pd.DataFrame:
        """Returns a data frame with one row per cell type and one overall: numbers of images and cells, and mean
        scores.
        """
        import pandas as pd

        groups = {**self.types, OVERALL: self.overall}
        rows = [
            {"images": group.images, "cells": group.truths, "found": group.predictions, **asdict(group.scores)}
            for group in groups.values()
        ]
        return pd.DataFrame(rows, index=pd.Index(list(groups), name="cell type"))

    def _repr_html_(self) -> str:
        """:meth:`to_frame` and the notes, for notebooks."""
        notes = "".join(f"<p>note: {escape(note)}</p>" for note in self.notes)
        table: str = self.to_frame().to_html(float_format="{:.3f}".format)
        return table + notes


def evaluate(
    predictions: Mapping[str, Instances],
    truths: Dataset | Mapping[str, Instances],
    *,
    rule: Rule = "matching",
    boundary_tolerance: float = TOLERANCE,
    coco: bool = True,
) -> Evaluation:
    """Scores predictions against the truth.

    Args:
        predictions: instances by image id. For images of the truth without an entry, no cells are predicted; entries
            that are not in the truth are left out. Both are noted.
        truths: a dataset, whose images with approximate or no masks are left out with a note, or instances by image id;
            the cell type of an image is then the majority class.
        rule: how hits are counted, see :func:`cytotome.metrics.challenge.count_hits`; it applies to the challenge's
            mAP, AP, precision, recall and F1.
        boundary_tolerance: tolerance of ``boundary_f`` in pixels.
        coco: also compute COCO AP and AR, with all cells as one class.

    Raises:
        DataError: if there is nothing to score, no prediction belongs to an image of the truth, or the size of an image
            differs from that of its prediction.
        ConfigError: if the rule is unknown.
    """
    infos, notes = _infos(truths)
    notes += _check_ids(predictions, [info.id for info in infos], truths)
    images: list[ImageScores] = []
    pairs: list[tuple[Instances, Instances]] = []
    for info, truth in _read(infos, truths):
        found = predictions[info.id] if info.id in predictions else Instances.empty(truth.shape)
        if found.shape != truth.shape:
            raise DataError(
                f"{info.id}: the prediction has shape {found.shape}, the truth {truth.shape}; "
                "give masks of the same size"
            )
        scores = score_image(found, truth, rule=rule, boundary_tolerance=boundary_tolerance)
        images.append(ImageScores(info.id, info.cell_type or _main_class(truth), len(truth), len(found), scores))
        if coco:
            pairs.append((found, truth))
    names = [name for name in dict.fromkeys(image.cell_type for image in images) if name]
    members = {name: [k for k, image in enumerate(images) if image.cell_type == name] for name in names}
    types = {name: _group(images, pairs, chosen) for name, chosen in members.items()}
    return Evaluation(rule, tuple(images), types, _group(images, pairs, range(len(images))), tuple(notes))


def score_image(
    predictions: Instances, truth: Instances, *, rule: Rule = "matching", boundary_tolerance: float = TOLERANCE
) -> Scores:
    """Computes all scores of one image except COCO's, which rank over images.

    Raises:
        DataError: if the image sizes differ.
        ConfigError: if the rule is unknown or the tolerance is negative.
    """
    overlaps = predictions.overlaps(truth)
    at = precision_at(overlaps, THRESHOLDS, rule)
    precision, recall, f1 = _precision_recall_f1(overlaps, rule)
    panoptic = panoptic_quality(overlaps)
    return Scores(
        mean_ap=float(at.mean()),
        ap50=float(at[THRESHOLDS.index(0.5)]),
        ap75=float(at[THRESHOLDS.index(0.75)]),
        ap90=float(at[THRESHOLDS.index(0.9)]),
        precision=precision,
        recall=recall,
        f1=f1,
        panoptic_quality=panoptic.quality,
        segmentation_quality=panoptic.segmentation,
        aggregated_jaccard_index=aggregated_jaccard_index(overlaps),
        boundary_f=boundary_f(predictions, truth, boundary_tolerance),
    )


def _precision_recall_f1(overlaps: Overlaps, rule: Rule) -> tuple[float, float, float]:
    """At IoU 0.50; 1 if there is neither truth nor prediction, 0 if a denominator is 0."""
    if overlaps.both_empty:
        return 1.0, 1.0, 1.0
    hits, false, missed = (int(count) for count in count_hits(overlaps, (0.5,), rule)[0])
    return hits / max(hits + false, 1), hits / max(hits + missed, 1), 2 * hits / max(2 * hits + false + missed, 1)


def _infos(truths: Dataset | Mapping[str, Instances]) -> tuple[list[SampleInfo], list[str]]:
    """The images that can be scored, and a note for those that cannot."""
    if not isinstance(truths, Dataset):
        return [SampleInfo(id=name) for name in truths], []
    notes = []
    for quality, what in (("approximate", "approximate masks"), ("none", "no masks")):
        count = sum(info.mask_quality == quality for info in truths.infos)
        if count:
            notes.append(f"{count} of {len(truths)} images have {what} and are left out")
    return [info for info in truths.infos if info.is_scored], notes


def _check_ids(predictions: Mapping[str, Instances], ids: Sequence[str], truths: object) -> list[str]:
    """Notes on ids that are only in the truth or only in the predictions."""
    where = getattr(truths, "name", "the truth")
    if not ids:
        raise DataError(f"{where}: no image has masks to score against; give labelled images")
    known = set(ids)
    if predictions and not any(name in known for name in predictions):
        raise DataError(
            f"no prediction belongs to an image of {where}: predicted {next(iter(predictions))!r}, truth has {ids[0]!r}"
        )
    notes = []
    missing = [name for name in ids if name not in predictions]
    if missing:
        notes.append(
            f"{len(missing)} of {len(ids)} images have no prediction and count as empty, the first is {missing[0]!r}"
        )
    whole = truths.parent if isinstance(truths, Subset) else truths
    everything = {info.id for info in whole.infos} if isinstance(whole, Dataset) else known
    strange = [name for name in predictions if name not in everything]
    if strange:
        notes.append(f"{len(strange)} predictions belong to images that are not in the truth, first {strange[0]!r}")
    return notes


def _read(
    infos: Sequence[SampleInfo], truths: Dataset | Mapping[str, Instances]
) -> Iterator[tuple[SampleInfo, Instances]]:
    """Yields the truths, one at a time."""
    if not isinstance(truths, Dataset):
        yield from ((info, truths[info.id]) for info in infos)
        return
    for index, info in enumerate(truths.infos):
        if info.is_scored:
            instances = truths.instances(index)
            if instances is None:
                raise DataError(f"{info.id}: listed as labelled but without masks; check the dataset {truths.name}")
            yield info, instances


def _main_class(truth: Instances) -> str:
    """Name of the majority class of the instances, empty if none is known."""
    majority = truth.majority_class()
    return truth.class_names[majority] if 0 <= majority < len(truth.class_names) else ""


def _group(
    images: Sequence[ImageScores], pairs: Sequence[tuple[Instances, Instances]], chosen: Sequence[int]
) -> GroupScores:
    """The means over the chosen images, with COCO's scores if there are pairs of masks."""
    members = [images[k] for k in chosen]
    means = {f.name: float(np.mean([getattr(image.scores, f.name) for image in members])) for f in fields(Scores)}
    return GroupScores(
        images=len(members),
        truths=sum(image.truths for image in members),
        predictions=sum(image.predictions for image in members),
        scores=Scores(**means),
        coco=coco_scores([pairs[k][0] for k in chosen], [pairs[k][1] for k in chosen]) if pairs else (),
    )


def _plain(value: object) -> object:
    """The value with tuples as lists and NaN as None, throughout."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
