"""What can be set of the embedding family: its network, its losses and its decoders."""

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
            with cells, and distinguishes background, cell and border on the embeddings.
        dimensions: of an embedding.
        periods: wave lengths in pixels; the network then also predicts a shift, and waves of each pixel's shifted
            place are added to its embedding, so that cells far apart differ by where they are (after Kulikov and
            Lempitsky 2020). Each takes 4 dimensions; none leaves places out.
        network: ``compact`` is our residual U-Net with half-resolution trunk; the others have a timm encoder, and the
            decoder of a U-Net, of RefineNet, or a light one of transposed convolutions.
        widths: channels of the levels of ``compact``, from the finest on.
        blocks: residual blocks in each level of the encoder of ``compact``.
        encoder: timm name of the encoder.
        pretrained: weights of the encoder to start from: false for none, true for timm's of ImageNet (needs a network
            or timm's cache), or the path of a ``.pth`` or ``.safetensors`` file of such weights.
        loss: ``contrast`` or, for the variant ``instances``, ``discriminative`` (De Brabandere et al. 2017).
        sampler: which pixels are contrasted: any, those of a window, of a cell's box, of bands around outlines, or
            the sum of the losses of a window and of bands.
        pixels: largest number of pixels of one set.
        sets: sets that are drawn from each crop.
        temperature: of the contrast.
        balanced: each label of a set counts alike, whatever the number of its pixels.
        window_side: side of a window.
        box_padding: padding of a cell's box.
        contour_cells: cells of one set of bands.
        contour_kernel: size of the dilation and erosion that make a band.
        pull_margin, push_margin: of the discriminative loss, on the unit sphere.
        border: cell pixels this near to another cell are border, in the variant ``binary``.
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
    """How instances are made of the maps; lengths and areas are in pixels of the image.

    Attributes:
        decoder: ``connected`` clusters neighbouring pixels at full resolution; ``resized`` clusters all pixels of a
            small map, wherever they lie. The variant ``binary`` has a decoder of its own.
        similarity: clusters of a lower mean cosine similarity stay apart.
        cell_threshold: pixels of a higher cell probability belong to a cell.
        gap: parts of a cell at most this far apart are joined; 0 joins none.
        gap_similarity: least similarity of such parts.
        resized_shape: height and width of the small map of ``resized``.
        erosion: pixels of the small map by which clusters are eroded before their parts are distinguished.
        growth: pixels by which cells grow back over their border, in the variant ``binary``.
        max_area: larger instances are dropped.
        score_weights: logistic weights of the features that :func:`~.decode.features` names, the last one the
            constant; they give the expected precision at IoU 0.5.
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
