"""What can be set of the watershed family: its three networks, their targets, losses and decoders."""

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
        network: of the semantic stage: ``compact`` is our residual U-Net with half-resolution trunk, ``timm`` a U-Net
            on any timm encoder.
        widths, blocks: channels of the levels of ``compact``, from the finest on, and residual blocks of each.
        encoder: timm name of the encoder of ``timm``.
        pretrained: weights of the encoder to start from: false for none, true for timm's of ImageNet (needs a network
            or timm's cache), or the path of a ``.pth`` or ``.safetensors`` file of such weights.
        direction_network: ``compact``, or ``vgg`` for the trunk with side branches of Bai and Urtasun 2017.
        direction_widths, direction_blocks: channels of its levels and blocks (``compact``) or convolutions (``vgg``).
        energy_network, energy_widths, energy_blocks: likewise of the network from directions to energy levels.
        distance: to the boundary of the pixel's own instance, or to the ``union`` of all, which does not know where
            instances touch.
        level_edges: distances in pixels of the network's input at which an energy level begins; level 0 is background,
            level 1 begins at the boundary.
        level_weights: of each energy level in its loss; empty for ``1 + 1 / level``, which favours the levels where
            instances are separated.
        dice: part of the two Dice losses, cell and wall, each; the rest is cross entropy.
        semantic_weight, direction_weight, energy_weight: weights of the losses in the joint stage; a weight of 0 for
            the semantic loss leaves its network as it is.
        type_weight: weight of the cell type's cross entropy beside the semantic loss.
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
        """Energy levels, background included."""
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
        """Checks what takes two fields."""
        check_pretrained(self.pretrained, self.network, self.network == "timm")
        for trunk in ("", "direction_", "energy_"):
            check_levels(getattr(self, f"{trunk}widths"), getattr(self, f"{trunk}blocks"), trunk)
        if self.level_weights and len(self.level_weights) != self.levels:
            raise ValueError(
                f"level_weights must have a number for each of the {self.levels} levels, got {len(self.level_weights)}"
            )


class WatershedParameters(DecodeParameters):
    """How instances are made of the maps; areas are in pixels of the image, energies in levels.

    Attributes:
        decoder: ``cut`` labels what is left above ``level`` and grows it back; ``watershed`` floods the energy from
            its maxima down.
        energy: pixels of a greater energy belong to a cell.
        level: the cut leaves pixels of a greater energy, and those of a cell that are no wall.
        wall: pixels of this wall probability or more are walls, where cells may be separated; 0 lets them be separated
            anywhere, as in the paper.
        core_area: of what the cut leaves, smaller pieces are no cells; the cells around take their pixels.
        growth: pixels by which the pieces grow back at most.
        dynamics: of the maxima that the watershed floods from.
        max_area: larger instances are dropped.
        score_weights: logistic weights of the features that :data:`~.decode.FEATURES` names; they give the expected
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
