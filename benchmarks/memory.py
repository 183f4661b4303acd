"""Measures the peak memory of ``cytotome segment`` on few and on many images.

    .venv/bin/python benchmarks/memory.py [--model neurons] [--few 20] [--many 1000] [--json FILE]

Each run is a separate process with a new folder; the peak is the maximum resident size reported by the operating system
(``ru_maxrss``). ``ratio`` is the peak for many images divided by that for few. Images are 520 x 704 pixels (see
``--height``, ``--width``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from answer import give
from segment_runs import command, fresh, model_of, write_images


def peak_megabytes(images: Path, output: Path, model: str) -> dict[str, Any]:
    """Runs the command; returns its peak in MB and its duration in seconds."""
    start = time.perf_counter()
    process = subprocess.Popen([*command(images, fresh(output), model), "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # which Popen cannot find out any more
    if process.returncode:
        raise SystemExit(f"segment failed with status {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    peak = usage.ru_maxrss * unit / 1e6
    return {"images": len(list(images.iterdir())), "peak_megabytes": peak, "seconds": time.perf_counter() - start}


def main() -> None:
    """Runs both and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="neurons")
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--height", type=int, default=520)
    parser.add_argument("--width", type=int, default=704)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, shape = model_of(options.model), (options.height, options.width)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = write_images(folder / "few", options.few, shape)
        many = write_images(folder / "many", options.many, shape)
        peak_megabytes(few, folder / "out", model)  # compiles kernels
        found = [peak_megabytes(images, folder / "out", model) for images in (few, many)]
    answer = {
        "image": list(shape),
        "runs": found,
        "ratio": found[1]["peak_megabytes"] / found[0]["peak_megabytes"],
    }
    give(answer, options.json)


if __name__ == "__main__":
    main()
