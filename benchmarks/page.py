"""Writes the tables of benchmarks to docs/accuracy.md."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from cytotome.io.files import atomic_path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "accuracy.md"


def put_table(name: str, lines: Iterable[str]) -> None:
    """Writes the lines between the page's marks ``<!-- NAME -->`` and ``<!-- end NAME -->``."""
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    table = "\n".join((begin, *lines, end))
    text = PAGE.read_text(encoding="utf-8")
    with atomic_path(PAGE) as temporary:
        temporary.write_text(re.sub(f"{begin}.*{end}", lambda _: table, text, flags=re.DOTALL), encoding="utf-8")
