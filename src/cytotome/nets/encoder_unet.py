"""U-Net on any timm encoder, by segmentation-models-pytorch."""

from __future__ import annotations

from collections.abc import Mapping

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from cytotome.errors import ConfigError
from cytotome.nets.heads import split_heads


class EncoderUNet(nn.Module):
    """U-Net decoder over the five levels of a timm encoder.

    Args:
        encoder: timm name, such as ``resnet18`` or ``tf_efficientnetv2_s``.
        channels: of the input.
        fine_heads: name to channels of the outputs at the input's resolution.
        deep_heads: name to channels of the outputs on the deepest features.
        pretrained: load the encoder's ImageNet weights through timm.

    Raises:
        ConfigError: where timm has no such encoder or it gives no feature pyramid.
    """

    def __init__(
        self,
        encoder: str,
        channels: int,
        fine_heads: Mapping[str, int],
        deep_heads: Mapping[str, int],
        *,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.stride = 32
        try:
            self.unet = smp.Unet(
                f"tu-{encoder}",
                encoder_weights="imagenet" if pretrained else None,
                in_channels=channels,
                classes=sum(fine_heads.values()),
            )
        except (RuntimeError, ValueError, KeyError, AttributeError) as error:
            raise ConfigError(
                f"encoder {encoder!r} cannot be used for a U-Net: {error}; see timm.list_models()"
            ) from error
        self.fine_heads = dict(fine_heads)
        deepest = self.unet.encoder.out_channels[-1]
        self.deep = nn.ModuleDict({name: nn.Conv2d(deepest, count, 1) for name, count in deep_heads.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Named logits of ``(B, C, H, W)`` images whose sides are multiples of ``stride``."""
        features = self.unet.encoder(images)
        outputs = {name: head(features[-1]) for name, head in self.deep.items()}
        logits = self.unet.segmentation_head(self.unet.decoder(features))
        return {**outputs, **split_heads(logits, self.fine_heads)}
