"""What is said to the user: results to standard output, warnings and progress to standard error."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import typer

FAILED = 2
"""Exit code of a command that could not do all of its work."""
STOPPED = 130
"""Exit code of a command that its user stopped."""


def say(text: str, *, quiet: bool = False) -> None:
    """A line of results."""
    if not quiet:
        typer.echo(printable(text))


def warn(text: str) -> None:
    """A line that is said even to those who want quiet."""
    typer.echo(printable(text), err=True)


def printable(text: str) -> str:
    r"""The text with bytes of file names that are not UTF-8 as ``\xNN``; any other text as it is."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


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


class Bar:
    """A bar of images on a terminal, and below it one of the tiles of large images at hand.

    Args:
        show: shows the number of images that are done, of tiles that are done, and of tiles in all.
    """

    def __init__(self, show: Callable[[int, int, int], None]) -> None:
        self.show = show
        self.images = 0
        self.tiles: dict[int, tuple[int, int]] = {}
        self.lock = threading.Lock()

    def __call__(self) -> None:
        """Moves the bar on by one image."""
        with self.lock:
            self.images += 1
            self._show()

    def tile(self, done: int, total: int) -> None:
        """Of the image at hand in this thread, ``done`` of ``total`` tiles are done."""
        with self.lock:
            if done < total:
                self.tiles[threading.get_ident()] = done, total
            else:
                self.tiles.pop(threading.get_ident(), None)
            self._show()

    def _show(self) -> None:
        done, total = (sum(numbers[part] for numbers in self.tiles.values()) for part in (0, 1))
        self.show(self.images, done, total)


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Bar]:
    """A bar on a terminal; it is called to be moved on by one."""
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
    unit = TextColumn("{task.fields[unit]}")
    columns = (BarColumn(), MofNCompleteColumn(), unit, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal or total == 0) as bar:
        images = bar.add_task("", total=total, unit="images")
        tiles = bar.add_task("", visible=False, unit="tiles")

        def show(done: int, tiles_done: int, tiles_total: int) -> None:
            bar.update(images, completed=done)
            bar.update(tiles, completed=tiles_done, total=tiles_total, visible=tiles_total > 0)

        yield Bar(show)


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets before it raises KeyboardInterrupt, for threads to see; pressed again, it ends all."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            os._exit(STOPPED)
        stopped.set()
        raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield stopped  # signals are the main thread's, and behind nohup there are none
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


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
    """Around work that can be resumed: says so where its user stops it."""
    try:
        yield
    except KeyboardInterrupt:
        warn("stopped; the same command resumes")
        raise typer.Exit(STOPPED) from None
