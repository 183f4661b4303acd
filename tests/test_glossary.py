"""The wordings that docs/glossary.md lists as wordings to avoid do not occur."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
GLOSSARY = REPOSITORY / "docs" / "glossary.md"
TITLE = "## Wordings to avoid"
BLOCK = re.compile(r"^```(?P<language>\w*)\n.*?^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(?P<avoid>[^`]+)` \| (?P<instead>.+) \| (?P<scope>docs|everywhere) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Wording:
    """A row of the table: the pattern to avoid, what to write instead, and whether ``src`` is checked too."""

    avoid: str
    instead: str
    scope: str

    def found(self, text: str) -> list[str]:
        """Places where the text has the wording, each with the words around it."""
        lines = text.splitlines()
        matches = [match for line in lines for match in re.finditer(self.avoid, line, re.IGNORECASE)]
        return [match.string[max(0, match.start() - 40) : match.end() + 40] for match in matches]


def wordings() -> list[Wording]:
    _, table = GLOSSARY.read_text(encoding="utf-8").split(TITLE)
    return [Wording(**match.groupdict()) for match in ROW.finditer(table)]


def joined(text: str) -> str:
    """The text in one line, as a wording may be broken over two."""
    return " ".join(text.split())


def without_output(text: str) -> str:
    """A document without its blocks that quote the output of programs; code stays, for its comments."""
    return BLOCK.sub(lambda match: "" if match["language"] in ("", "text") else match[0], text)


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of each document and recipe, without quoted output; of the glossary, what precedes its table."""
    paths = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    for path in sorted(paths):
        text = without_output(path.read_text(encoding="utf-8"))
        yield path.relative_to(REPOSITORY).as_posix(), joined(text.split(TITLE)[0] if path == GLOSSARY else text)
    for path in sorted((REPOSITORY / "recipes").glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        yield path.relative_to(REPOSITORY).as_posix(), joined("\n".join(line.lstrip("# ") for line in lines))


def strings(source: str) -> Iterator[str]:
    """All texts of a module: docstrings, help, messages; ``{}`` for what an f-string fills in."""
    tree = ast.parse(source)
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            yield joined("".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield joined(node.value)


def modules() -> Iterator[tuple[str, str]]:
    """Name and texts of each module of the package."""
    for path in sorted((REPOSITORY / "src").rglob("*.py")):
        texts = strings(path.read_text(encoding="utf-8"))
        yield path.relative_to(REPOSITORY).as_posix(), "\n".join(texts)


PAGES = list(pages())
MODULES = list(modules())


@pytest.mark.parametrize("wording", wordings(), ids=lambda wording: wording.avoid)
def test_wordings_to_avoid_do_not_occur(wording: Wording) -> None:
    texts = PAGES + (MODULES if wording.scope == "everywhere" else [])
    found = [f"{name}: ...{place}..." for name, text in texts for place in wording.found(text)]
    assert not found, f"write instead: {wording.instead}\n" + "\n".join(found)


def test_every_row_of_the_table_is_read() -> None:
    _, table = GLOSSARY.read_text(encoding="utf-8").split(TITLE)
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(wordings()) == len(rows) - 2  # head and rule


def test_replacements_are_not_wordings_to_avoid() -> None:
    assert {row.instead: other.avoid for row in wordings() for other in wordings() if other.found(row.instead)} == {}


def test_quoted_output_is_left_out() -> None:
    text = "one\n```bash\ntwo\n```\nthree\n```\nfour\n```\n```text\nfive\n```\nsix\n"
    assert without_output(text) == "one\n```bash\ntwo\n```\nthree\n\n\nsix\n"


def test_wordings_are_found_across_lines_and_in_messages() -> None:
    source = '"""Resumes; it goes\n    on where it was."""\nsay(f"{n} rows\\n an " f"image")\nmap = {"key": "told"}\n'
    text = "\n".join(strings(source))
    assert Wording(r"\bgoes on where\b", "", "docs").found(text) == ["Resumes; it goes on where it was."]
    assert Wording(r"\brows an image\b", "", "docs").found(text)
    assert not Wording(r"\bmap\b", "", "docs").found(text)  # a name, not a text
