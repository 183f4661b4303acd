"""Targets of a dataset, written for looking."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cytotome.app.cli import app
from cytotome.app.targets.run import run_targets
from cytotome.datasets import open_dataset
from cytotome.errors import ConfigError, DataError
from cytotome.families import get_family
from cytotome.ops.cell_types import with_classes


def test_arrays_and_pictures_are_those_of_the_family(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["targets", "synthetic:2", "--family", "watershed", "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "targets of 2 images" in result.output
    dataset = open_dataset("synthetic:2")
    family = get_family("watershed")
    config = family.config(class_names=dataset.class_names)
    for sample in dataset:
        expected = family.targets(with_classes(sample.instances, config.class_names), config)
        with np.load(tmp_path / f"{sample.info.id}.npz") as found:
            assert set(found) == set(expected)
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values)
        for name in ("overlay", "semantic", "direction", "energy", "weight", "cell_type"):
            picture = cv2.imread(str(tmp_path / f"{sample.info.id}_{name}.png"))
            assert picture.shape[:2] == sample.image.shape
            outside = expected["energy"][0] == 0
            if name in ("direction", "energy", "cell_type"):
                assert (picture[outside] == 0).all()
                assert (picture[~outside].max(axis=-1) > 0).mean() > 0.9


def test_the_config_and_the_number_of_images_can_be_set(tmp_path: Path) -> None:
    settings = ["distance=union", "level_edges=[2, 4]"]
    assert run_targets("synthetic:3", "watershed", tmp_path, settings=settings, limit=1) == 1
    (path,) = tmp_path.glob("*.npz")
    with np.load(path) as found:
        assert found["energy"].max() == 3


def test_faults_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no family 'waterfall'"):
        run_targets("synthetic:1", "waterfall", tmp_path)
    with pytest.raises(ConfigError, match=r"distance: .*depth: .*there are class_names"):
        run_targets("synthetic:1", "watershed", tmp_path, settings=["distance=far", "depth=3"])
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((20, 20), np.uint8))
    (tmp_path / "labels").mkdir()
    with pytest.raises(DataError, match="no image is labelled"):
        run_targets(str(tmp_path), "watershed", tmp_path / "out", layout="folders")
