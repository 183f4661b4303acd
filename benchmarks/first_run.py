"""Times the first and second run of ``cytotome segment`` after installation: the cost of compiling the kernels.

    .venv/bin/python benchmarks/first_run.py [--model neurons] [--json FILE]

Segments one image of 520 x 704 pixels twice, with an initially empty folder for compiled code. ``seconds`` is the wall
time of the command; ``cpu_seconds`` is processor time, which is less affected by other work on the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from answer import give
from segment_runs import command, fresh, model_of, write_images


def timed(arguments: list[str], cache: Path) -> dict[str, float]:
    """Runs the command once, with compiled code cached in ``cache``."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([*arguments, "--quiet"], check=True, env=os.environ | {"NUMBA_CACHE_DIR": str(cache)})
    seconds, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": round(seconds, 2), "cpu_seconds": round(spent, 2)}


def main() -> None:
    """Runs it twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="neurons")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_images(folder / "images", 1)
        model = model_of(options.model)
        first, second = (
            timed(command(images, fresh(folder / "results"), model), folder / "cache") for _ in ("first", "second")
        )
    ratios = {f"{key}_ratio": round(first[key] / second[key], 1) for key in first}
    give({"model": options.model, "first": first, "second": second, **ratios}, options.json)


if __name__ == "__main__":
    main()
