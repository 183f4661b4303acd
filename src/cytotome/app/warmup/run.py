"""``cytotome warmup``: segment, measure and evaluate on synthetic images, so that every kernel is compiled."""

from __future__ import annotations

import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile

from cytotome.app.console import say
from cytotome.app.evaluate import run_evaluate
from cytotome.app.measure.run import MeasureOptions, run_measure
from cytotome.app.segment.run import run_segment
from cytotome.app.segment.settings import SegmentOptions
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.io.labels import write_label_map
from cytotome.models.registry import bundled_ensembles, bundled_models
from cytotome.ops.kernels import on_compiling
from cytotome.types import AnyArray

SHAPE = (192, 224)


def run_warmup(*, quiet: bool = False) -> int:
    """Compiles the kernels for each bundled model and ensemble; returns the number of newly compiled ones."""
    compiled: list[None] = []
    start = time.perf_counter()
    with TemporaryDirectory(prefix="cytotome-warmup-") as folder, on_compiling(lambda: compiled.append(None)):
        _write_samples(Path(folder))
        for name in [*bundled_models(), *bundled_ensembles()]:
            say(f"compiling for {name}", quiet=quiet)
            with (
                redirect_stdout(StringIO()),
                redirect_stderr(StringIO()),
            ):  # messages about the test images are suppressed
                _use(name, Path(folder))
    say(f"{len(compiled)} kernels compiled in {time.perf_counter() - start:.0f} s", quiet=quiet)
    return len(compiled)


def _write_samples(folder: Path) -> None:
    """Writes a grey image of each pixel type and one in colour, with their label maps."""
    kinds = ("uint8", "uint16", "float32", "rgb")
    for sample, kind in zip(SyntheticDataset(len(kinds), shape=SHAPE), kinds, strict=True):
        for part in ("images", "labels"):
            (folder / "truth" / part).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / "truth" / "images" / f"{kind}.tif", _as(kind, sample.image.pixels))
        assert sample.instances is not None
        write_label_map(folder / "truth" / "labels" / f"{kind}.tif", sample.instances.to_label_map())


def _as(kind: str, grey: AnyArray) -> AnyArray:
    if kind == "rgb":
        return np.repeat(grey[:, :, None], 3, axis=2)
    return grey.astype(kind)


def _use(model: str, folder: Path) -> None:
    images, output = str(folder / "truth" / "images"), folder / model
    run_segment([images], output, SegmentOptions(model=model, coco=True, device="cpu", quiet=True))
    run_measure(output, images, MeasureOptions(output / "measured", quiet=True))
    run_evaluate(output, str(folder / "truth"), json_file=None, rule="matching", layout=None, fold=None)
