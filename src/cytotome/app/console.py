"""What is said to the user: results to standard output, warnings and progress to standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import typer

FAILED = 2
"""Exit code of a command that could not do all of its work."""
STOPPED = 130
"""Exit code of a command that its user stopped."""


def say(text: str, *, quiet: bool = False) -> None:
    """A line of results."""
    if not quiet:
        typer.echo(text)


def warn(text: str) -> None:
    """A line that is said even to those who want quiet."""
    typer.echo(text, err=True)


def warn_of_failures(failures: Mapping[str, str], total: int, done: str) -> None:
    """A line for each image that could not be used, in the order of their names."""
    if failures:
        warn(f"{len(failures)} of {total} images could not be {done}:")
    for message in dict(sorted(failures.items())).values():
        warn(f"  {message}")


@dataclass
class Notices:
    """What a user should know though nothing failed: each kind is one line per run, with a count and the first name."""

    kinds: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def add(self, name: str, text: str, unit: str = "images") -> None:
        """Notes ``text`` of an image or file; may be called from several threads.

        Args:
            name: of the image or file.
            text: the same for all that it holds for, so without names or figures of one image.
            unit: what is counted.
        """
        self.kinds.setdefault((text, unit), set()).add(name)

    def lines(self) -> list[str]:
        """A line for each kind, in the order in which they came up."""
        return [
            f"{text}: {len(names)} {unit}, first {min(names)}" if len(names) > 1 else f"{text}: {min(names)}"
            for (text, unit), names in self.kinds.items()
        ]


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar on a terminal; gives the function that moves it on by one."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("images"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal or total == 0) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


@contextmanager
def telling_of_compiling(*, quiet: bool) -> Iterator[None]:
    """Around work that may have to compile kernels first: a line on a terminal when that begins."""
    from rich.console import Console

    from cytotome.ops.kernels import on_compiling

    told = quiet or not Console(stderr=True).is_terminal

    def tell() -> None:
        nonlocal told
        if not told:
            told = True
            warn("compiling kernels, once after installation (up to a minute); see cytotome warmup")

    with on_compiling(tell):
        yield


@contextmanager
def resumable() -> Iterator[None]:
    """Around work that can be taken up again: says so where its user stops it."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # Lightning makes the second of the first
        warn("stopped; the same command goes on where it was")
        raise typer.Exit(STOPPED) from None
