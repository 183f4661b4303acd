"""cytotome finds every cell in a microscope image.

The names below are the public surface; each is imported when it is first asked for, so that ``import cytotome`` costs
next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cytotome.datasets import open_dataset
    from cytotome.ensemble.load import load_model
    from cytotome.errors import CytotomeError
    from cytotome.inference.model import Model
    from cytotome.io.images import read_image
    from cytotome.metrics.evaluate import evaluate
    from cytotome.ops.labels import from_label_map, to_label_map
    from cytotome.training.train import train
    from cytotome.types import Dataset, Image, Instances, Sample, SampleInfo

    __version__: str

__all__ = [
    "CytotomeError",
    "Dataset",
    "Image",
    "Instances",
    "Model",
    "Sample",
    "SampleInfo",
    "__version__",
    "evaluate",
    "from_label_map",
    "load_model",
    "open_dataset",
    "read_image",
    "to_label_map",
    "train",
]

_HOMES = {
    "CytotomeError": "cytotome.errors",
    "Dataset": "cytotome.types",
    "Image": "cytotome.types",
    "Instances": "cytotome.types",
    "Model": "cytotome.inference.model",
    "Sample": "cytotome.types",
    "SampleInfo": "cytotome.types",
    "evaluate": "cytotome.metrics.evaluate",
    "from_label_map": "cytotome.ops.labels",
    "load_model": "cytotome.ensemble.load",
    "open_dataset": "cytotome.datasets",
    "read_image": "cytotome.io.images",
    "to_label_map": "cytotome.ops.labels",
    "train": "cytotome.training.train",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("cytotome")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'cytotome' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
