"""Prints the result of a benchmark, and stores it if ``--json`` is given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def give(answer: Mapping[str, Any], path: Path | None) -> None:
    """Prints the answer as JSON and writes it to ``path``, if given."""
    text = json.dumps(answer, indent=1)
    print(text)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")
