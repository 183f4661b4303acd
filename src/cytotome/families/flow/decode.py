"""From flow and cell probability to scored instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from cytotome.families.flow.config import FlowParameters
from cytotome.ops.cell_types import class_of_each, parameters_of_image
from cytotome.ops.fill import fill_holes
from cytotome.ops.flows import flow_statistics
from cytotome.ops.labels import from_label_map, label_means
from cytotome.ops.runs import empty_instances
from cytotome.ops.scores import are_hits, fit_logistic
from cytotome.ops.sinks import follow_flows, label_sinks
from cytotome.types import DenseMaps, FloatArray, Instances, IntArray, Sample

FEATURES = ("mean cell probability", "flow error", "log area", "mean flow length", "constant")
LEAST_SINK = 8


def decode_flows(maps: DenseMaps, parameters: FlowParameters, class_names: Sequence[str]) -> Instances:
    """Instances of the maps of one image, with scores and classes.

    Args:
        maps: ``flow`` ``(2, H, W)``, ``cell`` ``(1, H, W)`` and, for several classes, ``cell_type`` ``(K, H, W)``.
        parameters: those of the image's cell type, where ``by_class`` names it, come before the general ones.
        class_names: of the model.
    """
    cell = maps["cell"][0]
    types = maps.get("cell_type")
    parameters = parameters_of_image(parameters, types, cell, class_names)
    labels, count = _segment(maps["flow"], cell, parameters)
    if count == 0:
        return empty_instances(cell.shape, class_names)
    table, areas = features(labels, count, maps["flow"], maps["cell"])
    scores = expit(table @ np.asarray(parameters.score_weights)).astype(np.float32)
    keep = (
        (scores >= parameters.min_score)
        & (areas >= parameters.min_area)
        & (areas <= parameters.max_area)
        & (table[:, 1] <= parameters.max_flow_error)
    )
    classes = np.zeros(count, np.int32) if types is None else class_of_each(labels, count, types)
    instances = replace(from_label_map(labels), scores=scores, classes=classes, class_names=tuple(class_names)).select(
        keep
    )
    return instances.renumbered()


def _segment(flow: FloatArray, cell: FloatArray, parameters: FlowParameters) -> tuple[IntArray, int]:
    """Label map without gaps, before anything is dropped."""
    mask = cell > np.float32(parameters.cell_threshold)
    ends = follow_flows(flow, mask)
    labels, count = label_sinks(ends, parameters.sink_radius, LEAST_SINK)
    fill_holes(labels, count)
    return labels, count


def features(
    labels: IntArray, count: int, flow: FloatArray, cell: FloatArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """``(count, 5)`` float64, one row an instance, columns as in :data:`FEATURES`; and the areas, ``(count,)``."""
    means, areas = label_means(labels, cell, count)
    table = np.ones((count, len(FEATURES)))
    table[:, 0] = means[1:, 0]
    errors, lengths = flow_statistics(labels, count, flow)
    table[:, 1] = errors[1:]
    table[:, 2] = np.log(np.maximum(areas[1:], 1))
    table[:, 3] = lengths[1:]
    return table, areas[1:]


def fit_scores(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: FlowParameters, class_names: Sequence[str]
) -> FlowParameters:
    """Score weights that give the probability of an IoU above 0.5 with a true instance.

    A logistic regression with a small ridge, over all instances that the decoder makes before anything is dropped;
    each image counts alike.

    Args:
        pairs: maps and truth of images that the network was not trained on.
        parameters: where the cell threshold and sink radius are taken from.
        class_names: of the model.
    """
    images = []
    for maps, sample in pairs:
        used = parameters_of_image(parameters, maps.get("cell_type"), maps["cell"][0], class_names)
        labels, count = _segment(maps["flow"], maps["cell"][0], used)
        if count and sample.instances is not None:
            table, _ = features(labels, count, maps["flow"], maps["cell"])
            images.append((table, are_hits(from_label_map(labels), sample.instances)))
    weights = fit_logistic(images)
    return parameters if weights is None else parameters.model_copy(update={"score_weights": weights})
