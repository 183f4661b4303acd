"""``cytotome submit``: a valid submission, from predictions or from images within a time limit."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from cytotome.app.console import say, warn
from cytotome.app.discover import discover
from cytotome.app.image_set import ImageSet
from cytotome.app.opening import read_and_warn
from cytotome.ensemble.load import load_model
from cytotome.errors import ConfigError, CytotomeError, DataError
from cytotome.io.submission import write_submission
from cytotome.io.submission_rule import check_submission
from cytotome.ops.labels import OVERLAP_POLICIES, OverlapPolicy, resolve_overlaps
from cytotome.types import Instances

SAFETY = 1.5
"""An image is started if at least this many times the duration of the slowest image so far is left."""


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """Options of ``cytotome submit``, as typed."""

    output: Path
    images: str | None = None
    model: str | None = None
    max_minutes: float | None = None
    policy: OverlapPolicy = "score"
    tta: bool = False
    device: str = "auto"
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.policy not in OVERLAP_POLICIES:
            raise ConfigError(f"overlaps: must be one of {', '.join(OVERLAP_POLICIES)}, got {self.policy!r}")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ConfigError(f"max-minutes: must be positive, got {self.max_minutes}")
        if self.max_minutes is not None and self.model is None:
            raise ConfigError("max-minutes: limits segmentation; add --model, or omit it")
        if self.model is None and self.images is None:
            raise ConfigError("images: name the images that must have a row with --images, or give images and --model")


def run_submit(predictions: str, options: SubmitOptions) -> int:
    """Writes a submission; returns the number of images without a prediction.

    Raises:
        ConfigError: if options are not compatible.
        DataError: if predictions or images cannot be read, or the written file is not valid.
    """
    start = time.monotonic()
    sources = discover([options.images or predictions], options.output.parent / options.output.name)
    images = ImageSet(sources, [source.path.stem for source in sources])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    readable = dict(images.shapes())
    if options.model is not None:
        found, left = _segmented(images, readable, options, start)
    else:
        known = read_and_warn(Path(predictions), images)
        if unknown := sorted(set(known) - {info.id for info in images.infos}):
            raise DataError(
                f"{predictions}: {unknown[0]!r} is not one of the images in {options.images}; check --images"
            )
        found = {info.id: known[info.id] for info in images.infos if info.id in known}
        left = [info.id for info in images.infos if info.id not in known]
    _check_shapes(found, readable)
    shapes = {info.id: (1, 1) for info in images.infos} | {name: one.shape for name, one in found.items()} | readable
    whole = {name: found.get(name, Instances.empty(shape)) for name, shape in shapes.items()}
    legal = {name: resolve_overlaps(cells, options.policy) for name, cells in whole.items()}
    write_submission(options.output, legal, policy=None)
    back = check_submission(options.output, shapes)
    if any(len(back[name]) != len(cells) for name, cells in legal.items()):
        raise DataError(f"{options.output}: the file read back differs from what was written; write it again")
    cells = sum(len(one) for one in back.values())
    say(f"{options.output}: {len(shapes)} images, {cells} cells, valid", quiet=options.quiet)
    if left:
        warn(f"{len(left)} of {len(shapes)} images have an empty row, the first is {left[0]}: no prediction")
    return len(left)


def _segmented(
    images: ImageSet, readable: Container[str], options: SubmitOptions, start: float
) -> tuple[dict[str, Instances], list[str]]:
    """Returns the instances of the images that fit into the time limit, in order, and the ids of the others."""
    assert options.model is not None
    model = load_model(options.model, device=options.device)
    limit = float("inf") if options.max_minutes is None else start + 60 * options.max_minutes
    found: dict[str, Instances] = {}
    left, slowest = [], 0.0
    for index, info in enumerate(images.infos):
        begin = time.monotonic()
        if info.id not in readable or begin + SAFETY * slowest >= limit:
            left.append(info.id)
            continue
        try:
            found[info.id] = model.segment(images.read(index).image, tta=options.tta)
        except CytotomeError as error:
            warn(str(error))
            left.append(info.id)
        slowest = max(slowest, time.monotonic() - begin)
    return found, left


def _check_shapes(found: Mapping[str, Instances], shapes: Mapping[str, tuple[int, int]]) -> None:
    for name, cells in found.items():
        if cells.shape != shapes.get(name, cells.shape):
            raise DataError(
                f"submit: the prediction of {name} is {cells.shape}, its image {shapes[name]}; predict again"
            )
