"""Pretrained weights are taken whole or refused, and told of at once where they cannot be had."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub
import pytest
import timm
import torch
from torch import nn

from cytotome.errors import ConfigError
from cytotome.families import get_family
from cytotome.families.rcnn.pyramid import Pyramid
from cytotome.nets.encoder_decoder import EncoderDecoder
from cytotome.nets.pretrained import Taken, all_taken, hub_file, learned, load_encoder, timm_weights


def body(name: str, **options: Any) -> Any:
    return timm.create_model(name, features_only=True, **options)


def saved(path: Path, name: str, **options: Any) -> Path:
    torch.manual_seed(3)
    torch.save(timm.create_model(name, **options).state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_a_whole_file_is_taken_whatever_separates_its_names(name: str, tmp_path: Path) -> None:
    """Timm names a stage ``stages.0`` in a network, and ``stages_0`` in its pyramid."""
    encoder = body(name)
    path = saved(tmp_path / "weights.pth", name)
    taken = load_encoder(encoder, path)
    assert (taken.taken, taken.new) == (len(learned(encoder.state_dict())), ())
    theirs = {key.replace(".", "_"): value for key, value in torch.load(path).items()}
    for key, value in learned(encoder.state_dict()).items():
        assert torch.equal(value, theirs[key.replace(".", "_")]), key


@pytest.mark.parametrize(
    ("file", "network", "fault"),
    [
        (
            {"model_name": "resnet18", "channels": (8, 16, 32, 64)},
            {"model_name": "resnet34", "channels": (8, 16, 32, 64)},
            "are not in it, first layer1.2.conv1.weight",
        ),
        (
            {"model_name": "resnet18", "channels": (8, 16, 32, 64)},
            {"model_name": "resnet18", "channels": (16, 16, 32, 64)},
            "have another shape, first layer1.0.conv1.weight, 8x64x3x3 in the file and 16x64x3x3 in the network",
        ),
    ],
)
def test_a_file_of_another_depth_or_width_is_refused(
    file: dict[str, Any], network: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    torch.save(timm.create_model(**file).state_dict(), tmp_path / "weights.pth")
    encoder = timm.create_model(**network, features_only=True)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(
        ConfigError, match=rf"weights\.pth belongs to another network: of the \d+ tensors needed, .*{fault}"
    ):
        load_encoder(encoder, tmp_path / "weights.pth")
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_what_was_taken_is_said() -> None:
    assert Taken("a.pth", 3).text() == "pretrained: took 3 of 3 tensors from a.pth"
    some = Taken("a.pth", 3, ("head.weight", "head.bias", "last"))
    assert some.text() == "pretrained: took 3 of 6 tensors from a.pth; new: head, last"
    many = Taken("a.pth", 0, tuple(f"layer{i}.weight" for i in range(9)))
    assert many.text().endswith("layer5 and 3 layers more")
    net = nn.Sequential(nn.Identity(), nn.Identity())
    assert list(all_taken(net)) == []


def no_network(*address: object, **options: object) -> NoReturn:
    raise OSError("no route to host")


@pytest.mark.parametrize("build", [EncoderDecoder, Pyramid])
def test_without_a_network_one_line_comes_at_once(
    build: type[nn.Module], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original, asked = huggingface_hub.hf_hub_download, []

    def empty_cache(repository: str, file: str, **options: Any) -> str:
        asked.append(options.get("local_files_only", False))
        return original(repository, file, cache_dir=tmp_path, **options)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", empty_cache)
    monkeypatch.setattr(socket, "create_connection", no_network)
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    options: tuple[Any, ...] = ("light", 3, {"cell": 1}, {}) if build is EncoderDecoder else (3, 16)
    begun = time.monotonic()
    with pytest.raises(ConfigError, match=r"the weights of test_resnet are not in the cache, and .* cannot be reached"):
        build("test_resnet", *options, pretrained=True)
    assert asked
    assert all(asked)  # nothing was asked for that is not at hand
    assert time.monotonic() - begun < 10


def test_weights_in_the_cache_need_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cached = tmp_path / "cached"
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *names, **options: str(cached))
    monkeypatch.setattr(socket, "create_connection", no_network)
    assert hub_file("timm/any", ("model.safetensors",), "any") == str(cached)
    assert timm_weights("test_resnet")[0]["pretrained_cfg_overlay"] == {"file": str(cached)}


def test_a_failing_download_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(repository: str, file: str, **options: Any) -> NoReturn:
        if options.get("local_files_only"):
            raise huggingface_hub.utils.LocalEntryNotFoundError("not here")
        raise TimeoutError("the server\n  is slow")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    monkeypatch.setattr("cytotome.nets.pretrained.require_host", lambda *names: None)
    with pytest.raises(ConfigError, match=r"cannot be downloaded from timm/any \(the server is slow\); give a file"):
        hub_file("timm/any", ("a",), "any")


def test_a_network_without_weights_says_so() -> None:
    with pytest.raises(ConfigError, match="timm has no weights for 'resnet200'"):
        timm_weights("resnet200")


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("flow", {}),
        ("flow", {"network": "cellpose"}),
        ("embedding", {}),
        ("watershed", {}),
    ],
)
@pytest.mark.parametrize("pretrained", [True, "weights.pth"])
def test_a_network_that_has_no_such_weights_refuses_them(
    family: str, options: dict[str, Any], pretrained: bool | str
) -> None:
    with pytest.raises(ValueError, match=r"pretrained: the network .* has no pretrained weights; choose a network"):
        get_family(family).config(pretrained=pretrained, **options)
