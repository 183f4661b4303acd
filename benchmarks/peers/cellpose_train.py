"""Trains Cellpose 3's own network with its own trainer, from scratch, and predicts the validation images of a fold.

    benchmarks/peers/run cellpose_train SAMPLES OUT --fold 0 --minutes 53 [--threads 2] [--cellprob 0.0]

SAMPLES is a folder that ``export.py`` wrote. Training uses the images of fold -1 and of all folds except ``--fold``;
random weights, Cellpose's own augmentation, loss, optimiser, learning rate and schedule. It gets the true diameter
of each cell type, the mean over the training images' cells, both for training and for prediction: images are resized
beforehand so that cells of their type have a diameter of 30 pixels. The number of epochs is chosen by timing the
first few so that the schedule, with its falling end, fits into ``--minutes`` of wall time, targets and timing
included; where the machine slows down meanwhile, training is stopped at the limit.

Writes ``OUT/<id>_labels.tif`` (int32) for each validation image of full mask quality, ``OUT/weights`` and
``OUT/run.json``. Score the folder with ``cytotome evaluate OUT DATASET``. ``--predict-only`` uses OUT/weights again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import torch
from cellpose import dynamics, models, train
from samples import Sample, read_samples, type_diameters, write_json

NETWORK_DIAMETER = 30.0
BATCH = 8
TIMED_EPOCHS = 3
MARGIN = 0.97  # of the time that is left, for epochs that take longer than the timed ones


class OutOfTime(Exception):
    """Ends Cellpose's training loop, which has no limit of its own."""


def resized(sample: Sample, diameter: float) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels, with cells of ``diameter`` brought to the diameter that the network wants."""
    scale = NETWORK_DIAMETER / diameter
    height, width = sample.labels.shape
    size = (round(width * scale), round(height * scale))
    image = cv2.resize(sample.image, size, interpolation=cv2.INTER_LINEAR)
    labels = cv2.resize(sample.labels, size, interpolation=cv2.INTER_NEAREST)
    return image, labels


def fit(model: models.CellposeModel, images: list[np.ndarray], flows: list[np.ndarray], epochs: int, out: Path) -> None:
    """Cellpose's own trainer; the images are resized already, so that it must not do so again."""
    train.train_seg(
        model.net,
        train_data=images,
        train_labels=flows,
        channels=[0, 0],
        batch_size=BATCH,
        n_epochs=epochs,
        rescale=False,
        scale_range=0.5,
        save_path=out,
        save_every=10**9,
        model_name="cellpose",
    )


def new_model(options: argparse.Namespace) -> models.CellposeModel:
    """A network of random weights."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return models.CellposeModel(device=torch.device(options.device), pretrained_model=False, nchan=2)


def train_for(samples: list[Sample], diameters: dict[str, float], options: argparse.Namespace) -> dict[str, Any]:
    """Trains for the wall time given and writes OUT/weights."""
    start = time.perf_counter()
    deadline = start + 60 * options.minutes
    pairs = [resized(sample, diameters[sample.cell_type]) for sample in samples]
    images = [image for image, _ in pairs]
    flows = dynamics.labels_to_flows([labels for _, labels in pairs], device=torch.device("cpu"))

    timed = time.perf_counter()
    fit(new_model(options), images, flows, TIMED_EPOCHS, options.out)
    epoch_seconds = (time.perf_counter() - timed) / TIMED_EPOCHS
    epochs = max(1, int(MARGIN * (deadline - time.perf_counter()) / epoch_seconds))
    print(f"{epoch_seconds:.1f} s an epoch of {len(images)} images; {epochs} epochs", flush=True)

    model = new_model(options)
    passes = 0

    def stop_in_time(module: torch.nn.Module, inputs: Any) -> None:
        nonlocal passes
        if time.perf_counter() > deadline:
            raise OutOfTime
        passes += 1

    hook = model.net.register_forward_pre_hook(stop_in_time)
    try:
        fit(model, images, flows, epochs, options.out)
        complete = True
    except OutOfTime:
        complete = False
    hook.remove()
    model.net.save_model(str(options.out / "weights"))
    return {
        "images": len(images),
        "planned_epochs": epochs,
        "batches": passes,
        "schedule_complete": complete,
        "minutes": (time.perf_counter() - start) / 60,
    }


def predict(samples: list[Sample], diameters: dict[str, float], options: argparse.Namespace) -> dict[str, float]:
    """Writes a label map for each sample; seconds an image."""
    model = new_model(options)
    model.net.load_model(str(options.out / "weights"), device=torch.device(options.device))
    seconds = {}
    for sample in samples:
        start = time.perf_counter()
        diameter = diameters[sample.cell_type]
        labels = model.eval(sample.image, channels=[0, 0], diameter=diameter, cellprob_threshold=options.cellprob)[0]
        seconds[sample.id] = time.perf_counter() - start
        tifffile.imwrite(options.out / f"{sample.id}_labels.tif", labels.astype(np.int32), compression="deflate")
        print(f"{sample.id} {sample.cell_type}: {labels.max()} cells in {seconds[sample.id]:.1f} s", flush=True)
    return seconds


def main() -> None:
    """Trains, predicts, and writes what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=53)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cellprob", type=float, default=0.0, help="Cellpose's cellprob_threshold")
    parser.add_argument("--predict-only", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    samples = read_samples(options.samples)
    seen = [sample for sample in samples if sample.fold != options.fold]
    held_out = [s for s in samples if s.fold == options.fold and s.mask_quality == "full"]
    if not seen or not held_out:
        raise SystemExit(f"fold {options.fold} leaves nothing to train on or nothing to predict")
    diameters = type_diameters(seen)
    result: dict[str, Any] = {
        "fold": options.fold,
        "device": options.device,
        "threads": options.threads,
        "diameters": diameters,
    }
    if not options.predict_only:
        result["training"] = train_for(seen, diameters, options)
    result |= {"cellprob_threshold": options.cellprob, "seconds": predict(held_out, diameters, options)}
    write_json(options.out / ("predict.json" if options.predict_only else "run.json"), result)


if __name__ == "__main__":
    main()
