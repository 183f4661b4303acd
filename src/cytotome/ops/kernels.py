"""The decorator of all compiled functions: typed, releases the GIL, caches wherever a file can be written."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal, ParamSpec, TypeVar, overload

import numpy as np
from numba import config as numba_config
from numba import njit
from numba.core import event

from cytotome.arrays import AnyArray

P = ParamSpec("P")
R = TypeVar("R")

_CONFIG: Any = numba_config  # its names are created on import, which type checkers do not see
_LOCK = Lock()


@overload
def kernel(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def kernel(
    *, fastmath: bool = False, inline: Literal["never", "always"] = "never"
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def kernel(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Compiles a function with numba on its first call and caches the machine code for later processes.

    The cache is that of numba: ``NUMBA_CACHE_DIR``, else next to the source, else in the user's cache folder. If none
    of them is writable (a read-only installation without a home), a temporary folder of the user is used; without one,
    the function is compiled again in each process.

    Args:
        function: the function; its annotations are for readers and type checkers, numba infers its own types.
        fastmath: whether floating-point operations may be reordered.
        inline: ``always`` inlines the function into its callers.
    """
    if function is None:
        return partial(kernel, **options)
    options |= {"nogil": True}
    try:
        return njit(function, cache=True, **options)
    except RuntimeError:  # numba finds no writable folder
        folder = temporary_folder()
    if folder is None:
        return njit(function, **options)
    return _cached_in(folder, function, options)


@lru_cache
def temporary_folder() -> Path | None:
    """A folder for compiled code that only this user can write, or None if there is none.

    Numba unpickles the files in it, so a folder that others own or can write is not used.
    """
    user = os.getuid() if hasattr(os, "getuid") else None  # Windows has a temporary folder for each user
    try:
        folder = Path(tempfile.gettempdir()) / f"cytotome-kernels-{user or 0}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    mine = user is None or (found.st_uid == user and not found.st_mode & 0o022)
    return folder if mine and folder.is_dir() and not folder.is_symlink() else None


def _cached_in(folder: Path, function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Returns the compiled function with its cache in a folder, including the code compiled at installation."""
    with _LOCK:
        before, _CONFIG.CACHE_DIR = _CONFIG.CACHE_DIR, str(folder)
        try:
            compiled = njit(function, cache=True, **options)
        except RuntimeError:
            return njit(function, **options)
        finally:
            _CONFIG.CACHE_DIR = before
    _copy_code(function, Path(compiled.stats.cache_path))
    return compiled


def _copy_code(function: Callable[..., Any], folder: Path) -> None:
    """Copies the code next to the source, which numba does not use if it cannot write there; the index comes last."""
    source = Path(inspect.getfile(function))
    found = (source.parent / "__pycache__").glob(f"{source.stem}.{function.__qualname__}-*.nb[ci]")
    for path in sorted(found, key=lambda path: path.suffix):
        target = folder / path.name
        if target.exists():
            continue
        try:
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as copy:
                copy.write(path.read_bytes())
            os.replace(copy.name, target)
        except OSError:  # it is compiled again instead
            return


@kernel
def grown(array: AnyArray, capacity: int) -> AnyArray:
    """Returns the array ``(K, ...)`` enlarged to ``capacity`` rows; the new ones are not initialised."""
    larger = np.empty((capacity,) + array.shape[1:], array.dtype)  # noqa: RUF005 numba has no starred tuples
    larger[: len(array)] = array
    return larger


class _Teller(event.Listener):
    def __init__(self, tell: Callable[[], None]) -> None:
        self.tell = tell

    def on_start(self, event: object) -> None:
        self.tell()

    def on_end(self, event: object) -> None:
        pass


@contextmanager
def on_compiling(tell: Callable[[], None]) -> Iterator[None]:
    """Calls ``tell`` when the compilation of a kernel starts, in any thread; not for kernels read from the cache."""
    with event.install_listener("numba:compile", _Teller(tell)):
        yield
