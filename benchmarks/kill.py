"""Kills ``cytotome segment`` at random moments, resumes it, and compares with an uninterrupted run.

    .venv/bin/python benchmarks/kill.py [--model neurons] [--kills 20] [--images 40] [--seed 0] [--json FILE]

A run is killed by SIGKILL at a random moment while it processes images, and started again on the same folder; if all
images are finished before the last kill, the folder is compared with that of the uninterrupted run and emptied. During
a run, every file that appears is opened: ``half_written`` counts those that cannot be read completely. ``differing``
lists the files that differ from those of the uninterrupted run at the end, except ``run.json``, which contains times.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
from answer import give
from segment_runs import command, fresh, model_of, write_images

from cytotome.errors import CytotomeError
from cytotome.io.files import is_temporary
from cytotome.io.labels import read_label_map


def is_whole(path: Path) -> bool:
    """Whether a file of results can be read completely."""
    try:
        if path.suffix == ".tif":
            return read_label_map(path).ndim == 2
        if path.suffix == ".png":
            return path.read_bytes().endswith(b"IEND\xaeB`\x82") and cv2.imread(str(path)) is not None
        text = path.read_text()
        if path.suffix == ".json":
            return bool(json.loads(text))
        return text.endswith("\n")
    except FileNotFoundError:
        return True  # replaced in this moment
    except (CytotomeError, ValueError):
        return False


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of all files except ``run.json``."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class Watch:
    """Opens every file of a folder when it appears or changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[Path, int] = {}
        self.half_written: list[str] = []
        self.opened = 0

    def look(self) -> None:
        """Opens what is new."""
        for path in self.folder.rglob("*"):
            try:
                if not path.is_file() or is_temporary(path) or self.seen.get(path) == path.stat().st_mtime_ns:
                    continue
                self.seen[path] = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            self.opened += 1
            if not is_whole(path):
                self.half_written.append(path.relative_to(self.folder).as_posix())


def run_until_killed(arguments: list[str], output: Path, delay: float, watch: Watch) -> bool:
    """Starts a run and kills it ``delay`` seconds after its first image; returns whether it was still running."""
    before = (output / "run.json").stat().st_mtime_ns if (output / "run.json").is_file() else 0
    process = subprocess.Popen(arguments)
    begun = 0.0
    while process.poll() is None:
        if not begun and (output / "run.json").is_file() and (output / "run.json").stat().st_mtime_ns != before:
            begun = time.perf_counter()
        if begun and time.perf_counter() - begun >= delay:
            process.kill()
        watch.look()
    watch.look()
    return process.wait() < 0


def main() -> None:
    """Kills and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="neurons")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--height", type=int, default=520)
    parser.add_argument("--width", type=int, default=704)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    draw, model = random.Random(options.seed), model_of(options.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_images(folder / "images", options.images, (options.height, options.width))
        subprocess.run([*command(images, folder / "unbroken", model), "--quiet"], check=True)
        expected = contents(folder / "unbroken")
        seconds = json.loads((folder / "unbroken" / "run.json").read_text())["seconds"]
        output = folder / "killed"
        arguments, watch = [*command(images, output, model), "--quiet"], Watch(output)
        kills, compared = 0, []
        while kills < options.kills:
            killed = run_until_killed(arguments, output, draw.uniform(0, seconds / 2), watch)
            kills += killed
            if not killed:
                compared.append(contents(output))
                fresh(output)
        subprocess.run(arguments, check=True)
        watch.look()
        compared.append(contents(output))
    differing = sorted(
        {name for found in compared for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}
    )
    answer = {
        "kills": kills,
        "images": options.images,
        "runs_compared": len(compared),
        "files_compared": len(expected) * len(compared),
        "differing": differing,
        "files_opened_while_running": watch.opened,
        "half_written": watch.half_written,
    }
    give(answer, options.json)


if __name__ == "__main__":
    main()
