"""``cytotome pseudolabel``: its options, and an image that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cytotome.app.cli import app
from cytotome.app.pseudolabel import parse_confidence
from cytotome.errors import ConfigError


def test_confidence_is_general_or_of_a_type() -> None:
    assert parse_confidence([]) == (0.6, {})
    assert parse_confidence(["0.7", "astro=0.4", "cell type B=0.5"]) == (0.7, {"astro": 0.4, "cell type B": 0.5})


def test_all_faults_are_named() -> None:
    with pytest.raises(ConfigError, match=r"--confidence 'high', '=0.4': expected VALUE or TYPE=VALUE"):
        parse_confidence(["high", "0.5", "=0.4"])


def test_an_image_that_cannot_be_used_is_listed_and_the_exit_code_is_2(
    plate: Path, tmp_path: Path, model_file: Path
) -> None:
    (plate / "damaged.png").write_bytes((plate / "top.png").read_bytes()[:300])
    (plate / "old.bmp").write_bytes(b"BM")
    command = ["pseudolabel", str(model_file), str(plate), "-o", str(tmp_path / "out")]
    outcome = CliRunner().invoke(
        app, [*command, "--device", "cpu", "--no-tta", "--confidence", "0", "--candidate", "0"]
    )
    assert outcome.exit_code == 2
    assert outcome.stdout.startswith("1 of 2 images labelled; ")
    elsewhere, kinds, failures, failure, *_ = outcome.stderr.splitlines()
    assert (
        elsewhere
        == "note: plate: 3 images are in folders that are not searched; folders (2): A01 (2), B02 (1); move them"
    )
    assert kinds == "note: plate: files of unsupported types (1): old.bmp; convert them to TIFF or PNG"
    assert failures == "1 of 2 images could not be labelled:"
    assert failure.startswith(f"  {plate / 'damaged.png'}: ")
