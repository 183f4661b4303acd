"""Runs the training queue of benchmarks/train_queue.yaml: interrupted runs are resumed, and finished runs scored.

    nice -n 19 python benchmarks/train_queue.py ../shared/data [--runs runs/queue] [--only NAME ...]
    python benchmarks/train_queue.py ../shared/data --status

Runs are trained one after the other by `cytotome train`, which writes checkpoints: after an interruption, the same
command resumes the run that was interrupted. A finished run with a fold is scored by benchmarks/accuracy.py, which adds
a row to docs/accuracy.md. --status prints the table of all runs and trains nothing.

Where Linux groups processes by session (``/proc/sys/kernel/sched_autogroup_enabled`` is 1), ``nice`` has no effect
against other sessions: ``echo 19 > /proc/PID/autogroup`` lowers the priority of the whole session of the queue.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
QUEUE = HERE / "train_queue.yaml"


@dataclass(frozen=True)
class Run:
    """One run of the queue, see the head of train_queue.yaml."""

    name: str
    recipe: str
    data: tuple[str, ...]
    minutes: float
    fold: int | None = None
    weights: str | None = None
    set: tuple[str, ...] = ()

    def model(self, runs: Path) -> Path:
        """The final model file of the run."""
        return runs / self.name / f"{self.name}.safetensors"

    def command(self, root: Path, runs: Path) -> list[str]:
        """The command that trains or resumes it."""
        start = self.weights
        if start and start.startswith("run:"):
            name = start.removeprefix("run:")
            start = str(runs / name / f"{name}.safetensors")
        words = [sys.executable, "-m", "cytotome", "train", self.recipe, "-o", str(runs / self.name)]
        words += [word for folder in self.data for word in ("--data", str(root / folder))]
        words += [] if self.fold is None else ["--fold", str(self.fold)]
        words += ["--weights", start] if start else []
        words += ["--max-minutes", str(self.minutes), "--set", f"name={self.name}"]
        return words + [word for change in self.set for word in ("--set", change)]

    def state(self, runs: Path) -> str:
        """``done``, ``begun`` or ``waiting``."""
        if self.model(runs).is_file():
            return "done"
        return "begun" if (runs / self.name).is_dir() else "waiting"

    def result(self) -> Path:
        """The file of its score, written by benchmarks/accuracy.py."""
        return HERE / "results" / "accuracy" / f"queue-{self.name}.json"


def read_queue(path: Path = QUEUE) -> list[Run]:
    """The runs of a queue file, in order."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    runs = [{**content.get("defaults", {}), **entry} for entry in content["runs"]]
    return [
        Run(**{key: tuple(value) if isinstance(value, list) else value for key, value in run.items()}) for run in runs
    ]


def score(run: Run, root: Path, runs: Path) -> None:
    """Scores a run on the images of its fold."""
    words = [sys.executable, str(HERE / "accuracy.py"), str(root / "sartorius"), "--name", f"queue {run.name}"]
    training = f"{run.minutes:g} min" + (f", started from {run.weights}" if run.weights else "")
    words += ["--training", training, "--model", f"{run.model(runs)}:{run.fold}"]
    subprocess.run(words, check=True)


def table(queue: list[Run], runs: Path) -> str:
    """One line per run: its state and, if it was scored, mAP per cell type and overall."""
    lines = [f"{'run':<24}{'fold':>5}{'minutes':>9}  {'state':<9}{'cort':>7}{'astro':>7}{'shsy5y':>8}{'all':>7}"]
    for run in queue:
        fold = "all" if run.fold is None else run.fold
        line = f"{run.name:<24}{fold:>5}{run.minutes:>9g}  {run.state(runs):<9}"
        if run.result().is_file():
            scores = json.loads(run.result().read_text(encoding="utf-8"))["scores"]["own parameters"]
            line += "".join(f"{scores.get(name, float('nan')):>7.3f}" for name in ("cort", "astro", "shsy5y", "all"))
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Trains and scores runs that are not finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds sartorius/ and livecell/")
    parser.add_argument("--runs", type=Path, default=Path("runs/queue"), help="folder of checkpoints and models")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these runs instead of all")
    parser.add_argument("--status", action="store_true", help="print the table and train nothing")
    options = parser.parse_args()
    queue = [run for run in read_queue() if not options.only or run.name in options.only]
    for run in [] if options.status else queue:
        if run.state(options.runs) != "done":
            subprocess.run(run.command(options.data, options.runs), check=True)
        if run.fold is not None and not run.result().is_file():
            score(run, options.data, options.runs)
    print(table(queue, options.runs))


if __name__ == "__main__":
    main()
