"""Options of the flow family: network, losses and decoder."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from cytotome.contract import DecodeParameters, FamilyConfig
from cytotome.nets.trunk_config import Blocks, Widths, check_levels, check_pretrained

ENCODER_LEVELS = 5


class FlowConfig(FamilyConfig):
    """Network and losses.

    Attributes:
        network: ``compact`` is a residual U-Net with a half-resolution trunk; ``timm`` is a U-Net on any timm encoder;
            ``cellpose`` is the residual network with style vector of Stringer et al. 2021.
        widths: channels of the levels of ``compact`` (network or decoder) and ``cellpose``, finest first.
        blocks: number of residual blocks in each level of the encoder of ``compact``.
        encoder: timm name of the encoder of ``timm``.
        decoder: decoder of ``timm``: ``unet``, or ``compact``, which ends at half the resolution.
        pretrained: initial weights of the encoder of ``timm``: false for none, true for timm's ImageNet weights (needs
            internet access or timm's cache), or the path of a ``.pth`` or ``.safetensors`` file.
        flow_weight, cell_weight, type_weight: weights of the three losses.
    """

    input_scale: float = Field(default=1.5, gt=0, le=8)
    network: Literal["compact", "timm", "cellpose"] = "compact"
    widths: Widths = (32, 64, 128, 256)
    blocks: Blocks = (0, 2, 2, 2)
    encoder: str = "resnet18"
    decoder: Literal["unet", "compact"] = "unet"
    pretrained: bool | str = False
    flow_weight: float = Field(default=5.0, ge=0)
    cell_weight: float = Field(default=1.0, ge=0)
    type_weight: float = Field(default=0.1, ge=0)

    @model_validator(mode="after")
    def _check(self) -> FlowConfig:
        check_pretrained(self.pretrained, self.network, self.network == "timm")
        if self.network == "compact":
            check_levels(self.widths, self.blocks)
        elif self.network == "timm" and self.decoder == "compact" and len(self.widths) != ENCODER_LEVELS:
            raise ValueError(f"decoder compact needs {ENCODER_LEVELS} widths, got {len(self.widths)}")
        return self


class FlowParameters(DecodeParameters):
    """Decoder parameters; lengths and areas are in pixels of the image.

    Attributes:
        cell_threshold: pixels of a higher cell probability belong to a cell.
        sink_radius: pixels whose paths end within this distance of each other belong together.
        max_flow_error: instances whose flow differs more from the field of their shape are dropped.
        max_area: larger instances are dropped.
        score_weights: logistic weights of the features that :func:`~.decode.features` names, the last one is the
            constant; they yield the expected precision at IoU 0.5.
    """

    cell_threshold: float = Field(default=0.5, ge=0, le=1)
    sink_radius: int = Field(default=3, ge=1, le=20)
    max_flow_error: float = Field(default=0.8, ge=0)
    max_area: int = Field(default=1_000_000, ge=1)
    score_weights: tuple[float, ...] = (4.0, -4.0, 0.0, 0.0, -1.0)

    search: ClassVar[dict[str, tuple[float, ...]]] = {
        "cell_threshold": (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8),
        "min_score": (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
        "min_area": (15, 30, 45, 60, 80, 100, 130, 160),
        "max_flow_error": (0.3, 0.5, 0.8, 1.2, 2.0),
        "sink_radius": (2, 3, 4, 6, 8, 10),
    }
