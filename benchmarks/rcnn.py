"""Compares `rcnn` with torchvision's Mask R-CNN: equality, pasting of masks, a dense image.

    python benchmarks/rcnn.py [equality] [paste] [dense] [recipes]

``equality`` uses the same random weights for both and compares boxes, scores and mask probabilities. ``paste`` times
700 masks on 520 x 704 pixels, with the integer boxes of torchvision, so that both refer to the same pixels; memory is
the increase of the process's peak. ``dense`` keeps the 790 best detections of a network with random weights for one
image of 520 x 704 pixels, and times ``Model.segment``. ``recipes`` builds the complete network of each recipe of the
family, computes its gradients on two synthetic crops, and predicts one of them.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

SHAPE = (520, 704)
COUNT = 700
DENSE = 790
ANCHORS = ((8,), (16,), (32,), (64,), (128,))


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def equality() -> None:
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    from cytotome.families.rcnn.config import RcnnConfig
    from cytotome.families.rcnn.net import Rcnn
    from cytotome.families.rcnn.predict import predict_instances
    from cytotome.families.rcnn.pretrained import renamed

    torch.manual_seed(0)
    body = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=torch.nn.BatchNorm2d)
    anchors = AnchorGenerator(ANCHORS, ((0.5, 1.0, 2.0),) * 5)
    theirs = MaskRCNN(body, num_classes=4, rpn_anchor_generator=anchors, box_score_thresh=0.2).eval()
    for layer in (theirs.roi_heads.box_predictor.cls_score, theirs.roi_heads.box_predictor.bbox_pred):
        torch.nn.init.normal_(layer.weight, std=0.05)
    theirs.transform = GeneralizedRCNNTransform(512, 704, [0.0] * 3, [1.0] * 3)
    config = RcnnConfig(
        class_names=("a", "b", "c"), channels=3, input_scale=1, backbone="resnet50", widths=(), norm="none",
        pyramid_channels=256, box_features=1024, mask_channels=256, mask_layers=4, anchor_sizes=ANCHORS, per_class=True,
        aligned=False, proposals=(1000, 1000), proposals_per_level=(1000, 1000), candidate_score=0.2,
        candidate_iou=0.5, most_candidates=100,
    )  # fmt: skip
    ours = Rcnn(config).eval()
    ours.load_state_dict({**ours.state_dict(), **renamed(theirs.state_dict(), 1)})
    raw: list[torch.Tensor] = []
    theirs.roi_heads.mask_predictor.register_forward_hook(lambda module, inputs, output: raw.append(output))
    image = torch.rand(1, 3, 512, 704)
    with torch.inference_mode():
        expected, found = theirs(list(image))[0], predict_instances(ours, image)[0]
    assert found.soft is not None
    grids = raw[0][torch.arange(len(found)), expected["labels"]].sigmoid()
    rows = {
        "boxes (pixels)": (torch.from_numpy(found.soft.boxes[:, [1, 0, 3, 2]]) - expected["boxes"]).abs().max(),
        "scores": (torch.from_numpy(found.scores) - expected["scores"]).abs().max(),
        "mask probabilities": (torch.from_numpy(found.soft.values).reshape(-1, 28, 28) - grids).abs().max(),
    }
    print(f"{len(found)} detections, {len(expected['boxes'])} of torchvision; greatest differences:")
    for name, value in rows.items():
        print(f"  {name}: {float(value):.1e}")


def detections(count: int) -> tuple[Any, Any]:
    """Grids of 28 x 28 cells and their boxes x0, y0, x1, y1, with sizes of cells."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, (640, 460), (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(10, 60, (count, 2))]).astype(np.float32)
    y, x = np.mgrid[:28, :28]
    radius = rng.uniform(8, 13, (count, 1, 1))
    grids = 1 / (1 + np.exp((np.hypot(y - 13.5, x - 13.5) - radius) + rng.normal(0, 0.3, (count, 28, 28))))
    return grids.astype(np.float32), boxes


def paste_theirs(grids: Any, boxes: Any) -> Any:
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    return paste_masks_in_image(torch.from_numpy(grids[:, None]), torch.from_numpy(boxes), SHAPE)[:, 0] > 0.5


