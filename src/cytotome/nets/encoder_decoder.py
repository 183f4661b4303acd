"""Any timm encoder with one of four decoders: U-Net, RefineNet, light transposed convolutions, compact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torch.nn import functional

from cytotome.errors import ConfigError
from cytotome.nets.compact import CompactDecoder
from cytotome.nets.depthwise import speed_up_depthwise
from cytotome.nets.heads import split_heads
from cytotome.nets.pretrained import Taken, learned, load_encoder, remember, timm_weights
from cytotome.nets.refine import RefineDecoder
from cytotome.nets.transposed import TransposedDecoder

DecoderName = Literal["unet", "refine", "light", "compact"]
LEVELS = 5
UNET_WIDTHS = (256, 128, 64, 32, 16)


class EncoderDecoder(nn.Module):
    """Five levels of a timm encoder, a decoder with skip connections, and named heads.

    Args:
        encoder: timm name, such as ``resnet18`` or ``tf_efficientnetv2_m``.
        decoder: ``unet`` (Ronneberger et al. 2015), ``refine`` (:class:`~.refine.RefineDecoder`), ``light``
            (:class:`~.transposed.TransposedDecoder`) or ``compact`` (:class:`~.compact.CompactDecoder`).
        channels: channels of the input.
        fine_heads: channels of the outputs at the input's resolution, by name.
        deep_heads: channels of the outputs on the deepest features, by name.
        pretrained: true or ``imagenet`` to load the encoder's ImageNet weights with timm, or the path of a file.
        widths: channels of the decoder ``compact`` at each level, finest first.

    Raises:
        ConfigError: if timm has no such encoder, it has no feature pyramid, or the file does not fit.
    """

    def __init__(
        self,
        encoder: str,
        decoder: DecoderName,
        channels: int,
        fine_heads: Mapping[str, int],
        deep_heads: Mapping[str, int],
        *,
        pretrained: bool | str = False,
        widths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.stride = 2**LEVELS
        from_timm = pretrained in (True, "imagenet")
        options, licence = timm_weights(encoder) if from_timm else ({}, "")
        weights = options.pop("pretrained", None)
        try:
            self.encoder = get_encoder(f"tu-{encoder}", in_channels=channels, depth=LEVELS, weights=weights, **options)
        except (RuntimeError, ValueError, KeyError, AttributeError, OSError) as error:
            raise ConfigError(f"encoder {encoder!r} cannot be used: {error}; see timm.list_models()") from error
        speed_up_depthwise(self.encoder)
        if from_timm:
            count = len(learned(self.encoder.model.state_dict()))
            remember(self.encoder, Taken(f"timm's {encoder}", count, licence=licence))
        elif pretrained:
            remember(self.encoder, load_encoder(self.encoder.model, Path(str(pretrained))))
        counts = tuple(self.encoder.out_channels)
        self.whole_pyramid = decoder == "unet"
        self.decoder, width = _make_decoder(decoder, counts, widths)
        self.enlargement = int(getattr(self.decoder, "stride", 1))
        self.fine_heads = dict(fine_heads)
        self.fine = nn.Conv2d(width, self.enlargement**2 * sum(fine_heads.values()), 3, padding=1)
        self.deep = nn.ModuleDict({name: nn.Conv2d(counts[-1], count, 1) for name, count in deep_heads.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns named logits for ``(B, C, H, W)`` images whose sides are multiples of ``stride``."""
        features = self.encoder(images)
        outputs = {name: head(features[-1]) for name, head in self.deep.items()}
        return outputs | self.fine_logits(self.decoder(features if self.whole_pyramid else features[1:]))

    def features(self, images: Tensor) -> list[Tensor]:
        """Returns the levels of the decoder ``compact``, from the finest, at half the images' size, to the deepest."""
        assert isinstance(self.decoder, CompactDecoder)
        return self.decoder.levels(self.encoder(images)[1:])

    def fine_logits(self, finest: Tensor) -> dict[str, Tensor]:
        """Returns named logits at the images' resolution from the decoder's finest features."""
        return split_heads(functional.pixel_shuffle(self.fine(finest), self.enlargement), self.fine_heads)


def _make_decoder(decoder: DecoderName, counts: tuple[int, ...], widths: Sequence[int]) -> tuple[nn.Module, int]:
    """Builds the decoder from the channels of the levels, starting with the input; also returns its output channels."""
    if decoder == "compact":
        return CompactDecoder(counts[1:], widths), widths[0]
    if decoder == "unet":
        return UnetDecoder(counts, UNET_WIDTHS, n_blocks=LEVELS), UNET_WIDTHS[-1]
    made = RefineDecoder(counts[1:]) if decoder == "refine" else TransposedDecoder(counts[1:])
    return made, made.out_channels
