"""cytotome finds every cell in a microscope image.

The names below are the public API. Each is imported on first access, so that ``import cytotome`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cytotome.api import compare, segment, tune
    from cytotome.datasets import open_dataset
    from cytotome.datasets.predictions import read_predictions
    from cytotome.datasets.samples import samples
    from cytotome.ensemble.ensemble import Ensemble
    from cytotome.ensemble.load import load_model
    from cytotome.errors import CytotomeError
    from cytotome.inference.model import Model
    from cytotome.io.images import read_image
    from cytotome.io.labels import write_label_map
    from cytotome.measurement.table import measure
    from cytotome.metrics.evaluate import Evaluation, evaluate
    from cytotome.outputs.tta import Tta
    from cytotome.report.overlay import draw_overlay
    from cytotome.training.train import train
    from cytotome.types import Dataset, Image, Instances, Sample, SampleInfo

    __version__: str
    from_label_map, from_masks = Instances.from_label_map, Instances.from_masks

__all__ = [
    "CytotomeError",
    "Dataset",
    "Ensemble",
    "Evaluation",
    "Image",
    "Instances",
    "Model",
    "Sample",
    "SampleInfo",
    "Tta",
    "__version__",
    "compare",
    "draw_overlay",
    "evaluate",
    "from_label_map",
    "from_masks",
    "load_model",
    "measure",
    "open_dataset",
    "read_image",
    "read_predictions",
    "samples",
    "segment",
    "train",
    "tune",
    "write_label_map",
]

_HOMES = {
    "CytotomeError": "errors",
    "Dataset": "types",
    "Ensemble": "ensemble.ensemble",
    "Evaluation": "metrics.evaluate",
    "Image": "types",
    "Instances": "types",
    "Model": "inference.model",
    "Sample": "types",
    "SampleInfo": "types",
    "Tta": "outputs.tta",
    "compare": "api",
    "draw_overlay": "report.overlay",
    "evaluate": "metrics.evaluate",
    "from_label_map": "types:Instances.from_label_map",
    "from_masks": "types:Instances.from_masks",
    "load_model": "ensemble.load",
    "measure": "measurement.table",
    "open_dataset": "datasets",
    "read_image": "io.images",
    "read_predictions": "datasets.predictions",
    "samples": "datasets.samples",
    "segment": "api",
    "train": "training.train",
    "tune": "api",
    "write_label_map": "io.labels",
}
"""Module of each name, followed by its name there if that differs."""


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("cytotome")
    elif name in _HOMES:
        module, _, place = _HOMES[name].partition(":")
        value = attrgetter(place or name)(import_module(f"cytotome.{module}"))
    else:
        raise AttributeError(f"module 'cytotome' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
