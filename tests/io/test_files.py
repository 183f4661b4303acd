from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from cytotome.io.files import atomic_path, is_temporary


def test_the_name_appears_only_when_the_content_is_whole(tmp_path):
    target = tmp_path / "new" / "cells.csv"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
        assert is_temporary(temporary)
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["cells.csv"]


def test_on_failure_the_old_file_stays_and_nothing_is_left(tmp_path):
    target = tmp_path / "run.json"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    target = tmp_path / "labels.tif"
    with atomic_path(target) as first, atomic_path(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"
    assert os.listdir(tmp_path) == ["labels.tif"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_killed_writer_leaves_the_old_file_and_a_known_temporary_name(tmp_path):
    target = tmp_path / "cells.csv"
    target.write_text("old")
    script = (
        "import os, signal, sys\nfrom cytotome.io.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as path:\n path.write_text('new')\n os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(target)], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert sum(is_temporary(path) for path in tmp_path.iterdir()) == 1


@pytest.mark.parametrize("name", ["cells.csv", ".cells.part.csv", "a.part.csv", ".hidden"])
def test_a_users_own_file_is_not_taken_for_a_temporary_one(name):
    assert not is_temporary(name)
