"""Trains the UNETR GAN on synthetic images, half of them without masks; records losses and pictures.

    python benchmarks/gan.py OUT [--steps 300] [--minutes M] [--recipe unetr-gan] [--set KEY=VALUE] [--picture PNG]

Prints the losses of both phases at ten steps, the score on images that were not used for training and, to detect
collapse, the variety of predictions for those images: the standard deviation over images of the predicted share of
foreground, and that of the truth. --picture stacks the pictures of the unlabelled image during training.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import imagecodecs
import numpy as np
from semi import Withheld

from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.inference.model import load_single_model
from cytotome.metrics.challenge import image_score
from cytotome.report.png import write_png
from cytotome.training.train import train

COUNT, TESTED, SHAPE = 12, 6, (192, 192)
ROWS = 4
SHOWN = 128
"""Rows of pixels of each picture that are shown."""
SMALL = (
    *("config.window=[96, 96]", "config.hidden_size=64", "config.mlp_size=128", "config.heads=4"),
    *("sampling.crop=[96, 96]", "sampling.batch=4", "schedule.pictures_every=20", "schedule.ema=0.97"),
)


def print_losses(path: Path) -> None:
    """Prints the losses at ten steps."""
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    names = [name for name in rows[-1] if name.startswith("gan/") and not name.endswith("/total")]
    print("step", *(name.removeprefix("gan/") for name in names))
    for index in np.linspace(0, len(rows) - 1, 10).astype(int):
        print(rows[index]["step"], *(f"{float(rows[index][name]):.4f}" for name in names))


def print_score(path: Path) -> None:
    """Prints score and variety on images that were not used for training."""
    model = load_single_model(path)
    scores, predicted, true = [], [], []
    for index in range(TESTED):
        sample = SyntheticDataset(TESTED, seed=99, shape=SHAPE)[index]
        assert sample.instances is not None
        scores.append(image_score(model.segment(sample.image), sample.instances))
        predicted.append((model.predict_maps(sample.image)["foreground"].max(axis=0) > 0.5).mean())
        true.append(sample.instances.areas.sum() / np.prod(sample.image.shape))
    print(f"mAP on {TESTED} new images {np.mean(scores):.3f}")
    print(f"foreground: mean {np.mean(predicted):.3f} (truth {np.mean(true):.3f}), ", end="")
    print(f"deviation over images {np.std(predicted):.3f} (truth {np.std(true):.3f})")


def stack(folder: Path, picture: Path) -> None:
    """Stacks the pictures of the unlabelled image at several steps, first on top."""
    files = sorted(folder.glob("*-unlabelled.png"))
    chosen = [files[index] for index in np.geomspace(1, len(files), ROWS).astype(int) - 1]
    print("picture: steps", *(int(path.name.split("-")[0]) for path in chosen))
    write_png(picture, np.concatenate([imagecodecs.imread(path)[:SHOWN] for path in chosen]))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, help="end after this time, with a whole schedule")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--recipe", default="unetr-gan")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    data = Withheld(SyntheticDataset(COUNT, seed=7, shape=SHAPE), set(range(COUNT // 2, COUNT)))
    path = train(
        options.recipe,
        data,
        output=options.output,
        max_minutes=options.minutes,
        overrides=[*SMALL, f"schedule.steps={options.steps}", *options.set],
    )
    print_losses(options.output / "metrics.csv")
    print_score(path)
    if options.picture:
        stack(options.output / "pictures", options.picture)


if __name__ == "__main__":
    main()
