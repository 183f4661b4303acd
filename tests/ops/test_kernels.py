"""Compiled functions are kept wherever a file can be written, run without the GIL, and say when they are compiled."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import cytotome
from cytotome.ops import kernels
from cytotome.ops.kernels import kernel, on_compiling, temporary_folder

PACKAGE = Path(cytotome.__file__).parent
SOURCE = """
from cytotome.ops.kernels import kernel

@kernel
def double(value: int) -> int:
    return 2 * value
"""
USE = """
import numpy as np
from cytotome.types import Instances
print(Instances.from_label_map(np.eye(3, dtype=np.int32)).areas.tolist())
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[], ModuleType]:
    """Gives a new module of the same file at each call, as another process would have it."""
    (tmp_path / "doubling.py").write_text(SOURCE)

    def new() -> ModuleType:
        spec = importlib.util.spec_from_file_location("doubling", tmp_path / "doubling.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return new


def use_where_nothing_can_be_written(folder: Path) -> subprocess.CompletedProcess[str]:
    """Labels in a process whose package has no cache folder and whose user has no home.

    A file in the place of a folder cannot be written into by anyone, root included.
    """
    for path in PACKAGE.glob("*.py"):
        (folder / "cytotome").mkdir(exist_ok=True)
        shutil.copy(path, folder / "cytotome" / path.name)
    shutil.copytree(PACKAGE / "ops", folder / "cytotome" / "ops", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "cytotome" / "ops" / "__pycache__").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_"))}
    nowhere = str(folder / "cytotome" / "ops" / "__pycache__" / "home")
    environment |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder / "tmp")}
    environment |= {"HOME": nowhere, "LOCALAPPDATA": nowhere, "TEMP": str(folder / "tmp"), "TMP": str(folder / "tmp")}
    return subprocess.run(
        [sys.executable, "-c", USE], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_read_only_installation_keeps_its_code_in_a_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    done = use_where_nothing_can_be_written(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[3]\n", "")
    (folder,) = (tmp_path / "tmp").glob("cytotome-kernels-*")
    assert list(folder.rglob("*.nbc"))


def test_without_any_place_it_is_compiled_in_each_process(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    user = os.getuid() if hasattr(os, "getuid") else 0
    (tmp_path / "tmp" / f"cytotome-kernels-{user}").touch()
    done = use_where_nothing_can_be_written(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[3]\n", "")
    assert not list(tmp_path.rglob("*.nbc"))


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners and modes of folders")
def test_a_folder_that_others_may_write_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    find = temporary_folder.__wrapped__
    folder = find()
    assert folder == tmp_path / f"cytotome-kernels-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert find() is None
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert find() is None


def test_what_was_compiled_at_installation_is_used_elsewhere(load: Callable[[], ModuleType], tmp_path: Path) -> None:
    assert load().double(3) == 6
    (tmp_path / "user").mkdir()
    elsewhere = kernels._cached_in(tmp_path / "user", load().double.py_func, {"nogil": True})
    assert elsewhere(4) == 8
    assert sum(elsewhere.stats.cache_hits.values()) == 1
    assert elsewhere.stats.cache_path.startswith(str(tmp_path / "user"))


def test_compiling_is_told_and_reading_is_not(load: Callable[[], ModuleType]) -> None:
    told: list[str] = []
    with on_compiling(lambda: told.append("begun")):
        assert load().double(3) == 6
        assert told == ["begun"]
        assert load().double(4) == 8
        assert told == ["begun"]


def test_every_compiled_function_is_a_kernel_and_runs_without_the_gil(load: Callable[[], ModuleType]) -> None:
    sources = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
    assert [name for name, text in sources.items() if "njit" in text] == ["ops/kernels.py"]
    for made in (load().double, kernel(fastmath=True)(load().double.py_func)):
        assert made.targetoptions["nogil"]
