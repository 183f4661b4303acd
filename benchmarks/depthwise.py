"""Times training of an encoder with depthwise convolutions on a CPU: everything in bfloat16, or these in float32.

    python benchmarks/depthwise.py [--encoder tf_efficientnet_lite2] [--repeats 7] [--json FILE]

One forward and one backward pass of a batch of 3 images of 256 x 256 pixels through the encoder on one thread,
alternating between both; prints the median of the repeats.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from pathlib import Path

import timm
import torch
from answer import give
from torch import nn

from cytotome.nets.depthwise import speed_up_depthwise


def seconds(encoder: nn.Module, images: torch.Tensor) -> float:
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(level.float().square().mean() for level in encoder(images))
    loss.backward()
    return time.perf_counter() - start


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="tf_efficientnet_lite2")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    plain = timm.create_model(arguments.encoder, features_only=True, in_chans=1)
    mixed = copy.deepcopy(plain)
    speed_up_depthwise(mixed)
    images = torch.rand(3, 1, 256, 256).to(memory_format=torch.channels_last)
    spent: dict[str, list[float]] = {"bfloat16": [], "depthwise in float32": []}
    for _ in range(arguments.repeats + 1):
        for times, net in zip(spent.values(), (plain, mixed), strict=True):
            times.append(seconds(net.to(memory_format=torch.channels_last).train(), images))
    medians = {name: statistics.median(times[1:]) for name, times in spent.items()}
    ratio = medians["bfloat16"] / medians["depthwise in float32"]
    give({"encoder": arguments.encoder, "seconds": medians, "ratio": ratio}, arguments.json)


if __name__ == "__main__":
    main()
