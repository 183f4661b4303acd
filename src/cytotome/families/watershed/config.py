"""Options of the watershed family: its three networks, their targets, losses and decoders."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from cytotome.contract import DecodeParameters, FamilyConfig
from cytotome.nets.trunk_config import Blocks, Widths, check_levels, check_pretrained

LEVEL_EDGES = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 17.0, 20.0, 24.0, 28.0, 34.0)


class WatershedConfig(FamilyConfig):
    """Networks, targets and losses.

    Attributes:
        network: network of the semantic stage: ``compact`` is a residual U-Net with a half-resolution trunk, ``timm`` a
            U-Net on any timm encoder.
        widths, blocks: channels of the levels of ``compact``, finest first, and the number of residual blocks in each.
        encoder: timm name of the encoder of ``timm``.
        pretrained: initial weights of the encoder: false for none, true for timm's ImageNet weights (needs internet
            access or timm's cache), or the path of a ``.pth`` or ``.safetensors`` file.
        direction_network: ``compact``, or ``vgg`` for the trunk with side branches of Bai and Urtasun 2017.
        direction_widths, direction_blocks: channels of its levels, and the number of blocks (``compact``) or
            convolutions (``vgg``) in each.
        energy_network, energy_widths, energy_blocks: the same for the network from directions to energy levels.
        distance: distance to the boundary of the pixel's own instance, or to that of the ``union`` of all, which
            ignores where instances touch.
        level_edges: distances in pixels of the network's input at which each energy level starts; level 0 is
            background, level 1 starts at the boundary.
        level_weights: weight of each energy level in its loss; empty for ``1 + 1 / level``, which emphasises the levels
            at which instances are split.
        dice: weight of each of the two Dice losses, cell and wall; the rest is cross entropy.
        semantic_weight, direction_weight, energy_weight: weights of the losses in the joint stage; a weight of 0 for
            the semantic loss freezes its network.
        type_weight: weight of the cell type's cross entropy, relative to the semantic loss.
    """

    input_scale: float = Field(default=1.5, gt=0, le=8)
    network: Literal["compact", "timm"] = "compact"
    widths: Widths = (24, 48, 96, 192)
    blocks: Blocks = (0, 2, 2, 2)
    encoder: str = "resnet18"
    pretrained: bool | str = False
    direction_network: Literal["compact", "vgg"] = "compact"
    direction_widths: Widths = (24, 48, 96, 128)
    direction_blocks: Blocks = (0, 2, 2, 2)
    energy_network: Literal["compact", "vgg"] = "compact"
    energy_widths: Widths = (24, 48, 64)
    energy_blocks: Blocks = (1, 1, 1)
    distance: Literal["instance", "union"] = "instance"
    level_edges: tuple[float, ...] = LEVEL_EDGES
    level_weights: tuple[float, ...] = ()
    dice: float = Field(default=0.2, ge=0, le=0.5)
    semantic_weight: float = Field(default=1.0, ge=0)
    direction_weight: float = Field(default=1.0, ge=0)
    energy_weight: float = Field(default=1.0, gt=0)
    type_weight: float = Field(default=0.1, ge=0)

    @property
    def levels(self) -> int:
        """Number of energy levels, including background."""
        return len(self.level_edges) + 2

    @field_validator("level_edges")
    @classmethod
    def _check_edges(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if not edges or edges[0] <= 1 or any(second <= first for first, second in pairwise(edges)):
            raise ValueError(f"must be one or more increasing distances above 1, such as 2, 3, 5, got {edges}")
        return edges

    @field_validator("level_weights")
    @classmethod
    def _check_weights(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if any(weight < 0 for weight in weights):
            raise ValueError(f"must be 0 or more, got {weights}")
        return weights

    def model_post_init(self, context: object, /) -> None:
        """Checks combinations of fields."""
        check_pretrained(self.pretrained, self.network, self.network == "timm")
        for trunk in ("", "direction_", "energy_"):
            check_levels(getattr(self, f"{trunk}widths"), getattr(self, f"{trunk}blocks"), trunk)
        if self.level_weights and len(self.level_weights) != self.levels:
            raise ValueError(
                f"level_weights must have a number for each of the {self.levels} levels, got {len(self.level_weights)}"
            )


class WatershedParameters(DecodeParameters):
    """Decoder parameters; areas are in pixels of the image, energies in levels.

    Attributes:
        decoder: ``cut`` labels the components above ``level`` and grows them back; ``watershed`` floods the energy from
            its maxima down.
        energy: pixels of a higher energy belong to a cell.
        level: the cut keeps pixels of a higher energy, and pixels of a cell that are not wall.
        wall: minimum wall probability of wall pixels, at which cells can be split; 0 allows splits anywhere, as in the
            paper.
        core_area: minimum pixels of a component of the cut to become a cell; smaller ones are assigned to adjacent
            cells.
        growth: maximum number of pixels by which components grow back.
        dynamics: minimum dynamics of the maxima from which the watershed floods.
        max_area: larger instances are dropped.
        score_weights: logistic weights of the features that :data:`~.decode.FEATURES` names; they yield the expected
            precision at IoU 0.5.
    """

    decoder: Literal["cut", "watershed"] = "cut"
    energy: float = Field(default=0.5, ge=0)
    level: float = Field(default=1.5, ge=0)
    wall: float = Field(default=0.5, ge=0, le=1)
    core_area: int = Field(default=4, ge=1)
    growth: int = Field(default=12, ge=0)
    dynamics: float = Field(default=0.75, gt=0)
    max_area: int = Field(default=1_000_000, ge=1)
    score_weights: tuple[float, ...] = (4.0, 0.0, 0.0, 0.0, 0.0, -2.0)

    search: ClassVar[dict[str, tuple[float, ...]]] = {
        "energy": (0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5),
        "level": (0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0),
        "wall": (0.0, 0.05, 0.1, 0.2, 0.3, 0.5),
        "min_score": (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
        "min_area": (15, 30, 45, 60, 80, 100, 130, 160),
        "core_area": (2, 4, 8, 15, 30),
        "dynamics": (0.25, 0.5, 0.75, 1.0, 1.5, 2.0),
    }
