"""Times the networks of StarDist and Cellpose 3, with random weights. Runs in the peers' environment.

    benchmarks/peers/run networks_speed --samples SAMPLES [--threads 2] [--repeats 5] [--json FILE]

One 520 x 704 grey image, network only: no reading, no normalisation, no decoding.

- StarDist 2D: the configuration of its versatile models (32 rays, grid 2 x 2, U-Net of depth 3 with 32 filters).
  ``call`` is the compiled Keras model called directly, ``predict_on_batch`` is Keras's own method.
- Cellpose 3 (CPnet): the image is enlarged beforehand so that cells have the diameter of 30 pixels that the network
  wants. ``tiles`` is ``cellpose.core.run_net``, as Cellpose runs it; ``whole`` is one pass over the whole image.
  It is timed for cells of 30 pixels (no enlargement) and for the mean diameter of all cells and of each cell type in
  SAMPLES (written by ``export.py``).

Each peer runs in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from samples import mean_diameter, read_samples, seconds_of, type_diameters, write_json

SHAPE = (520, 704)
NETWORK_DIAMETER = 30.0


def random_image(shape: tuple[int, int]) -> np.ndarray:
    """Normalised grey levels; the time does not depend on what is in the image."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def time_stardist(threads: int, repeats: int) -> dict[str, Any]:
    """Seconds an image of StarDist's network."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    from stardist.models import Config2D, StarDist2D

    config = Config2D(n_rays=32, grid=(2, 2), n_channel_in=1, unet_n_depth=3, unet_n_filter_base=32)
    network = StarDist2D(config, name=None, basedir=None).keras_model
    height, width = (-(-size // 16) * 16 for size in SHAPE)
    batch = random_image((height, width))[None, ..., None]
    tensor = tensorflow.constant(batch)
    compiled = tensorflow.function(lambda images: network(images, training=False))
    return {
        "call": seconds_of(lambda: [output.numpy() for output in compiled(tensor)], repeats),
        "predict_on_batch": seconds_of(lambda: network.predict_on_batch(batch), repeats),
    }


def time_cellpose(diameters: dict[str, float], threads: int, repeats: int) -> dict[str, Any]:
    """Seconds an image of Cellpose's network, for cells of each of the diameters."""
    import torch
    from cellpose import core, models

    torch.set_num_threads(threads)
    network = models.CellposeModel(gpu=False, pretrained_model=False, nchan=2).net
    network.eval()
    result: dict[str, Any] = {}
    for name, diameter in diameters.items():
        print(f"cellpose, cells of {diameter:.1f} pixels", file=sys.stderr, flush=True)
        scale = NETWORK_DIAMETER / diameter
        height, width = (int(size * scale) for size in SHAPE)
        image = np.stack([random_image((height, width)), np.zeros((height, width), np.float32)], axis=-1)[None]
        padded = np.pad(image, ((0, 0), (0, -height % 16), (0, -width % 16), (0, 0)))
        tensor = torch.from_numpy(np.ascontiguousarray(padded.transpose(0, 3, 1, 2)))

        def whole(tensor: Any = tensor) -> None:
            with torch.inference_mode():
                network(tensor)

        result[name] = {
            "diameter": diameter,
            "network_input": [height, width],
            "tiles": seconds_of(lambda image=image: core.run_net(network, image), repeats),
            "whole": seconds_of(whole, repeats),
        }
    return result


def main() -> None:
    """Times both peers, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, help="folder written by export.py, for the diameters of real cells")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    diameters = {"30": NETWORK_DIAMETER}
    if options.samples is not None:
        samples = read_samples(options.samples)
        diameters |= {"all": mean_diameter(samples), **type_diameters(samples)}
    spawn = multiprocessing.get_context("spawn")
    print("stardist", file=sys.stderr, flush=True)
    with spawn.Pool(1) as pool:
        stardist = pool.apply(time_stardist, (options.threads, options.repeats))
    with spawn.Pool(1) as pool:
        cellpose = pool.apply(time_cellpose, (diameters, options.threads, options.repeats))
    write_json(
        options.json,
        {
            "image": list(SHAPE),
            "threads": options.threads,
            "unit": "seconds an image",
            "stardist": stardist,
            "cellpose": cellpose,
        },
    )


if __name__ == "__main__":
    main()