def paste_ours(grids: Any, boxes: Any) -> Any:
    from cytotome.ops.soft_masks import from_grids, paste

    boxes = boxes[:, [1, 0, 3, 2]]
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * np.float32(30 / 28)
    low, high = np.trunc(centre - half), np.trunc(centre + half) + 1
    cell = (high - low) / 30
    return paste(from_grids(grids, np.hstack([low + cell, high - cell])), SHAPE)


def best_time(function: Callable[..., Any]) -> float:
    """Seconds of processor time, which is less affected by other work on the machine."""
    given, times = detections(COUNT), []
    for _ in range(5):
        start = time.process_time()
        function(*given)
        times.append(time.process_time() - start)
    return min(times)


def growth(function: Callable[..., Any]) -> float:
    """Megabytes by which one call increases the peak of this process."""
    given = detections(COUNT)
    before = peak_megabytes()
    function(*given)
    return peak_megabytes() - before


def paste() -> None:
    for function in (paste_ours, paste_theirs):
        function(*detections(1))  # imports and compiles
    memory = {"ours": growth(paste_ours), "torchvision": growth(paste_theirs)}  # the smaller first: a peak never falls
    masks = paste_theirs(*detections(COUNT)).numpy()
    runs, offsets, _ = paste_ours(*detections(COUNT))
    mine = np.zeros_like(masks)
    for index in range(COUNT):
        for row, start, stop in runs[offsets[index] : offsets[index + 1]]:
            mine[index, row, start:stop] = True
    print(f"{COUNT} masks, {int((mine != masks).sum())} of {int(masks.sum())} pixels differ")
    seconds = {"ours": best_time(paste_ours), "torchvision": best_time(paste_theirs)}
    for name, value in seconds.items():
        print(f"  {name}: {value * 1e3:.1f} ms of processor time, {memory[name]:.1f} MB")


def dense() -> None:
    from cytotome.data.normalise import Normalisation
    from cytotome.families import get_family
    from cytotome.families.rcnn.config import RcnnParameters
    from cytotome.inference.model import build_model
    from cytotome.models.file import ModelFile
    from cytotome.training.recipe import load_recipe

    pixels = np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8)
    for name in ("rcnn-r50-small", "rcnn-r50"):
        overrides = ["config.candidate_score=0", f"config.most_candidates={DENSE}", "config.candidate_iou=0.9"]
        config = load_recipe(name, overrides).family_config()
        torch.manual_seed(0)
        net = get_family("rcnn").build(config)
        parameters = RcnnParameters(min_score=0, min_area=0, nms_iou=1)
        model = build_model(ModelFile("rcnn", config, parameters, Normalisation(), net.state_dict()), device="cpu")
        found = model.segment(pixels)
        start = time.perf_counter()
        model.segment(pixels)
        seconds = time.perf_counter() - start
        print(
            f"{name}: {len(found)} instances in {seconds:.1f} s, {torch.get_num_threads()} thread(s), "
            f"{model.precision}; peak of the process {peak_megabytes():.0f} MB"
        )


def recipes() -> None:
    from cytotome.data.sampling import Crops, CropSettings, Source, collate
    from cytotome.datasets import open_dataset
    from cytotome.families import get_family
    from cytotome.training.recipe import load_recipe, recipe_names

    family = get_family("rcnn")
    for name in recipe_names():
        recipe = load_recipe(name)
        if recipe.family != "rcnn":
            continue
        config = recipe.family_config()
        net = family.build(config).train()
        settings = CropSettings((256, 256), 2)
        crops = Crops([Source(open_dataset("synthetic:3"))], family.targets, config, settings=settings)
        losses = family.stages(config)[0].phases[0].loss(net, collate([crops[0], crops[1]]))
        losses["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 1e9)
        with torch.inference_mode():
            found = family.predict(net.eval(), crops[0]["image"][None])[0]
        millions = sum(one.numel() for one in net.parameters()) / 1e6
        print(
            f"{name}: {millions:.1f} million weights, loss {losses['total'].item():.2f}, gradient {float(norm):.2f}, "
            f"{len(found)} candidates in a crop; peak of the process {peak_megabytes():.0f} MB",
            flush=True,
        )


PARTS = {"equality": equality, "paste": paste, "dense": dense, "recipes": recipes}


def main() -> None:
    """Runs the given parts, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: choose of {', '.join(PARTS)}")
    for part in options.parts or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main()
