"""One method of a comparison: scores, ceiling, speed, memory, size, pictures; measured in a separate process."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cytotome.app.compare.results import ImageResult, MethodResult
from cytotome.errors import CytotomeError, DataError, one_line
from cytotome.models.header import read_header
from cytotome.models.registry import find_model
from cytotome.tuning.held_out import CachedOutputs, Method
from cytotome.types import Dataset, Instances, Sample

CEILING_IMAGES = 12


@dataclass(frozen=True, slots=True)
class Entry:
    """A method to score, with all settings; can be sent to another process.

    Attributes:
        method: the method with its models.
        kind: ``given`` or ``trained``.
        data, layout: path and layout of the dataset.
        fold_of: fold by position of the image.
        output: folder of the comparison.
        tta: average over symmetries.
        device: device of the networks.
    """

    method: Method
    kind: str
    data: str
    layout: str | None
    fold_of: dict[int, int]
    output: Path
    tta: bool
    device: str

    def key(self) -> str:
        """Key that depends on everything that determines the results; models by content, regardless of their name."""
        content = asdict(self)
        content["output"] = ""
        content["models"] = [read_header(find_model(model.path)).digest for model in self.method.models]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def score_in_child(entry: Entry) -> MethodResult:
    """Returns the result of an entry from a new process, whose peak memory is only that of the method.

    Raises:
        DataError: if the process fails, with the reason.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(entry, sender))
    process.start()
    sender.close()
    try:
        answer: MethodResult | str = receiver.recv()
    except (EOFError, OSError):
        answer = ""
    process.join()
    if isinstance(answer, str):
        raise DataError(answer or f"the process ended without an answer (exit code {process.exitcode})")
    return answer


def _child(entry: Entry, sender: Any) -> None:
    """Sends the result, or an error as one line."""
    try:
        sender.send(score_entry(entry))
    except Exception as error:
        sender.send(message(error))
    finally:
        sender.close()


def message(error: Exception) -> str:
    """Formats an error as one line, starting with its type unless it was raised on purpose."""
    return " ".join(str(error).split()) if isinstance(error, CytotomeError) else one_line(error)


def score_entry(entry: Entry) -> MethodResult:
    """Predicts, decodes and scores every image; stores the networks' outputs and pictures.

    Raises:
        DataError: if an image has no annotated cells.
    """
    from cytotome.datasets import open_dataset
    from cytotome.metrics.challenge import image_score

    dataset = open_dataset(entry.data, layout=entry.layout)
    predictions = CachedOutputs(entry.method, entry.output / "cache", tta=entry.tta, device=entry.device)
    images: dict[str, ImageResult] = {}
    seconds = []
    for place, fold in entry.fold_of.items():
        sample = dataset[place]
        truth = _known(sample.instances, sample.info.id)
        model = predictions.model_of(fold)
        start = time.perf_counter()
        outputs = model.outputs(sample.image, tta=entry.tta)
        found = model.decode(outputs)
        seconds.append(time.perf_counter() - start)
        predictions.keep(sample, fold, outputs)
        images[sample.info.id] = ImageResult(image_score(found, truth), sample.info.cell_type, len(found))
        _draw(entry, sample, found)
    model = predictions.model_of(next(iter(entry.fold_of.values())))
    return MethodResult(
        key=entry.key(),
        name=entry.method.name,
        kind=entry.kind,
        family=model.method,
        score=float(np.mean([image.score for image in images.values()])),
        types=_by_type(images),
        ceiling=ceiling(model, dataset, list(entry.fold_of)),
        seconds_per_image=float(np.median(seconds)),
        peak_megabytes=peak_megabytes(),
        model_megabytes=find_model(entry.method.models[0].path).stat().st_size / 2**20,
        licence=model.card.licence or "that of the data it was trained on",
        images=images,
    )


def _known(truth: Instances | None, name: str) -> Instances:
    if truth is None:
        raise DataError(f"compare: image {name} has no masks; give labelled images")
    return truth


def ceiling(model: Any, dataset: Dataset, places: Sequence[int]) -> float:
    """Mean score of the family's decoder on perfect outputs, for up to :data:`CEILING_IMAGES` images."""
    from cytotome.metrics.challenge import image_score

    family, config = model.family, model.file.config
    parameters = family.parameters()
    scores = []
    for place in list(places)[:: max(1, len(places) // CEILING_IMAGES)][:CEILING_IMAGES]:
        truth = _known(dataset.instances(place), dataset.infos[place].id)
        outputs = family.oracle(family.targets(truth, config), config)
        scores.append(image_score(family.decode(outputs, parameters, config.class_names), truth))
    return float(np.mean(scores))


def peak_megabytes() -> float:
    """Peak resident memory of this process."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _by_type(images: Mapping[str, ImageResult]) -> dict[str, float]:
    kinds = sorted({image.cell_type for image in images.values()})
    return {kind: float(np.mean([i.score for i in images.values() if i.cell_type == kind])) for kind in kinds}


def _draw(entry: Entry, sample: Sample, found: Instances) -> None:
    from cytotome.report.overlay import write_overlay

    folder = entry.output / "pictures" / entry.method.name
    folder.mkdir(parents=True, exist_ok=True)
    write_overlay(folder / f"{sample.info.id}.png", sample.image, found)
