"""Files that are no model give one clear line, and nothing in them is executed."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cytotome.data.normalise import Normalisation
from cytotome.errors import ModelError
from cytotome.families.flow.config import FlowConfig, FlowParameters
from cytotome.models.card import Card
from cytotome.models.file import ModelFile, read_model, save_model
from cytotome.models.header import FORMAT, read_header


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    weights = {"conv.weight": torch.arange(600.0).reshape(2, 3, 10, 10), "conv.bias": torch.ones(2)}
    path = tmp_path / "model.safetensors"
    card = Card(name="tiny", scores={"mAP": 0.25})
    save_model(path, ModelFile("flow", FlowConfig(), FlowParameters(), Normalisation(low=2), weights, card))
    return path


def rewrite(path: Path, **changes: object) -> None:
    """Changes fields of the description, a change to None removes one; the weights stay."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    content = {**json.loads(header["__metadata__"]["cytotome"]), **changes}
    content = {name: value for name, value in content.items() if value is not None}
    header["__metadata__"]["cytotome"] = json.dumps(content)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def test_the_head_is_read_without_the_weights(saved: Path) -> None:
    header = read_header(saved)
    assert (header.format, header.family, header.card.scores) == (FORMAT, "flow", {"mAP": 0.25})
    assert header.normalisation == Normalisation(low=2)
    assert header.digest == read_model(saved).digest


@pytest.mark.parametrize("reader", [read_header, read_model])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.3, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_short(saved: Path, share: float, reader: object) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=r"model\.safetensors: .*(cut short|damaged|not a safetensors)"):
        reader(saved)  # type: ignore[operator]


def test_bytes_that_follow_the_weights(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"more")
    with pytest.raises(ModelError, match="cut short or damaged"):
        read_header(saved)


@pytest.mark.parametrize("position", [-1, -300, -2000])
def test_one_wrong_bit_in_the_weights(saved: Path, position: int) -> None:
    data = bytearray(saved.read_bytes())
    data[position] ^= 4
    saved.write_bytes(data)
    with pytest.raises(ModelError, match="does not match its hash"):
        read_model(saved)


def test_a_changed_description_does_not_match_the_hash(saved: Path) -> None:
    rewrite(saved, normalisation={"low": 3.0, "high": 99.0, "clip": 1.0})
    with pytest.raises(ModelError, match="does not match its hash"):
        read_model(saved)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return Path.mkdir, (self.folder,)


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    for name, write in (
        ("p.pkl", lambda p, o: p.write_bytes(pickle.dumps(o))),
        ("p.pt", lambda p, o: torch.save(o, p)),
    ):
        write(tmp_path / name, Bomb(tmp_path / "exploded"))
        with pytest.raises(ModelError, match="not a safetensors file"):
            read_model(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_a_safetensors_file_of_another_program(tmp_path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.ones(3)}, tmp_path / "other.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="not a cytotome model"):
        read_header(tmp_path / "other.safetensors")


def test_a_newer_format_asks_for_an_upgrade(saved: Path) -> None:
    rewrite(saved, format=FORMAT + 1, digest=None)
    with pytest.raises(ModelError, match=rf"format {FORMAT + 1}, .* up to {FORMAT}; upgrade"):
        read_header(saved)


def test_fields_that_are_missing_are_named(saved: Path) -> None:
    rewrite(saved, family=None, card=3)
    with pytest.raises(ModelError, match="family: Field required; card: Input should be"):
        read_header(saved)


def test_a_description_without_format(saved: Path) -> None:
    rewrite(saved, format="one")
    with pytest.raises(ModelError, match="no format"):
        read_header(saved)


def test_a_description_that_is_no_json(tmp_path: Path) -> None:
    safetensors.torch.save_file({"w": torch.ones(1)}, tmp_path / "m.safetensors", metadata={"cytotome": "{"})
    with pytest.raises(ModelError, match="description is damaged"):
        read_header(tmp_path / "m.safetensors")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read .*check the path"):
        read_header(tmp_path / "absent.safetensors")
