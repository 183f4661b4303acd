"""Runs the tutorials of docs/tutorials and makes their pictures.

    .venv/bin/python scripts/make_tutorials.py [NAME ...]

The blocks of a page in ``bash`` and ``python`` are run one after the other in a folder with only ``examples/``.
A block in ``text`` is the output of the previous block, with ``...`` for omitted parts; numbers may differ by half.
The title of an image is the file of the run from which it is made:
``![cells](../pictures/plate.jpg "results/A01_overlay.png")``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Picture

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
BLOCK = re.compile(r"^```(bash|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r'!\[[^\]]*\]\((\S+) "(\S+)"\)')
NUMBER = re.compile(r"\d+(?:\.\d+)?")
PART = re.compile(rf"\.\.\.|{NUMBER.pattern}|\s+|.")
MARGIN = 0.5
"""How far a number may be from the one that a page shows, as a share of it: processors and versions differ a little."""


@dataclass(frozen=True)
class Step:
    """A block that is run, and what the page shows of its output; None where it shows nothing."""

    language: str
    code: str
    shown: str | None


def steps_of(page: str) -> list[Step]:
    """The steps of a page in Markdown, in order."""
    blocks = [(match[1], match[2]) for match in BLOCK.finditer(page)]
    following = [*blocks[1:], ("", "")]
    return [
        Step(language, code, then[1] if then[0] == "text" else None)
        for (language, code), then in zip(blocks, following, strict=True)
        if language != "text"
    ]


def pictures_of(page: str) -> dict[str, str]:
    """Files of the run by the pictures that are made of them, as the page names both."""
    return dict(PICTURE.findall(page))


def run_page(page: str, folder: Path) -> Iterator[tuple[Step, str]]:
    """Runs the steps of a page in ``folder`` and gives each with what it printed.

    Raises:
        subprocess.CalledProcessError: where a command ends with an error.
    """
    shutil.copytree(ROOT / "examples", folder / "examples")
    names: dict[str, Any] = {"__name__": "__main__"}
    for step in steps_of(page):
        yield step, run_python(step.code, folder, names) if step.language == "python" else run_bash(step.code, folder)


def run_bash(code: str, folder: Path) -> str:
    """What the commands print, both streams; ``cytotome`` and ``python`` are those of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", code]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "160", "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()
    return done.stdout


def run_python(code: str, folder: Path, names: dict[str, Any]) -> str:
    """What the code prints; it shares ``names`` with the other blocks of its page."""
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(compile(code, "<tutorial>", "exec"), names)
    return printed.getvalue()


def agrees(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed; numbers within :data:`MARGIN`, ``...`` for any text, spaces for spaces."""
    pattern = "".join(_pattern(part) for part in PART.findall(shown.strip()))
    match = re.fullmatch(pattern, printed.strip(), re.DOTALL)
    numbers = [float(number) for number in NUMBER.findall(shown.replace("...", " "))]
    return match is not None and all(
        abs(number - float(other)) <= max(MARGIN * abs(number), MARGIN / 5)
        for number, other in zip(numbers, match.groups(), strict=True)
    )


def _pattern(part: str) -> str:
    """What a part of a page may match: a group for a number, any text for ``...``, spaces for spaces."""
    if part == "...":
        return ".*?"
    if NUMBER.fullmatch(part):
        return f"({NUMBER.pattern})"
    return r"\s+" if part.isspace() else re.escape(part)


def main() -> None:
    """Runs the pages, prints what they print and writes their pictures."""
    for name in sys.argv[1:] or sorted(path.stem for path in TUTORIALS.glob("*.md")):
        page = (TUTORIALS / f"{name}.md").read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            for step, printed in run_page(page, Path(folder)):
                print(f"--- {name}\n{step.code}\n{printed}", flush=True)
                if step.shown is not None and not agrees(step.shown, printed):
                    print(f"!!! the page shows something else:\n{step.shown}")
            for target, source in pictures_of(page).items():
                path = TUTORIALS / target
                Picture.open(Path(folder) / source).convert("RGB").save(path, quality=82, subsampling=0, optimize=True)
                print(path.resolve())


if __name__ == "__main__":
    main()
