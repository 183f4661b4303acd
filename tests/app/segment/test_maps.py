"""``segment --maps``: a picture of each map, embeddings in one set of colours, also in a run that goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cytotome.app.segment.maps import COLOURS_FILE
from cytotome.app.segment.run import run_segment
from cytotome.app.segment.settings import SegmentOptions
from cytotome.data.normalise import Normalisation
from cytotome.errors import ConfigError
from cytotome.families import get_family
from cytotome.inference.model import load_single_model
from cytotome.inference.runner import Runner
from cytotome.io.images import read_image
from cytotome.models.file import ModelFile, save_model
from cytotome.outputs import Detections
from cytotome.report.maps import draw_embedding, read_colours

Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> SegmentOptions:
    """Options with an embedding model of random weights."""
    family = get_family("embedding")
    config = family.config(widths=(8, 16), blocks=(0, 1), input_scale=1.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = family.build(config).state_dict()
    path = tmp_path_factory.mktemp("model") / "embedding.safetensors"
    save_model(path, ModelFile(family.name, config, family.parameters(), Normalisation(), weights))
    return SegmentOptions(model=str(path), device="cpu", precision="float32", quiet=True, maps=True)


def test_every_map_has_its_picture(plate: Path, tmp_path: Path, options: SegmentOptions) -> None:
    out = tmp_path / "out"
    assert run_segment([str(plate)], out, options) == 0
    model = load_single_model(options.model, device="cpu", precision="float32")
    colours = read_colours(out / COLOURS_FILE, 8)
    for name in ("A01/one", "A01/two", "B02/well", "top"):
        maps = model.predict_maps(plate / f"{name}.png")
        drawn = read_image(out / f"{name}_map_embedding.png").pixels
        np.testing.assert_array_equal(drawn, draw_embedding(maps["embedding"], colours, maps["cell"][0]))
        cell = read_image(out / f"{name}_map_cell.png").pixels
        assert np.abs(cell[:, :, 0] / 255 - maps["cell"][0]).max() <= 0.5 / 255 + 1e-6


def test_maps_and_cells_come_from_one_pass_of_the_network(
    plate: Path, tmp_path: Path, options: SegmentOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, run = [], Runner.run

    def counted(self: Runner, images: torch.Tensor) -> object:
        calls.append(len(images))
        return run(self, images)

    monkeypatch.setattr(Runner, "run", counted)
    assert run_segment([str(plate)], tmp_path / "out", options) == 0
    assert calls == [1] * 4


def test_a_run_that_goes_on_makes_what_is_missing_in_the_same_colours(
    plate: Path, tmp_path: Path, options: SegmentOptions, contents: Contents
) -> None:
    out = tmp_path / "out"
    run_segment([str(plate)], out, options)
    before = contents(out)
    (out / "top_map_cell.png").unlink()
    (out / "A01" / "one_map_embedding.png").unlink()
    run_segment([str(plate)], out, options)
    assert contents(out) == before


def test_pictures_of_maps_are_no_images(plate: Path, options: SegmentOptions) -> None:
    """Where images and results share a folder."""
    run_segment([str(plate)], plate, options)
    pictures = len(list(plate.rglob("*.png")))
    run_segment([str(plate)], plate, options)
    assert len(list(plate.rglob("*.png"))) == pictures == 4 * 4


def test_a_model_without_maps_is_refused(
    plate: Path, tmp_path: Path, options: SegmentOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = replace(get_family("embedding"), outputs=lambda config: Detections())
    monkeypatch.setattr("cytotome.inference.model.get_family", lambda name: family)
    with pytest.raises(ConfigError, match="--maps: embedding predicts instances, not maps; omit --maps"):
        run_segment([str(plate)], tmp_path / "out", options)
