"""Options of the R-CNN family: network, training and decoder."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from cytotome.contract import DecodeParameters, FamilyConfig
from cytotome.nets.trunk_config import Blocks, check_levels

Fraction = Annotated[float, Field(ge=0, le=1)]
AtLeastOne = Annotated[int, Field(ge=1)]

COMPACT = "compact"
COMPACT_LEVELS = 5


class RcnnConfig(FamilyConfig):
    """Network and training. One stage is Mask R-CNN (He et al. 2017), several are Cascade Mask R-CNN.

    The defaults are a small network that can be trained on a CPU; recipes use the published sizes.

    Attributes:
        backbone: timm name of a network with at least four levels; ``compact`` is the U-Net of ``flow``, which can be
            initialised from models of that family.
        widths: channels of a ResNet's four stages before expansion; empty for the defaults. For ``compact``, channels
            of its five levels.
        encoder: timm name of the encoder of ``compact``; empty for its own residual encoder.
        blocks: number of residual blocks in each level of the residual encoder of ``compact``.
        pretrained: initial weights: false for none, ``imagenet`` (or true) for timm's weights of the backbone, ``coco``
            for torchvision's Mask R-CNN with ResNet-50 (both need internet access or a cache), or the path of a file of
            either kind, ``.pth`` or ``.safetensors``. Heads whose shapes differ are initialised randomly. For
            ``compact``: true or a file, for its timm encoder.
        imagenet_normalisation: convert the input to three channels with ImageNet's mean and standard deviation.
        stem_stride: stride of the finest level; 2 removes one downsampling step from a convolutional stem.
        frozen_stages: number of stages of the backbone that are not trained; the stem is the first.
        frozen_norm: freeze weights and running statistics of the backbone's batch normalisations.
        pyramid_channels, box_features, mask_channels: channels of the pyramid, box heads and mask head.
        mask_layers: number of convolutions of the mask head.
        norm: normalisation in the pyramid and the mask head; needed without pretrained weights.
        anchor_sizes: sides of the anchors of each of the five levels, in pixels of the image, the same number per
            level.
        anchor_ratios: ratios of height to width.
        stages: minimum IoU with the truth for a proposal to be a cell, for each box head; 0.5, 0.6, 0.7 in the paper
            (Cai and Vasconcelos 2018, arXiv 1712.00726).
        per_class: separate boxes, masks and suppression for each class, as in torchvision; otherwise shared by all
            classes.
        aligned: align pooled cells with their pixels (torchvision's weights are shifted by half a feature pixel).
        proposals: maximum number of proposals per image after suppression, in training and prediction.
        proposals_per_level: maximum number of proposals per level before suppression, in training and prediction.
        box_batch, positive_fraction: number of proposals per crop for training the box heads, and the maximum fraction
            of cells among them.
        mask_batch: maximum number of proposals per crop for training the mask head.
        jitter: add the true boxes to the proposals, and ``jitter_copies`` of each with sides moved by up to this
            fraction of its size.
        target_cells: grid cells along each axis of a mask in the targets.
        least_side: minimum side of an instance's box in pixels of the crop; narrower ones are not used for training.
        candidate_score, candidate_iou, most_candidates: limits of the predictions before the decoder: minimum score,
            box IoU of the suppression, maximum number.
        box_weight, mask_weight, proposal_weight: weights of the losses.
        dense_weight: weight of the loss of ``flow`` on every pixel: flow field and cell against background. Only for
            ``compact``, whose heads predict both; not used for predictions.
    """

    input_scale: float = Field(default=2.0, gt=0, le=8)
    backbone: str = "resnet18"
    widths: tuple[AtLeastOne, ...] = (32, 64, 128, 256)
    encoder: str = ""
    blocks: Blocks = ()
    pretrained: bool | str = False
    imagenet_normalisation: bool = False
    stem_stride: Literal[2, 4] = 4
    frozen_stages: int = Field(default=0, ge=0, le=5)
    frozen_norm: bool = False
    pyramid_channels: AtLeastOne = 64
    box_features: AtLeastOne = 256
    mask_channels: AtLeastOne = 64
    mask_layers: AtLeastOne = 3
    norm: Literal["none", "batch", "group"] = "group"
    anchor_sizes: tuple[tuple[Annotated[float, Field(gt=0)], ...], ...] = (
        (4.0, 8.0),
        (12.0, 16.0),
        (24.0, 32.0),
        (48.0, 64.0),
        (96.0, 128.0),
    )
    anchor_ratios: tuple[Annotated[float, Field(gt=0)], ...] = (0.5, 1.0, 2.0)
    stages: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(default=(0.5,), min_length=1)
    per_class: bool = False
    aligned: bool = True
    proposals: tuple[AtLeastOne, AtLeastOne] = (1000, 2500)
    proposals_per_level: tuple[AtLeastOne, AtLeastOne] = (1000, 3000)
    box_batch: AtLeastOne = 256
    positive_fraction: Fraction = 0.25
    mask_batch: AtLeastOne = 32
    jitter: Fraction = 0.15
    jitter_copies: int = Field(default=4, ge=0)
    target_cells: AtLeastOne = 64
    least_side: float = Field(default=2.0, ge=0)
    candidate_score: Fraction = 0.05
    candidate_iou: Fraction = 0.7
    most_candidates: AtLeastOne = 1500
    box_weight: float = Field(default=2.0, ge=0)
    mask_weight: float = Field(default=1.0, ge=0)
    proposal_weight: float = Field(default=1.0, ge=0)
    dense_weight: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> RcnnConfig:
        if len(self.anchor_sizes) != 5 or len({len(sizes) for sizes in self.anchor_sizes}) != 1:
            raise ValueError(
                f"anchor_sizes must be 5 tuples of equal length, one per level, "
                f"got {[list(s) for s in self.anchor_sizes]}"
            )
        if list(self.stages) != sorted(self.stages):
            raise ValueError(f"stages must increase, since each refines the previous one, got {list(self.stages)}")
        if self.backbone == COMPACT:
            self._check_compact()
        elif self.dense_weight or self.encoder:
            name = "dense_weight" if self.dense_weight else "encoder"
            raise ValueError(f"{name} needs backbone: {COMPACT}, got {self.backbone}; omit it")
        return self

    def _check_compact(self) -> None:
        if not self.encoder:
            check_levels(self.widths, self.blocks)
        if len(self.widths) != COMPACT_LEVELS:
            raise ValueError(f"backbone {COMPACT} needs {COMPACT_LEVELS} widths, got {len(self.widths)}")
        others = ["imagenet_normalisation", "stem_stride", "frozen_stages", "frozen_norm"]
        for name in others if self.encoder else ["pretrained", *others]:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} applies to timm backbones; omit it with backbone: {COMPACT}")


class RcnnParameters(DecodeParameters):
    """Decoder parameters; lengths and areas are in pixels of the image.

    The parameters of a cell type apply to images in which it is the majority of the detections, weighted by score.

    Attributes:
        mask_threshold: pixels of a higher probability belong to the mask.
        nms_iou: of two masks with a higher IoU, the one with the lower score is dropped.
        max_area: larger instances are dropped.
        score_weights: logistic weights of the log odds of box score times mean mask probability, of the logarithm of
            the area, and the constant; they yield the expected precision at IoU 0.5.
    """

    min_score: Fraction = 0.3
    mask_threshold: float = Field(default=0.5, ge=0, lt=1)
    nms_iou: float = Field(default=0.4, ge=0, le=1)
    max_area: int = Field(default=1_000_000, ge=1)
    score_weights: tuple[float, ...] = (1.0, 0.0, 0.0)

    search: ClassVar[dict[str, tuple[float, ...]]] = {
        "min_score": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8),
        "mask_threshold": (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65),
        "nms_iou": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        "min_area": (15, 30, 45, 60, 80, 100, 130, 160),
        "max_area": (1000, 2000, 4000, 8000, 1_000_000),
    }
