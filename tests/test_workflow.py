"""The workflow of continuous integration runs the scripts of the repository, on all that the package promises."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
WORKFLOW = REPOSITORY / ".github" / "workflows" / "ci.yml"
SCRIPTS = sorted(path for path in (REPOSITORY / "scripts").iterdir() if not path.suffix and path.is_file())


@pytest.fixture
def job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["test"]
    return job


def test_the_matrix_has_every_python_of_the_classifiers_and_every_system(job: dict[str, Any]) -> None:
    classifiers = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    pythons = [match[1] for text in classifiers if (match := re.search(r":: Python :: (3\.\d+)$", text))]
    assert job["strategy"]["matrix"] == {
        "os": ["ubuntu-latest", "macos-latest", "windows-latest"],
        "python": pythons,
    }
    assert job["defaults"]["run"]["shell"] == "bash"


def test_the_steps_call_scripts_that_are_there(job: dict[str, Any]) -> None:
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert "scripts/test" in commands
    for command in commands:
        assert os.access(REPOSITORY / command.split()[0], os.X_OK)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_name_no_folder_that_windows_has_not(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    if text.startswith("#!/usr/bin/env bash"):
        assert 'source "$(dirname "${BASH_SOURCE[0]}")/environment"' in text
        assert "/bin/" not in text.replace("/usr/bin/env", "")
