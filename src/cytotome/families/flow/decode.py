"""Decoding of flow and cell probability to scored instances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cytotome.arrays import Float64Array
from cytotome.families.flow.config import FlowParameters
from cytotome.ops.cell_types import class_of_each, parameters_of_image
from cytotome.ops.fill import fill_holes
from cytotome.ops.flows import flow_statistics
from cytotome.ops.labels import label_means
from cytotome.ops.scores import fit_score_weights, score_instances
from cytotome.ops.sinks import follow_flows, label_sinks
from cytotome.types import DenseMaps, FloatArray, Instances, IntArray, Sample

FEATURES = ("mean cell probability", "flow error", "log area", "mean flow length", "constant")
LEAST_SINK = 8


def decode_flows(maps: DenseMaps, parameters: FlowParameters, class_names: Sequence[str]) -> Instances:
    """Converts the maps of one image to instances with scores and classes.

    Args:
        maps: ``flow`` ``(2, H, W)``, ``cell`` ``(1, H, W)`` and, for several classes, ``cell_type`` ``(K, H, W)``.
        parameters: decoder parameters; those in ``by_class`` for the image's cell type take precedence.
        class_names: class names of the model.
    """
    parameters = parameters_of_image(parameters, maps.get("cell_type"), maps["cell"][0], class_names)
    found, table = describe(maps, parameters, class_names)
    return score_instances(found, table, parameters, table[:, 1] <= parameters.max_flow_error).renumbered()


def describe(maps: DenseMaps, parameters: FlowParameters, class_names: Sequence[str]) -> tuple[Instances, Float64Array]:
    """N instances before scoring and filtering, and their features ``(N, 5)``, as in :data:`FEATURES`."""
    labels, count = _segment(maps["flow"], maps["cell"][0], parameters)
    classes = class_of_each(labels, count, maps.get("cell_type"))
    found = Instances.from_label_map(labels, classes=classes, class_names=class_names)
    return found, features(labels, count, maps["flow"], maps["cell"])


def _segment(flow: FloatArray, cell: FloatArray, parameters: FlowParameters) -> tuple[IntArray, int]:
    """Label map without gaps, before filtering."""
    mask = cell > np.float32(parameters.cell_threshold)
    ends = follow_flows(flow, mask)
    labels, count = label_sinks(ends, parameters.sink_radius, LEAST_SINK)
    fill_holes(labels, count)
    return labels, count


def features(labels: IntArray, count: int, flow: FloatArray, cell: FloatArray) -> Float64Array:
    """``(count, 5)`` float64, one row per instance, columns as in :data:`FEATURES`."""
    means, areas = label_means(labels, cell, count)
    table = np.ones((count, len(FEATURES)))
    table[:, 0] = means[1:, 0]
    errors, lengths = flow_statistics(labels, count, flow)
    table[:, 1] = errors[1:]
    table[:, 2] = np.log(np.maximum(areas[1:], 1))
    table[:, 3] = lengths[1:]
    return table


def fit_scores(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: FlowParameters, class_names: Sequence[str]
) -> FlowParameters:
    """Fits score weights with :func:`~cytotome.ops.scores.fit_score_weights` on pairs of maps and truth."""

    def describe_image(maps: DenseMaps) -> tuple[Instances, Float64Array]:
        used = parameters_of_image(parameters, maps.get("cell_type"), maps["cell"][0], class_names)
        return describe(maps, used, class_names)

    return fit_score_weights(pairs, parameters, describe_image)
