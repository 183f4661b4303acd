"""Every command that a document names is there and takes what it is given; nothing is run."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer

from cytotome.app.cli import app
from cytotome.errors import ConfigError
from cytotome.models.registry import bundled_ensembles, bundled_models
from cytotome.training.recipe import load_recipe

REPOSITORY = Path(__file__).resolve().parents[1]
BENCHMARKS = REPOSITORY / "benchmarks"
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("*/README.md")])
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHER_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
COMMAND = re.compile(r"cytotome |(\S*python )?\S*(benchmarks|docs)/\S+\.py|benchmarks/peers/(run|setup)|scripts/")
PLACEHOLDER = re.compile(r"[A-Z_]+(\.\.\.)?")
MODEL_OPTIONS = {"model", "models", "weights"}


@dataclass(frozen=True)
class Command:
    """A command of a document, as words; ``partly`` where running text may leave out what is required."""

    page: str
    text: str
    partly: bool

    def name(self) -> str:
        """For people who read the results of the tests."""
        return f"{self.page}: {self.text}"

    @property
    def words(self) -> list[str]:
        """Without the interpreter, comment, and what follows in a pipeline."""
        words = shlex.split(self.text, comments=True)
        if words[0].endswith("python"):
            words = words[1:]
        for end in ("&&", "|", ";", ">"):
            words = words[: words.index(end)] if end in words else words
        return words


def commands_of(text: str, page: str = "") -> list[Command]:
    """The commands of a page in Markdown: lines of its bash blocks, and inline code."""
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    inline = [" ".join(code.split()) for code in CODE.findall(OTHER_BLOCK.sub("", text))]
    found = [(line.strip(), False) for line in lines] + [(code, True) for code in inline]
    return list(dict.fromkeys(Command(page, line, partly) for line, partly in found if COMMAND.match(line)))


COMMANDS = [
    command
    for path in PAGES
    for command in commands_of(path.read_text(encoding="utf-8"), path.relative_to(REPOSITORY).as_posix())
]


def of_cytotome(command: Command) -> bool:
    return command.words[0] == "cytotome"


def parsed(command: Command) -> tuple[str, dict[str, Any]]:
    """The name of the subcommand and its parameters, as typer reads them; nothing is run."""
    entry: Any = typer.main.get_command(app)
    name, words = "cytotome", command.words[1:]
    while words and words[0] in getattr(entry, "commands", {}):
        name, *words = words
        entry = entry.commands[name]
    if command.partly and not words:
        return name, {}
    known = getattr(entry, "commands", None)
    assert known is None or words[0].startswith("-"), f"{command.page}: `{command.text}`: no such command"
    try:
        return name, entry.make_context(name, words).params
    except typer.Exit:  # --help
        return name, {}
    except Exception as error:
        if command.partly and type(error).__name__ == "MissingParameter":
            return name, {}
        raise AssertionError(f"{command.page}: `{command.text}`: {error}") from error


def names(value: Any) -> list[str]:
    """The texts of an option, without the fold of a model; placeholders and paths are none."""
    values = value if isinstance(value, list | tuple) else [value]
    parts = [part.rpartition(":")[0] or part for text in values if isinstance(text, str) for part in text.split(",")]
    return [part for part in parts if not PLACEHOLDER.fullmatch(part) and not re.search(r"[./]", part)]


@pytest.mark.parametrize("command", [one for one in COMMANDS if of_cytotome(one)], ids=Command.name)
def test_commands_parse_and_name_what_is_there(command: Command) -> None:
    check_names(*parsed(command))


def check_names(name: str, values: dict[str, Any]) -> None:
    """Models and recipes that are named are there, and changes of a recipe are of what it has."""
    known = {*bundled_models(), *bundled_ensembles()}
    for option in MODEL_OPTIONS & set(values):
        assert set(names(values[option])) <= known
    for recipe in (*names(values.get("recipe")), *names(values.get("recipes"))):
        load_recipe(recipe, (values["settings"] or ()) if name == "train" else ())


SAMPLE = """`cytotome segment` and `cytotome models list`, `scripts/demo`, no `cytotome`

```bash
cytotome segment a/ -o b/ \\
    --model nuclei    # comment
.venv/bin/python benchmarks/memory.py --few 3
```
```python
`cytotome nothing`
```
"""


def test_commands_are_found_in_text_and_blocks() -> None:
    found = [(command.words, command.partly) for command in commands_of(SAMPLE)]
    assert found == [
        (["cytotome", "segment", "a/", "-o", "b/", "--model", "nuclei"], False),
        (["benchmarks/memory.py", "--few", "3"], False),
        (["cytotome", "segment"], True),
        (["cytotome", "models", "list"], True),
        (["scripts/demo"], True),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cytotome segment a/", "Missing parameter: output"),
        ("cytotome segment a/ -o b/ --no-such", "No such option"),
        ("cytotome segmented a/", "no such command"),
        ("cytotome segment a/ -o b/ --model neuron", "neuron"),
        ("cytotome train flows --data a/ -o b/", "did you mean flow"),
        ("cytotome train flow --data a/ -o b/ --set schedule.step=2", "step"),
    ],
)
def test_commands_that_are_wrong_are_noticed(text: str, message: str) -> None:
    with pytest.raises((AssertionError, ConfigError), match=message):
        check_names(*parsed(Command("page", text, partly=False)))


class Parsed(Exception):
    """Ends a script once its options are read."""


@pytest.mark.parametrize("command", [one for one in COMMANDS if not of_cytotome(one)], ids=Command.name)
def test_scripts_are_there_and_take_their_options(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    script, *words = command.words
    path = REPOSITORY / script
    assert path.is_file(), f"{command.page}: there is no {script}"
    if script == "benchmarks/peers/run" and words and not PLACEHOLDER.fullmatch(words[0]):
        path, words = BENCHMARKS / "peers" / f"{words[0]}.py", words[1:]
        check_options_of_peer(path, words)
    elif path.suffix == ".py" and (words or not command.partly):
        check_options(path, words, command, monkeypatch)


def check_options_of_peer(path: Path, words: list[str]) -> None:
    """Of a script whose imports are not here: it names the options that it is given."""
    source = path.read_text(encoding="utf-8")
    for word in words:
        assert not word.startswith("--") or f'add_argument("{word}"' in source, f"{path.name} takes no {word}"


def check_options(path: Path, words: list[str], command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's own parser takes them."""
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [path.name, *words])
    parse = argparse.ArgumentParser.parse_args

    def parse_alone(parser: argparse.ArgumentParser) -> NoReturn:
        raise Parsed(parse(parser))

    def fail(parser: argparse.ArgumentParser, message: str) -> NoReturn:
        if command.partly and "are required" in message:
            raise Parsed
        raise AssertionError(f"{command.page}: `{command.text}`: {message}")

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_alone)
    monkeypatch.setattr(argparse.ArgumentParser, "error", fail)
    before = set(sys.modules)
    with pytest.raises(Parsed):
        importlib.import_module(path.stem).main()
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent in (path.parent, BENCHMARKS):
            del sys.modules[name]
