"""Messages to the user: results to standard output, warnings and progress to standard error."""

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
"""Exit code of a command that could not complete all of its work."""
STOPPED = 130
"""Exit code of a command interrupted by the user."""


def say(text: str, *, quiet: bool = False) -> None:
    """Prints a line of results."""
    if not quiet:
        typer.echo(printable(text))


def warn(text: str) -> None:
    """Prints a warning, even with ``--quiet``."""
    typer.echo(printable(text), err=True)


def printable(text: str) -> str:
    r"""Returns the text with bytes of file names that are not UTF-8 as ``\xNN``, otherwise unchanged."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def warn_of_failures(failures: Mapping[str, str], total: int, done: str) -> None:
    """Prints a line for each image that could not be used, sorted by name."""
    if failures:
        warn(f"{len(failures)} of {total} images could not be {done}:")
    for message in dict(sorted(failures.items())).values():
        warn(f"  {message}")


@dataclass
class Notices:
    """Notices for the user that are not failures: one line per kind and run, with a count and the first name."""

    kinds: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def add(self, name: str, text: str, unit: str = "images") -> None:
        """Adds a notice about an image or file; may be called from several threads.

        Args:
            name: name of the image or file.
            text: the same for all images concerned, so without names or numbers of one image.
            unit: the counted unit.
        """
        self.kinds.setdefault((text, unit), set()).add(name)

    def lines(self) -> list[str]:
        """Returns a line for each kind, in order of occurrence."""
        return [
            f"{text}: {len(names)} {unit}, first {min(names)}" if len(names) > 1 else f"{text}: {min(names)}"
            for (text, unit), names in self.kinds.items()
        ]


class Bar:
    """A progress bar of images on a terminal, with one of the tiles of the current large images below it.

    Args:
        show: displays the numbers of finished images, finished tiles and all tiles.
    """

    def __init__(self, show: Callable[[int, int, int], None]) -> None:
        self.show = show
        self.images = 0
        self.tiles: dict[int, tuple[int, int]] = {}
        self.lock = threading.Lock()

    def __call__(self) -> None:
        """Advances the bar by one image."""
        with self.lock:
            self.images += 1
            self._show()

    def tile(self, done: int, total: int) -> None:
        """Sets the tiles of this thread's current image: ``done`` of ``total``."""
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
    """Shows a progress bar on a terminal; call it to advance by one."""
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
    """Yields an event that Ctrl-C sets before it raises KeyboardInterrupt, to stop threads; a second Ctrl-C ends the
    process.
    """
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            os._exit(STOPPED)
        stopped.set()
        raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield stopped  # only in the main thread, and not under nohup
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def telling_of_compiling(*, quiet: bool) -> Iterator[None]:
    """Prints a line on a terminal if the work within has to compile kernels."""
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
    """Prints how to continue if resumable work is stopped."""
    try:
        yield
    except KeyboardInterrupt:
        warn("stopped; the same command resumes")
        raise typer.Exit(STOPPED) from None
