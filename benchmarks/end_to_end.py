"""Times ``cytotome segment`` from image files to label maps, overlays and tables on disk.

    .venv/bin/python benchmarks/end_to_end.py [--model neurons] [--images 60] [--no-overlay] [--peers SAMPLES]
        [--repeats 5] [--json FILE]

Uses 520 x 704 phase-contrast images, with a separate process for each precision, after one that compiles the kernels.
``seconds_an_image`` excludes the start of the run, ``with_start`` includes imports and loading the model.
``network_only`` is only the network of the model on the same images, one after the other, on all threads. ``--peers``
adds the networks of StarDist and Cellpose 3 with random weights, at the diameters of the cells in SAMPLES, see
``benchmarks/peers/networks_speed.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from answer import give
from segment_runs import REPOSITORY, command, fresh, model_of, write_images

from cytotome.families import get_family
from cytotome.inference.device import choose_precision
from cytotome.inference.model import build_model
from cytotome.models.file import read_model
from cytotome.models.registry import find_model


def whole(images: Path, output: Path, model: str, precision: str, options: list[str]) -> dict[str, Any]:
    """Times of one run of the command line."""
    start = time.perf_counter()
    arguments = [*command(images, fresh(output), model), "--quiet", "--device", "cpu", "--precision", precision]
    subprocess.run([*arguments, *options], check=True)
    seconds = time.perf_counter() - start
    run = json.loads((output / "run.json").read_text())
    count = run["images"]["segmented"]
    return {
        "images": count,
        "cells": run["cells_found"],
        "seconds_an_image": run["seconds"] / count,
        "images_a_second": count / run["seconds"],
        "with_start": seconds / count,
    }


def network_only(images: Path, name: str, precision: str, repeats: int = 8) -> float:
    """Median seconds of the model's network on an unscaled image, with all threads on one image."""
    file = read_model(find_model(name))
    family = get_family(file.family)
    calls: list[float] = []

    def timed(net: torch.nn.Module, planes: torch.Tensor) -> Any:
        start = time.perf_counter()
        found = family.predict(net, planes)
        calls.append(time.perf_counter() - start)
        return found

    model = build_model(file, family=replace(family, predict=timed), device="cpu", precision=precision)
    chosen = sorted(images.iterdir())[:repeats]
    times = []
    for path in [chosen[0], *chosen]:
        calls.clear()
        model.segment(path, scale=1)
        times.append(sum(calls))
    return statistics.median(times[1:])


def main() -> None:
    """Times each precision that the processor supports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="neurons")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--no-overlay", action="store_true")
    parser.add_argument("--peers", type=Path, metavar="SAMPLES")
    parser.add_argument("--repeats", type=int, default=5, help="of the peers' networks")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = model_of(options.model)
    extra = ["--no-overlay"] if options.no_overlay else []
    fast = choose_precision("auto", torch.device("cpu"))
    precisions = ["float32"] if fast == torch.float32 else ["float32", "bfloat16"]
    answer: dict[str, Any] = {"model": options.model, "threads": torch.get_num_threads(), "runs": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = write_images(folder / "few", 2)
        images = write_images(folder / "images", options.images)
        for precision in precisions:
            whole(few, folder / "out", model, precision, extra)
            answer["runs"][precision] = whole(images, folder / "out", model, precision, extra)
            answer["runs"][precision]["network_only"] = network_only(images, model, precision)
        if options.peers is not None:
            peers = folder / "peers.json"
            arguments = [REPOSITORY / "benchmarks" / "peers" / "run", "networks_speed", "--samples", options.peers]
            arguments += ["--repeats", str(options.repeats)]
            subprocess.run([*arguments, "--json", peers], check=True, stdout=subprocess.DEVNULL)
            answer["peers"] = json.loads(peers.read_text())
    give(answer, options.json)


if __name__ == "__main__":
    main()
