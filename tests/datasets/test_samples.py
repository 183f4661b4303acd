"""The example images of the package, from a source tree and from a wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import cytotome as ct
from cytotome.app.samples import samples
from cytotome.datasets.samples import SAMPLES, copy_samples
from cytotome.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_sample_has_masks_of_full_quality() -> None:
    found = ct.samples()
    assert set(found) == set(SAMPLES)
    for dataset in found.values():
        assert all(info.is_scored for info in dataset.infos)
        assert all(len(sample.instances) > 5 for sample in map(dataset.__getitem__, range(len(dataset))))  # type: ignore[arg-type]


def test_copies_are_datasets_with_their_licences(tmp_path: Path) -> None:
    copies = copy_samples(tmp_path / "samples")
    assert [len(ct.open_dataset(path)) for path in copies] == [1, 3]
    assert "CC0" in (tmp_path / "samples" / "README.md").read_text()
    assert "MIT" in (tmp_path / "samples" / "glioblastoma" / "LICENSE").read_text()
    with pytest.raises(ConfigError, match="glioblastoma: already exists; remove it, or choose another folder"):
        copy_samples(tmp_path / "samples")


def test_the_command_names_what_to_try(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples(tmp_path)
    said = capsys.readouterr().out
    assert f"try: cytotome segment {tmp_path / 'nuclei' / 'images'} -o results/ --model nuclei" in said


def test_a_wheel_contains_them(tmp_path: Path) -> None:
    (path,) = WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    for name in SAMPLES:
        own = {path.name for path in (REPOSITORY / "examples" / name / "images").iterdir()}
        assert {f"cytotome/samples/{name}/{part}/{file}" for part in ("images", "labels") for file in own} <= names
    assert "cytotome/samples/README.md" in names
    assert "cytotome/recipes/neurons.yaml" in names
