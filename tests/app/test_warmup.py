"""``cytotome warmup`` leaves nothing to compile, and the first run without it says what it waits for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECOND_PROCESS = """
import sys
from pathlib import Path
import tifffile
from cytotome.app.measure.run import MeasureOptions, run_measure
from cytotome.app.evaluate import run_evaluate
from cytotome.app.segment.run import run_segment
from cytotome.app.segment.settings import SegmentOptions
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.models.registry import bundled_ensembles, bundled_models
from cytotome.ops.kernels import on_compiling

folder = Path(sys.argv[1])
(folder / "plate").mkdir()
for index, kind in enumerate(("uint8", "uint16", "float32")):
    pixels = SyntheticDataset(3, 3)[index].image.pixels
    tifffile.imwrite(folder / "plate" / f"{kind}.tif", pixels.astype(kind))
compiled = []
with on_compiling(lambda: compiled.append(1)):
    for model in [*bundled_models(), *bundled_ensembles()]:
        run_segment([str(folder / "plate")], folder / model, SegmentOptions(model=model, device="cpu", quiet=True))
        run_measure(folder / model, str(folder / "plate"), MeasureOptions(folder / model / "tables", quiet=True))
print(len(compiled))
"""
TOLD = """
import numpy as np
from cytotome.app.console import telling_of_compiling
from cytotome.ops.labels import from_label_map
with telling_of_compiling(quiet=False):
    from_label_map(np.eye(3, dtype=np.int32))
"""


def environment(cache: Path) -> dict[str, str]:
    return os.environ | {"NUMBA_CACHE_DIR": str(cache)}


@pytest.mark.slow
def test_nothing_is_left_to_compile_after_it(tmp_path: Path) -> None:
    where = environment(tmp_path / "cache")
    warm = subprocess.run(
        [sys.executable, "-m", "cytotome", "warmup"], env=where, capture_output=True, text=True, check=True
    )
    assert int(warm.stdout.splitlines()[-1].split()[0]) > 20
    second = subprocess.run(
        [sys.executable, "-c", SECOND_PROCESS, tmp_path], env=where, capture_output=True, text=True, check=True
    )
    assert second.stdout.splitlines()[-1] == "0"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
def test_the_first_run_says_once_on_a_terminal_that_it_compiles(tmp_path: Path) -> None:
    shown = [on_terminal(TOLD, environment(tmp_path / "cache")) for _ in range(2)]
    assert shown[0].count("compiling kernels, once after installation") == 1
    assert shown[1] == ""
    told = subprocess.run(
        [sys.executable, "-c", TOLD], env=environment(tmp_path / "other"), capture_output=True, text=True, check=True
    )
    assert told.stderr == ""


def on_terminal(script: str, where: dict[str, str]) -> str:
    """What a script shows on a terminal by its standard error."""
    import pty

    reading, writing = pty.openpty()
    subprocess.run([sys.executable, "-c", script], env=where, stderr=writing, check=True)
    os.write(writing, b"\x04")
    os.close(writing)
    shown = os.read(reading, 4096).replace(b"\x04", b"").decode()
    os.close(reading)
    return shown.replace("^D\x08\x08", "")
