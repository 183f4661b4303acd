"""Encoders of timm with each decoder: sizes, gradients, what each decoder is made of, weights from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from cytotome.errors import ConfigError
from cytotome.families import get_family
from cytotome.nets import pretrained
from cytotome.nets.encoder_decoder import EncoderDecoder
from cytotome.nets.pretrained import all_taken, learned
from cytotome.nets.refine import RefineDecoder
from cytotome.nets.transposed import TransposedDecoder

FINE, DEEP = {"embedding": 8, "cell": 1}, {"cell_type": 3}
DECODERS = ("unet", "refine", "light", "compact")
WIDTHS = (8, 12, 16, 24, 32)


@pytest.mark.parametrize("decoder", DECODERS)
def test_outputs_have_the_input_size_and_every_weight_a_gradient(decoder: str) -> None:
    torch.manual_seed(0)
    net = EncoderDecoder("test_resnet", decoder, 3, FINE, DEEP, widths=WIDTHS)  # type: ignore[arg-type]
    outputs = net(torch.randn(2, 3, 64, 96))
    shapes = {name: tuple(output.shape) for name, output in outputs.items()}
    assert shapes == {"cell_type": (2, 3, 2, 3), "embedding": (2, 8, 64, 96), "cell": (2, 1, 64, 96)}
    sum(output.square().sum() for output in outputs.values()).backward()
    assert [key for key, weight in net.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_fine_detail_reaches_the_output_by_the_skip_connections(decoder: str) -> None:
    """With deepest features that are cut off, the image still decides the output."""
    torch.manual_seed(0)
    net = EncoderDecoder("test_resnet", decoder, 1, FINE, {}, widths=WIDTHS).eval()  # type: ignore[arg-type]
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        features = net.encoder(image)
        for level in features[2:]:
            level.zero_()
        seen = net.decoder(features if net.whole_pyramid else features[1:])
        features[1].zero_()
        if net.whole_pyramid:
            features[0].zero_()
        blind = net.decoder(features if net.whole_pyramid else features[1:])
    assert (seen - blind).abs().mean() > 0.05 * blind.abs().mean()


def test_refinenet_blocks_of_zero_convolutions_add_up_the_levels() -> None:
    """With all convolutions but the laterals and the fusions silent, a block is the sum of its two inputs' fusions."""
    decoder = RefineDecoder((4, 4), width=4)
    identity = torch.zeros(4, 4, 3, 3)
    identity[range(4), range(4), 1, 1] = 1
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            passes = ("lateral" in name or "fuse" in name) and name.endswith("weight")
            weight.copy_(identity) if passes else weight.zero_()
        fine, deep = torch.rand(1, 4, 8, 8), torch.rand(1, 4, 4, 4)
        result = decoder([fine, deep])
        double = nn.Upsample(scale_factor=2, mode="bilinear")
        torch.testing.assert_close(result, double(fine + double(deep)))


def test_the_light_decoder_is_light() -> None:
    def size(net: nn.Module) -> int:
        return sum(weight.numel() for weight in net.parameters())

    channels = (64, 64, 128, 256, 512)
    unet = EncoderDecoder("resnet18", "unet", 1, FINE, {}).decoder
    assert size(TransposedDecoder(channels)) < 0.25 * size(unet)
    assert size(RefineDecoder(channels)) < size(unet)


def test_pretrained_weights_come_by_timm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file stands in for the download: the encoder has its weights, and not without being asked."""
    torch.manual_seed(5)
    known = timm.create_model("test_resnet", num_classes=1000).state_dict()
    torch.save(known, tmp_path / "weights.pth")
    monkeypatch.setattr(pretrained, "hub_file", lambda *names: str(tmp_path / "weights.pth"))
    net = EncoderDecoder("test_resnet", "light", 3, FINE, {}, pretrained=True)
    with_weights = net.state_dict()
    without = EncoderDecoder("test_resnet", "light", 3, FINE, {}).state_dict()
    keys = [key for key in with_weights if key.startswith("encoder.") and key.endswith("conv1.weight")]
    assert keys
    for key in keys:
        source = known[key.removeprefix("encoder.model.")]
        torch.testing.assert_close(with_weights[key], source)
        assert not torch.equal(without[key], source)
    (taken,) = all_taken(net)
    licence = timm.get_pretrained_cfg("test_resnet").license  # which older versions of timm do not know
    assert taken.licence == (f"{licence} (timm's weights of test_resnet)" if licence else "")
    count = len(learned(net.encoder.state_dict()))
    assert taken.text() == f"pretrained: took {count} of {count} tensors from timm's test_resnet"


@pytest.mark.parametrize("named", ["by us", "by others", "by others, as RGB"])
def test_pretrained_weights_come_from_a_file(named: str, tmp_path: Path) -> None:
    """By their names, or in their order where others named them; what follows, such as a classifier, is left."""
    torch.manual_seed(5)
    source = timm.create_model("tf_efficientnet_lite0", in_chans=3 if named.endswith("RGB") else 1)
    weights = source.state_dict()
    torch.save(
        weights if named == "by us" else {f"theirs.{i}": value for i, value in enumerate(weights.values())},
        tmp_path / "weights.pth",
    )
    path = str(tmp_path / "weights.pth")
    net = EncoderDecoder("tf_efficientnet_lite0", "compact", 1, FINE, {}, pretrained=path, widths=WIDTHS).eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        features = source.eval().forward_intermediates(image.expand(-1, source.conv_stem.in_channels, -1, -1))[1]
        for found, expected in zip(net.encoder(image)[1:], features, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    torch.save({"first": torch.rand(2, 2), "second": torch.rand(3)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"pretrained: no weight of '.*other\.pth' fits this network"):
        EncoderDecoder("test_resnet", "light", 1, FINE, {}, pretrained=str(tmp_path / "other.pth"))
    with pytest.raises(ConfigError, match=r"pretrained: .*none\.pth not found"):
        EncoderDecoder("test_resnet", "light", 1, FINE, {}, pretrained=str(tmp_path / "none.pth"))


def test_unknown_encoder_is_named() -> None:
    with pytest.raises(ConfigError, match=r"encoder 'resnet_of_nobody'.*list_models"):
        EncoderDecoder("resnet_of_nobody", "light", 1, FINE, DEEP)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("flow", {"network": "timm"}),
        ("flow", {"network": "timm", "decoder": "compact", "widths": WIDTHS}),
        ("embedding", {"network": "light"}),
        ("watershed", {"network": "timm"}),
        ("rcnn", {"backbone": "compact", "widths": WIDTHS}),
    ],
)
def test_every_family_with_such_an_encoder_takes_a_file(
    family: str, options: dict[str, object], tmp_path: Path
) -> None:
    torch.manual_seed(6)
    source = timm.create_model("test_resnet", in_chans=1).state_dict()
    torch.save(source, tmp_path / "weights.pth")
    made = get_family(family)
    config = made.config(**{"encoder": "test_resnet", "pretrained": str(tmp_path / "weights.pth"), **options})
    weights = made.build(config).state_dict()
    found = [value for name, value in weights.items() if name.endswith("encoder.model.layer1.0.conv1.weight")]
    assert len(found) == 1
    torch.testing.assert_close(found[0], source["layer1.0.conv1.weight"])
