"""Options of the embedding family: network, losses and decoders."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from cytotome.contract import DecodeParameters, FamilyConfig
from cytotome.nets.trunk_config import Blocks, Widths, check_levels, check_pretrained

Sampler = Literal["uniform", "window", "box", "contours", "window+contours"]


class EmbeddingConfig(FamilyConfig):
    """Network and losses; lengths are in pixels of the network's input.

    Attributes:
        variant: ``instances`` contrasts each cell with the others and the background; ``binary`` contrasts background
            with cells, and classifies background, cell and border from the embeddings.
        dimensions: number of dimensions of an embedding.
        periods: wavelengths in pixels of a sinusoidal position embedding: the network also predicts a shift, and the
            embedding of each pixel's shifted position is added to its vector, so that distant cells differ by position
            (after Kulikov and Lempitsky 2020). Each wavelength takes 4 dimensions; empty for no position embedding.
        network: ``compact`` is a residual U-Net with a half-resolution trunk; the others have a timm encoder and the
            decoder of a U-Net, of RefineNet, or a light one of transposed convolutions.
        widths: channels of the levels of ``compact``, finest first.
        blocks: number of residual blocks in each level of the encoder of ``compact``.
        encoder: timm name of the encoder.
        pretrained: initial weights of the encoder: false for none, true for timm's ImageNet weights (needs internet
            access or timm's cache), or the path of a ``.pth`` or ``.safetensors`` file.
        loss: ``contrast`` or, for the variant ``instances``, ``discriminative`` (De Brabandere et al. 2017).
        sampler: which pixels are contrasted: any pixels, those of a window, of a cell's box or of bands around
            outlines, or the sum of the losses of a window and of bands.
        pixels: maximum number of pixels of one set.
        sets: number of sets that are drawn from each crop.
        temperature: temperature of the contrastive loss.
        balanced: give each label of a set the same weight, regardless of its number of pixels.
        window_side: side of a window.
        box_padding: padding of a cell's box.
        contour_cells: number of cells of one set of bands.
        contour_kernel: size of the dilation and erosion that define a band.
        pull_margin, push_margin: margins of the discriminative loss, on the unit sphere.
        border: in the variant ``binary``, cell pixels within this distance of another cell are border.
        border_weight: weight of border pixels in the classifier's loss.
        embedding_weight, cell_weight, type_weight: weights of the losses.
    """

    variant: Literal["instances", "binary"] = "instances"
    dimensions: int = Field(default=8, ge=2, le=256)
    periods: tuple[Annotated[float, Field(gt=2)], ...] = (32.0, 96.0)
    network: Literal["compact", "unet", "refine", "light"] = "compact"
    widths: Widths = (32, 64, 128, 256)
    blocks: Blocks = (0, 2, 2, 2)
    encoder: str = "resnet18"
    pretrained: bool | str = False
    loss: Literal["contrast", "discriminative"] = "contrast"
    sampler: Sampler = "window"
    pixels: int = Field(default=1024, ge=2)
    sets: int = Field(default=4, ge=1)
    temperature: float = Field(default=0.2, ge=0.02)
    balanced: bool = True
    window_side: int = Field(default=85, ge=2)
    box_padding: int = Field(default=10, ge=1)
    contour_cells: int = Field(default=10, ge=1)
    contour_kernel: int = Field(default=7, ge=3)
    pull_margin: float = Field(default=0.2, ge=0)
    push_margin: float = Field(default=0.5, gt=0)
    border: int = Field(default=2, ge=1, le=20)
    border_weight: float = Field(default=3.0, gt=0)
    embedding_weight: float = Field(default=1.0, ge=0)
    cell_weight: float = Field(default=1.0, ge=0)
    type_weight: float = Field(default=0.1, ge=0)

    @model_validator(mode="after")
    def _check(self) -> EmbeddingConfig:
        check_pretrained(self.pretrained, self.network, self.network != "compact")
        if self.network == "compact":
            check_levels(self.widths, self.blocks)
        if 4 * len(self.periods) > self.dimensions:
            raise ValueError(
                f"periods: each takes 4 dimensions, so dimensions must be at least {4 * len(self.periods)}, got "
                f"{self.dimensions}"
            )
        if self.variant == "binary" and self.loss == "discriminative":
            raise ValueError(
                "loss: the variant binary supports only loss=contrast; choose variant=instances or loss=contrast"
            )
        return self


class EmbeddingParameters(DecodeParameters):
    """Decoder parameters; lengths and areas are in pixels of the image.

    Attributes:
        decoder: ``connected`` clusters neighbouring pixels at full resolution; ``resized`` clusters all pixels of a
            small map, regardless of their position. The variant ``binary`` has its own decoder.
        similarity: clusters of a lower mean cosine similarity are not merged.
        cell_threshold: pixels of a higher cell probability belong to a cell.
        gap: maximum distance between parts of a cell that are joined; 0 joins none.
        gap_similarity: minimum similarity of such parts.
        resized_shape: height and width of the small map of ``resized``.
        erosion: pixels of the small map by which clusters are eroded before they are split into parts.
        growth: in the variant ``binary``, pixels by which cells grow back over their border.
        max_area: larger instances are dropped.
        score_weights: logistic weights of the features that :func:`~.decode.features` names, the last one is the
            constant; they yield the expected precision at IoU 0.5.
    """

    decoder: Literal["connected", "resized"] = "connected"
    similarity: float = Field(default=0.7, ge=-1, le=1)
    cell_threshold: float = Field(default=0.5, ge=0, le=1)
    gap: int = Field(default=6, ge=0, le=50)
    gap_similarity: float = Field(default=0.98, ge=-1, le=1)
    resized_shape: tuple[int, int] = (128, 160)
    erosion: int = Field(default=1, ge=0, le=10)
    growth: int = Field(default=4, ge=0, le=50)
    max_area: int = Field(default=1_000_000, ge=1)
    score_weights: tuple[float, ...] = (4.0, 1.0, -1.0, 0.0, -1.0)

    search: ClassVar[dict[str, tuple[float, ...]]] = {
        "similarity": (0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9),
        "cell_threshold": (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8),
        "min_score": (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
        "min_area": (15, 30, 45, 60, 80, 100, 130, 160),
        "gap": (0, 3, 6, 10),
    }
