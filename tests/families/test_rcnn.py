"""The R-CNN family against torchvision's own, and what its parts promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from cytotome.data.normalise import Normalisation
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.errors import ConfigError
from cytotome.families import get_family
from cytotome.families.rcnn import FAMILY
from cytotome.families.rcnn.config import RcnnConfig, RcnnParameters
from cytotome.families.rcnn.loss import class_loss, jittered, match, rcnn_loss, split_truth
from cytotome.families.rcnn.net import Rcnn, build_network
from cytotome.families.rcnn.predict import predict_instances
from cytotome.families.rcnn.pretrained import load_pretrained
from cytotome.families.rcnn.proposals import centre_is_valid
from cytotome.families.rcnn.pyramid import Pyramid, frozen_parameters
from cytotome.families.rcnn.targets import BOXES, CLASSES, MASKS, detections, mask_targets, rcnn_targets
from cytotome.inference.model import build_model
from cytotome.losses.flow import flow_losses
from cytotome.models.card import Card
from cytotome.models.file import ModelFile
from cytotome.nets.pretrained import all_taken
from cytotome.ops.scores import are_hits
from cytotome.ops.soft_masks import from_crops, from_grids, mask_grids
from cytotome.training.warm_start import load_weights
from cytotome.types import Instances, Sample

NAMES = ("cort", "astro", "shsy5y")
THEIRS = RcnnConfig(
    class_names=NAMES,
    channels=3,
    input_scale=1.0,
    backbone="resnet18",
    widths=(),
    norm="none",
    pyramid_channels=256,
    box_features=1024,
    mask_channels=256,
    mask_layers=4,
    anchor_sizes=((8,), (16,), (32,), (64,), (128,)),
    per_class=True,
    aligned=False,
    proposals=(1000, 1000),
    proposals_per_level=(1000, 1000),
    candidate_score=0.2,
    candidate_iou=0.5,
    most_candidates=100,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def torchvision_model(score: float) -> MaskRCNN:
    """Random weights; images go in as they are."""
    torch.manual_seed(5)
    model = MaskRCNN(
        resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d),
        num_classes=4,
        rpn_anchor_generator=AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 5),
        box_score_thresh=score,
    ).eval()
    for layer in (model.roi_heads.box_predictor.cls_score, model.roi_heads.box_predictor.bbox_pred):
        torch.nn.init.normal_(layer.weight, std=0.05)  # so that scores and boxes differ
    model.transform = GeneralizedRCNNTransform(192, 256, [0.0] * 3, [1.0] * 3)
    return model


def test_equals_torchvisions_mask_rcnn_on_the_same_weights(tmp_path: Path) -> None:
    theirs = torchvision_model(THEIRS.candidate_score)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = Rcnn(THEIRS).eval()
    assert load_pretrained(ours, str(tmp_path / "weights.pth")).new == ()  # every weight is taken
    raw: list[torch.Tensor] = []
    theirs.roi_heads.mask_predictor.register_forward_hook(lambda module, inputs, output: raw.append(output))
    images = torch.rand(2, 3, 192, 256, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs(list(images))
        found = predict_instances(ours, images)
    for one, other in zip(expected, found, strict=True):
        assert 20 < len(one["boxes"]) == len(other)
        assert other.soft is not None
        torch.testing.assert_close(torch.from_numpy(other.soft.boxes[:, [1, 0, 3, 2]]), one["boxes"])
        torch.testing.assert_close(torch.from_numpy(other.scores), one["scores"])
        np.testing.assert_array_equal(other.classes + 1, one["labels"].numpy())
    labels = torch.cat([one["labels"] for one in expected])
    masks = raw[0][torch.arange(len(labels)), labels].sigmoid()
    grids = [torch.from_numpy(other.soft.values).reshape(-1, 28, 28) for other in found if other.soft is not None]
    torch.testing.assert_close(torch.cat(grids), masks, atol=1e-4, rtol=1e-4)


def test_targets_of_small_broken_and_no_cells() -> None:
    masks = np.zeros((3, 40, 50), bool)
    masks[0, 5, 5:30] = True  # one row high
    masks[1, 10:20, 10:14] = masks[1, 10:20, 20:24] = True  # two parts
    masks[2, 30:40, 40:50] = True  # at the border
    targets = rcnn_targets(Instances.from_masks(masks, classes=np.array([0, -1, 2]), class_names=NAMES), RcnnConfig())
    assert targets[BOXES].tolist() == [[10, 10, 24, 20], [40, 30, 50, 40]]
    assert targets[CLASSES].tolist() == [-1, 2]
    share = targets[MASKS].mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(share, [8 / 14, 1], atol=0.05)
    empty = rcnn_targets(Instances.empty((40, 50)), RcnnConfig())
    assert empty[BOXES].shape == (0, 4)
    assert empty[MASKS].shape == (0, 64, 64)


def test_mask_targets_are_cut_out_where_the_proposal_lies() -> None:
    masks = torch.full((2, 64, 64), 255, dtype=torch.uint8)
    boxes = torch.tensor([[10.0, 10, 30, 30]]).repeat(2, 1)
    regions = torch.tensor([[20.0, 10, 40, 30], [10.0, 10, 30, 30]])
    goals = mask_targets(masks, boxes, regions, 28)
    assert goals[1].min() == 1
    assert goals[0, :, :14].min() == 1
    assert goals[0, :, 14:].max() == 0


def batch_of(truth: Instances, config: RcnnConfig, size: int = 64) -> dict[str, torch.Tensor]:
    targets = rcnn_targets(truth, config)
    batch = {name: torch.from_numpy(value) for name, value in targets.items()}
    for name in ("flow", "cell"):
        if name in batch:
            batch[name] = torch.stack([batch[name], torch.zeros_like(batch[name])])
    image = torch.rand(1, config.channels, size, size, generator=torch.Generator().manual_seed(0))
    return batch | {
        "image": image.repeat(2, 1, 1, 1),
        "valid": torch.ones(2, 1, size, size),
        "instances": torch.tensor([len(targets[BOXES]), 0]),
    }


COMPACT: dict[str, Any] = {"backbone": "compact", "widths": (8, 8, 16, 16, 16), "blocks": (0, 1, 1, 1, 1)}
ENCODED = {**COMPACT, "encoder": "test_resnet", "blocks": ()}


@pytest.mark.parametrize(
    "options",
    [
        {"stages": (0.5,), "per_class": False},
        {"stages": (0.5,), "per_class": True},
        {"stages": (0.5, 0.6, 0.7), "per_class": False},
        {"stages": (0.5, 0.6, 0.7), "per_class": True},
        {**COMPACT, "dense_weight": 1.0},
        {**ENCODED, "dense_weight": 1.0},
    ],
    ids=["mask", "mask of each class", "cascade", "cascade of each class", "compact", "compact on an encoder"],
)
def test_every_weight_learns_also_beside_a_crop_without_cells(options: dict[str, Any]) -> None:
    config = RcnnConfig(class_names=NAMES, input_scale=1.0, **options)
    masks = np.zeros((3, 64, 64), bool)
    masks[0, 5:20, 5:30] = masks[1, 30:50, 10:24] = masks[2, 30:60, 40:60] = True
    truth = Instances.from_masks(masks, classes=np.array([0, -1, 2]), class_names=NAMES)
    torch.manual_seed(1)
    net = build_network(config).train()
    losses = rcnn_loss(net, batch_of(truth, config), config)
    assert torch.isfinite(torch.stack(list(losses.values()))).all()
    losses["total"].backward()
    without = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert without == []


def test_a_batch_without_any_cell_has_finite_losses() -> None:
    config = RcnnConfig(class_names=NAMES, input_scale=1.0)
    net = build_network(config).train()
    batch = batch_of(Instances.empty((64, 64), NAMES), config)
    losses = rcnn_loss(net, batch, config)
    losses["total"].backward()
    assert losses["box"] == losses["mask"] == 0
    assert torch.isfinite(losses["total"])


def test_the_dense_loss_is_that_of_the_flow_model_on_every_pixel() -> None:
    config = RcnnConfig(class_names=NAMES, input_scale=1.0, **COMPACT, dense_weight=2.0)
    masks = np.zeros((2, 64, 64), bool)
    masks[0, 5:20, 5:30] = masks[1, 30:50, 10:24] = True
    batch = batch_of(Instances.from_masks(masks, class_names=NAMES), config)
    assert batch["cell"].sum() == masks.sum()
    torch.manual_seed(1)
    net = build_network(config).eval()
    with torch.inference_mode():
        levels, maps = net.features_and_maps(batch["image"])
        assert all(torch.equal(one, other) for one, other in zip(levels, net.features(batch["image"]), strict=True))
    errors = (maps["flow"] - batch["flow"]).square().sum(dim=1)
    assert flow_losses(maps, batch)["flow"] == pytest.approx(float(errors[batch["valid"][:, 0] > 0].mean()), rel=1e-5)
    net.train()
    totals = []
    for weight in (2.0, 0.0):
        torch.manual_seed(2)
        net.config = config.model_copy(update={"dense_weight": weight})
        totals.append(rcnn_loss(net, batch, net.config))
    dense = 2 * (5 * totals[0]["flow"] + totals[0]["cell"])
    assert "flow" not in totals[1]
    assert float((totals[0]["total"] - totals[1]["total"]).detach()) == pytest.approx(float(dense.detach()), rel=1e-3)


@pytest.mark.parametrize("options", [COMPACT, ENCODED], ids=["own", "on an encoder"])
def test_the_compact_backbone_starts_from_a_flow_model(options: dict[str, Any]) -> None:
    torch.manual_seed(3)
    kind = {"network": "timm", "decoder": "compact"} if "encoder" in options else {}
    shared = {name: value for name, value in options.items() if name != "backbone"}
    flow = get_family("flow").build(get_family("flow").config(class_names=NAMES, **shared, **kind))
    config = RcnnConfig(class_names=NAMES, **options)
    net = build_network(config).eval()
    load_weights(net, flow.state_dict())
    images = torch.rand(1, 1, 64, 96)
    with torch.inference_mode():
        levels, maps = net.backbone.with_maps(images)
        assert torch.equal(maps["flow"], flow.eval()(images)["flow"])
    assert [tuple(level.shape[1:]) for level in levels] == [(64, 64 // s, 96 // s) for s in (4, 8, 16, 32)] + [
        (64, 1, 2)
    ]
    assert frozen_parameters(net.backbone, 0, norms=False) == set()


@pytest.mark.parametrize("options", [COMPACT, ENCODED], ids=["own", "on an encoder"])
def test_the_compact_backbone_predicts_alike_when_it_is_fused(options: dict[str, Any]) -> None:
    """The network of a model is traced and folded; boxes and scores are those of the plain one."""
    config = RcnnConfig(class_names=NAMES, input_scale=1.0, candidate_score=0.0, most_candidates=20, **options)
    torch.manual_seed(4)
    net = build_network(config).eval()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    image = torch.rand(1, 1, 64, 96)
    with torch.inference_mode():
        expected = predict_instances(net, image)[0]
    file = ModelFile("rcnn", config, RcnnParameters(), Normalisation(), weights, Card(name="compact"))
    with torch.inference_mode():
        found = build_model(file, device="cpu", precision="float32").runner.run(image)[0]
    assert len(found) == len(expected) == 20
    np.testing.assert_allclose(np.sort(found.scores), np.sort(expected.scores), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"dense_weight": 1.0}, "dense_weight needs backbone: compact, got resnet18"),
        ({"backbone": "compact"}, "blocks must have one number for each of the 4 widths"),
        ({**COMPACT, "widths": (8, 8), "blocks": (0, 1)}, "backbone compact needs 5 widths, got 2"),
        ({**COMPACT, "stem_stride": 2}, "stem_stride applies to timm backbones; omit it"),
        ({**COMPACT, "frozen_stages": 1}, "frozen_stages applies to timm backbones"),
        ({**COMPACT, "pretrained": True}, "pretrained applies to timm backbones"),
        ({"encoder": "test_resnet"}, "encoder needs backbone: compact, got resnet18"),
    ],
)
def test_what_does_not_go_with_a_backbone_is_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        RcnnConfig(class_names=NAMES, **options)


def test_the_loss_of_an_unknown_class_asks_for_any_cell() -> None:
    logits = torch.tensor([[0.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
    unknown = class_loss(logits, torch.tensor([1, 1]), torch.tensor([False, False]))
    known = class_loss(logits, torch.tensor([1, 1]), torch.tensor([True, True]))
    assert unknown == pytest.approx(-float(torch.log(1 - logits.softmax(1)[:, 0]).mean()), rel=1e-4)
    assert known > 2


def test_proposals_are_matched_and_jittered_within_bounds() -> None:
    config = RcnnConfig(class_names=NAMES)
    masks = np.zeros((1, 64, 64), bool)
    masks[0, 10:30, 20:50] = True
    truth = split_truth(batch_of(Instances.from_masks(masks), config))[0]
    moved = jittered(truth.boxes.repeat(200, 1), 0.1)
    assert (moved - truth.boxes).abs().amax(dim=0) == pytest.approx([3, 2, 3, 2], rel=0.1)
    matched = match(torch.cat([moved, moved + 25]), truth, 0.5)
    assert matched.positive[:200].all()
    assert not matched.positive[200:].any()


def test_what_lies_outside_the_image_is_not_background() -> None:
    valid = torch.zeros(40, 60)
    valid[:, :30] = 1
    boxes = torch.tensor([[0.0, 0, 20, 20], [25, 0, 45, 20], [50, 30, 90, 70]])
    assert centre_is_valid(boxes, valid).tolist() == [True, False, False]


def test_a_cascade_refines_the_boxes_of_the_stage_before() -> None:
    """A second stage that moves each box by its own width, so that what came before must have been its input."""
    config = RcnnConfig(class_names=("cell",), input_scale=1.0, stages=(0.5, 0.6), candidate_score=0.0)
    net = build_network(config).eval()
    image = torch.rand(1, 1, 64, 64)
    for stage, shift in ((0, 0.0), (1, 1.0)):
        torch.nn.init.zeros_(net.box_predictors[stage].bbox_pred.weight)
        net.box_predictors[stage].bbox_pred.bias.data = torch.tensor([20 * shift, 0.0, 0.0, 0.0])
    with torch.inference_mode():
        levels = net.features(image)
        proposals, _ = net.propose(image, levels)
        found = predict_instances(net, image)[0]
    widths = proposals[0][:, 2] - proposals[0][:, 0]
    expected = torch.stack([proposals[0][:, 0] + widths, proposals[0][:, 2] + widths], dim=1).clamp(max=64)
    assert found.soft is not None
    for box in found.soft.boxes[:10]:
        assert (expected - torch.from_numpy(box[[1, 3]])).abs().sum(dim=1).min() < 1e-3


def soft_squares(probabilities: list[float], classes: list[int], scores: list[float]) -> Instances:
    crops = [np.full((10, 10), value, np.float32) for value in probabilities]
    origins = np.array([[20, 20 * index + 5] for index in range(len(crops))])
    return detections(from_crops(crops, origins), (64, 128), np.array(scores, np.float32), np.array(classes), NAMES)


def test_scores_are_box_score_times_mean_mask_probability() -> None:
    found = FAMILY.decode(soft_squares([0.9, 0.6, 0.8], [0, 0, 0], [0.6, 0.9, 0.5]), RcnnParameters(), NAMES)
    assert found.scores.tolist() == pytest.approx([0.54, 0.54, 0.40], abs=1e-3)
    assert found.ids.tolist() == [1, 2, 3]
    assert found.soft is not None
    assert found.boxes[2, 1] == 45


def test_thresholds_are_those_of_the_cell_type_of_most_detections() -> None:
    found = soft_squares([0.9, 0.9, 0.45, 0.9], [1, 1, 1, 0], [0.9, 0.8, 0.9, 0.95])
    parameters = RcnnParameters(by_class={"astro": {"mask_threshold": 0.4}, "cort": {"min_score": 0.99}})
    assert len(FAMILY.decode(found, parameters, NAMES)) == 4
    assert len(FAMILY.decode(found, RcnnParameters(), NAMES)) == 3


def test_of_overlapping_masks_the_better_score_stays() -> None:
    crops = [np.full((10, 10), 0.9, np.float32)] * 3
    soft = from_crops(crops, np.array([[20, 20], [20, 22], [20, 29]]))
    found = detections(soft, (64, 64), np.array([0.6, 0.9, 0.8], np.float32), np.zeros(3, int), NAMES)
    kept = FAMILY.decode(found, RcnnParameters(), NAMES)
    assert kept.scores.tolist() == pytest.approx([0.81, 0.72], abs=1e-3)


def test_calibration_learns_how_often_a_score_is_right() -> None:
    """Half of the detections of the score 0.9 are right, a tenth of those of 0.3: such are the scores after it."""
    rng = np.random.default_rng(0)
    pairs = []
    for sample in SyntheticDataset(4, seed=8, shape=(256, 256), cell_types=("shsy5y",)):
        truth = sample.instances
        assert truth is not None
        boxes = truth.boxes.astype(np.float32)
        good = rng.random(len(truth)) < 0.5
        scores = np.where(good, 0.9, np.where(rng.random(len(truth)) < 0.5, 0.9, 0.3)).astype(np.float32)
        grids = np.where(good[:, None, None], grids_of(truth, boxes), 0.0)
        grids[~good, :6, :6] = 1.0
        found = detections(from_grids(grids, boxes), truth.shape, scores, np.zeros(len(truth), int), NAMES)
        pairs.append((found, Sample(sample.info, sample.image, truth)))
    fitted = FAMILY.calibrate(pairs, RcnnParameters(), NAMES)  # type: ignore[misc]
    assert fitted.score_weights[0] > 0
    loose = fitted.model_copy(update={"min_score": 0.0})
    decoded = [FAMILY.decode(found, loose, NAMES) for found, _ in pairs]
    tops = np.concatenate([one.scores for one in decoded])
    hits = np.concatenate(
        [are_hits(one, sample.instances) for one, (_, sample) in zip(decoded, pairs, strict=True) if sample.instances]
    )
    assert tops.mean() == pytest.approx(hits.mean(), abs=0.1)


def grids_of(truth: Instances, boxes: Any) -> Any:
    return mask_grids(truth, boxes, 28)


@pytest.mark.parametrize(("name", "widths"), [("resnet18", (8, 16, 32, 64)), ("swin_tiny_patch4_window7_224", ())])
def test_backbones_by_name_give_five_levels(name: str, widths: tuple[int, ...]) -> None:
    pyramid = Pyramid(name, 1, 16, widths=widths)
    with torch.inference_mode():
        levels = pyramid(torch.rand(1, 1, 64, 128))
    expected = [(1, 16, 64 // stride, 128 // stride) for stride in (4, 8, 16, 32, 64)]
    assert [tuple(level.shape) for level in levels] == expected


def test_a_stem_of_stride_2_keeps_twice_the_resolution() -> None:
    pyramid = Pyramid("resnet18", 1, 16, widths=(8, 16, 32, 64), stem_stride=2)
    assert pyramid.strides == (2, 4, 8, 16, 32)
    assert tuple(pyramid(torch.rand(1, 1, 64, 64))[0].shape) == (1, 16, 32, 32)
    with pytest.raises(ConfigError, match="does not begin with a convolution of stride 2"):
        Pyramid("swin_tiny_patch4_window7_224", 1, 16, stem_stride=2)


def test_unknown_backbones_and_faulty_configs_are_refused() -> None:
    with pytest.raises(ConfigError, match="backbone 'resnet17' cannot be used"):
        Pyramid("resnet17")
    with pytest.raises(ValueError, match="anchor_sizes must be 5 tuples"):
        RcnnConfig(anchor_sizes=((8,), (16,)))
    with pytest.raises(ValueError, match="stages must increase"):
        RcnnConfig(stages=(0.7, 0.5))


def test_frozen_parts_do_not_learn() -> None:
    pyramid = Pyramid("resnet18", 1, 16, widths=(8, 16, 32, 64))
    frozen = frozen_parameters(pyramid, 2, norms=False)
    names = {name for name, parameter in pyramid.body.named_parameters() if parameter in frozen}
    assert all(name.startswith(("conv1", "bn1", "layer1")) for name in names)
    assert len(names) == sum(name.startswith(("conv1", "bn1", "layer1")) for name, _ in pyramid.body.named_parameters())
    norms = frozen_parameters(pyramid, 0, norms=True)
    assert norms == {p for name, p in pyramid.body.named_parameters() if "bn" in name or "downsample.1" in name}


def test_backbone_weights_load_from_a_local_file_with_grey_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = timm.create_model("resnet18", channels=(8, 16, 32, 64)).state_dict()
    save_file(weights, tmp_path / "backbone.safetensors")
    config = RcnnConfig(widths=(8, 16, 32, 64), pretrained=str(tmp_path / "backbone.safetensors"))
    body: Any = build_network(config).backbone.body
    torch.testing.assert_close(body.layer2[0].conv1.weight, weights["layer2.0.conv1.weight"])
    torch.testing.assert_close(body.conv1.weight, weights["conv1.weight"].sum(dim=1, keepdim=True))


def test_a_detectors_weights_load_into_every_stage_of_a_cascade(tmp_path: Path) -> None:
    theirs = torchvision_model(0.5)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    config = THEIRS.model_copy(update={"stages": (0.5, 0.6, 0.7), "pretrained": str(tmp_path / "weights.pth")})
    net = build_network(config)
    for head in net.box_heads:
        torch.testing.assert_close(head.fc6.weight, theirs.roi_heads.box_head.fc6.weight)


def test_heads_of_other_classes_stay_new_and_are_named(tmp_path: Path) -> None:
    torch.save(torchvision_model(0.5).state_dict(), tmp_path / "weights.pth")
    net = build_network(THEIRS.model_copy(update={"class_names": ("x",), "pretrained": str(tmp_path / "weights.pth")}))
    (taken,) = all_taken(net)
    assert {name.rpartition(".")[0] for name in taken.new} == {
        "box_predictors.0.cls_score",
        "box_predictors.0.bbox_pred",
        "mask_predictor.mask_fcn_logits",
    }


def test_a_detector_of_another_backbone_is_refused(tmp_path: Path) -> None:
    torch.save(torchvision_model(0.5).state_dict(), tmp_path / "weights.pth")
    deeper = THEIRS.model_copy(update={"backbone": "resnet101", "pretrained": str(tmp_path / "weights.pth")})
    with pytest.raises(
        ConfigError, match=r"belongs to another network: of the .* are not in it, first backbone\.body\.layer"
    ):
        build_network(deeper)


def test_files_that_hold_no_fitting_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.pth not found"):
        build_network(RcnnConfig(pretrained=str(tmp_path / "none.pth")))
    (tmp_path / "text.pth").write_text("nothing")
    with pytest.raises(ConfigError, match=r"text\.pth cannot be read"):
        build_network(RcnnConfig(pretrained=str(tmp_path / "text.pth")))
    save_file({"other": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match=r"no weight of .* fits this network"):
        build_network(RcnnConfig(pretrained=str(tmp_path / "other.safetensors")))


def test_imagenet_normalisation_is_that_of_three_equal_channels() -> None:
    torch.manual_seed(0)
    grey = Pyramid("resnet18", 1, 16, widths=(8, 16, 32, 64), imagenet_normalisation=True).eval()
    image = torch.rand(1, 1, 64, 64)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = grey.body((image.repeat(1, 3, 1, 1) - mean[:, None, None]) / deviation[:, None, None])
    seen: list[Any] = []
    grey.fpn.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    grey(image)
    torch.testing.assert_close(list(seen[0].values()), list(expected))
