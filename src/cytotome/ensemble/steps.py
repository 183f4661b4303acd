"""Named steps after decoding or fusion; each takes and returns instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any, TypeAlias

import cv2
import numpy as np

from cytotome.errors import ConfigError
from cytotome.ops.labels import OVERLAP_POLICIES, OverlapPolicy, resolve_overlaps
from cytotome.ops.runs import mask_crop
from cytotome.types import AnyArray, BoolArray, Instances

StepSetting: TypeAlias = "str | Mapping[str, Mapping[str, Any] | None]"
"""A step's name, or ``{name: {argument: value}}``."""


def fill_holes(instances: Instances) -> Instances:
    """Fills background that is enclosed by a mask (background is 4-connected)."""
    return _each(instances, _without_holes)


def largest_part(instances: Instances) -> Instances:
    """Keeps only the largest part of each mask (8-connected)."""
    return _each(instances, _largest)


def smooth(instances: Instances, sigma: float = 1.5) -> Instances:
    """Smooths outlines below a scale of about ``sigma`` pixels; masks that are too thin are unchanged.

    Raises:
        ConfigError: if sigma is not in (0, 20].
    """
    if not 0 < sigma <= 20:
        raise ConfigError(f"step smooth: sigma must be above 0 and at most 20 pixels, got {sigma}")
    margin = int(np.ceil(3 * sigma))

    def blurred(mask: BoolArray) -> BoolArray:
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        result = soft > 0.5
        return result if 2 * np.count_nonzero(result) >= np.count_nonzero(mask) else mask

    return _each(instances, blurred, margin)


def straight_edges(instances: Instances, length: int = 24, part: float = 0.4, tolerance: float = 2.0) -> Instances:
    """Restores straight edges of masks that annotators had cut along a row or column, blurred by the network.

    An outermost edge is a cut if it stays within ``tolerance`` pixels of a row (column) for ``length`` pixels and for
    ``part`` of the mask's box, and is flat rather than round: a parabola fitted to it rises by less than a quarter of
    the tolerance. It is then straightened at its median.

    Raises:
        ConfigError: if an argument is not positive.
    """
    if not length >= 3 or not 0 < part <= 1 or not tolerance > 0:
        raise ConfigError(
            f"step straight_edges: length must be 3 or more, part in (0, 1], tolerance above 0; "
            f"got {length}, {part}, {tolerance}"
        )

    def cut(mask: BoolArray) -> BoolArray:
        result = mask.copy()
        for view in (result, result[::-1], result.T, result.T[::-1]):
            _straighten(view, length, part, tolerance)
        return result

    return _each(instances, cut)


def overlaps(instances: Instances, policy: OverlapPolicy = "score") -> Instances:
    """Assigns shared pixels to one instance; see :func:`cytotome.ops.labels.to_label_map` for the policies."""
    if policy not in OVERLAP_POLICIES:
        raise ConfigError(f"step overlaps: policy must be one of {', '.join(OVERLAP_POLICIES)}, got {policy!r}")
    return resolve_overlaps(instances, policy)


STEPS: Mapping[str, Callable[..., Instances]] = {
    step.__name__: step for step in (fill_holes, largest_part, smooth, straight_edges, overlaps)
}


def apply_steps(instances: Instances, steps: Sequence[StepSetting]) -> Instances:
    """Applies all steps, in order.

    Raises:
        ConfigError: as in :func:`parse_steps`.
    """
    for name, arguments in parse_steps(steps):
        instances = STEPS[name](instances, **arguments)
    return instances


def parse_steps(steps: Sequence[StepSetting]) -> list[tuple[str, dict[str, Any]]]:
    """Returns names and arguments of steps.

    Raises:
        ConfigError: if steps or arguments are unknown or values are out of range; all errors are listed.
    """
    parsed: list[tuple[str, dict[str, Any]]] = []
    faults = []
    for step in steps:
        entries = {step: None} if isinstance(step, str) else dict(step)
        for name, arguments in entries.items():
            if name not in STEPS:
                faults.append(f"there is no step {name!r}; choose from {', '.join(STEPS)}")
                continue
            faults += _argument_faults(name, arguments or {})
            parsed.append((name, dict(arguments or {})))
    if faults:
        raise ConfigError(f"steps: {'; '.join(faults)}")
    return parsed


def _argument_faults(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """Errors in the arguments of a step: names, types, or errors of the step on an empty input."""
    known = {key: one.default for key, one in list(signature(STEPS[name]).parameters.items())[1:]}
    if wrong := [key for key in arguments if key not in known]:
        return [f"step {name} takes {', '.join(known) or 'nothing'}, not {', '.join(wrong)}"]
    faults = [
        f"step {name}: {key} must be a {'name' if isinstance(known[key], str) else 'number'}, got {value!r}"
        for key, value in arguments.items()
        if isinstance(value, bool) or not isinstance(value, str if isinstance(known[key], str) else int | float)
    ]
    if not faults:
        try:
            STEPS[name](Instances.empty((1, 1)), **arguments)
        except ConfigError as error:
            faults.append(str(error))
    return faults


def _each(instances: Instances, change: Callable[[BoolArray], BoolArray], margin: int = 0) -> Instances:
    """Applies a function to each mask within its box, widened by ``margin``; empty masks are left out."""
    masks, origins = [], []
    for index in range(len(instances)):
        mask, (y, x) = mask_crop(instances, index)
        masks.append(change(np.pad(mask, margin)) if mask.size else mask)
        origins.append((y - margin, x - margin))
    changed = Instances.from_masks(masks, shape=instances.shape, origins=np.array(origins).reshape(-1, 2))
    whole = replace(instances, runs=changed.runs, offsets=changed.offsets, soft=None)
    return whole.select(whole.areas > 0)


def _without_holes(mask: BoolArray) -> BoolArray:
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, parts = cv2.connectedComponents(outside, connectivity=4)
    filled: BoolArray = parts[1:-1, 1:-1] != parts[0, 0]
    return filled


def _largest(mask: BoolArray) -> BoolArray:
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    largest: BoolArray = parts == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    return largest


def _straighten(mask: BoolArray, length: int, part: float, tolerance: float) -> None:
    """Straightens the upper edge of ``(h, w)`` ``mask``, in place."""
    filled = mask.any(axis=0)
    edge = np.where(filled, mask.argmax(axis=0), -(10**6))
    start, stop = _longest_flat(edge, tolerance)
    if stop - start < max(length, part * mask.shape[1]) or edge[start] < 0:
        return
    x = np.linspace(-1, 1, stop - start)
    if abs(np.polyfit(x, edge[start:stop], 2)[0]) > tolerance / 4:
        return
    row = int(np.round(np.median(edge[start:stop])))
    for column in range(start, stop):
        mask[: max(row, 0), column] = False
        mask[row : edge[column], column] = True


def _longest_flat(edge: AnyArray, tolerance: float) -> tuple[int, int]:
    """The longest run of values that differ by at most ``2 * tolerance``, half open."""
    best, start = (0, 0), 0
    for stop in range(1, len(edge) + 1):
        while np.ptp(edge[start:stop]) > 2 * tolerance:
            start += 1
        if stop - start > best[1] - best[0]:
            best = (start, stop)
    return best
