"""The public surface: what it holds, that it costs nothing to import, and that its parts work together."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import cytotome as ct

NAMES = {
    "CytotomeError",
    "Dataset",
    "Ensemble",
    "Evaluation",
    "Image",
    "Instances",
    "Model",
    "Sample",
    "SampleInfo",
    "Tta",
    "__version__",
    "compare",
    "draw_overlay",
    "evaluate",
    "from_label_map",
    "from_masks",
    "load_model",
    "measure",
    "open_dataset",
    "read_image",
    "read_predictions",
    "samples",
    "segment",
    "train",
    "tune",
    "write_label_map",
}


def test_the_public_names_are_these_and_each_has_a_docstring() -> None:
    assert set(ct.__all__) == NAMES
    assert set(dir(ct)) >= NAMES
    for name in NAMES - {"__version__"}:
        public = getattr(ct, name)
        assert public.__name__ == name
        assert public.__doc__


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]
    assert ct.__version__ == project["version"]


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'cytotome' has no attribute 'find'"):
        ct.find  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_imports_nothing_else_of_weight() -> None:
    code = "import sys, cytotome; print(sorted({name.split('.')[0] for name in sys.modules} & {'numpy', 'torch'}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_readme_example_from_data_to_scores(tmp_path: Path) -> None:
    dataset = ct.open_dataset("synthetic:3")
    truths = {sample.info.id: sample.instances for sample in dataset}
    resolved = {name: ct.from_label_map(cells.to_label_map()) for name, cells in truths.items() if cells is not None}
    assert ct.evaluate(truths, dataset).score == 1.0
    assert 0.8 < ct.evaluate(resolved, dataset).score <= 1.0


def test_train_load_segment_and_decode(tmp_path: Path) -> None:
    import cv2

    recipe = {
        "name": "tiny",
        "family": "flow",
        "config": {"widths": [8, 16, 16], "blocks": [0, 1, 1], "input_scale": 1.0},
        "sampling": {"crop": [64, 64], "batch": 2, "workers": 0},
        "schedule": {"steps": 3, "validate_every": 0},
    }
    path = ct.train(recipe, "synthetic:3", output=tmp_path / "run")
    model = ct.load_model(path, device="cpu")
    sample = ct.open_dataset("synthetic:1:9")[0]
    cv2.imwrite(str(tmp_path / "image.png"), sample.image.pixels)
    image = ct.read_image(tmp_path / "image.png")
    found = model.segment(image)
    from_path, from_array = model.segment([tmp_path / "image.png", sample.image.pixels])
    decoded = model.decode(model.predict_maps(image))
    for other in (from_path, from_array, decoded):
        np.testing.assert_array_equal(other.runs, found.runs)
    assert found.shape == image.shape
    assert len(model.segment(image, min_area=10**6)) == 0
    with pytest.raises(ct.CytotomeError, match=r"decoder parameters: .*nonsense"):
        model.segment(image, nonsense=1)


def test_models_and_ensembles_open_by_the_same_door() -> None:
    from cytotome.ensemble.ensemble import Ensemble

    single, several = (
        ct.load_model(name, device="cpu", precision="float32") for name in ("nuclei", "neurons-ensemble")
    )
    assert isinstance(single, ct.Model)
    assert isinstance(several, Ensemble)
    assert repr(several) == "Ensemble('neurons-ensemble', flow + rcnn, cpu, float32)"
    assert single.config.class_names == single.class_names
