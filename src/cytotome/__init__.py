"""cytotome finds every cell in a microscope image.

The names below are the public surface; each is imported when it is first asked for, so that ``import cytotome`` costs
next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cytotome.datasets import open_dataset
    from cytotome.errors import CytotomeError
    from cytotome.inference.model import Model, load_model
    from cytotome.io.images import read_image
    from cytotome.metrics.evaluate import evaluate
    from cytotome.training.train import train
    from cytotome.types import Dataset, Image, Instances, Sample, SampleInfo

    __version__: str
    from_label_map, from_masks = Instances.from_label_map, Instances.from_masks

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
    "from_masks",
    "load_model",
    "open_dataset",
    "read_image",
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
    "load_model": "cytotome.inference.model",
    "open_dataset": "cytotome.datasets",
    "read_image": "cytotome.io.images",
    "train": "cytotome.training.train",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("cytotome")
    elif name in ("from_label_map", "from_masks"):
        from cytotome.types import Instances

        value = getattr(Instances, name)
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'cytotome' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
