"""Atomic writing of files, which appear under their name only when they are complete, and hashes of files."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Any

TEMPORARY_MARK = ".part"


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path in the folder of ``path``, which is moved to it on success and removed on failure.

    The folder is created if it is missing. The temporary name is hidden and keeps the suffixes of ``path``, from which
    writers choose the format. The content is flushed to disk before the file is renamed.

    Raises:
        OSError: if the folder cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{secrets.token_hex(6)}{TEMPORARY_MARK}.{target.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def read_json_object(path: Path) -> dict[str, Any] | None:
    """Returns the object in a JSON file; None if the file is missing, damaged or contains anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        OSError: if the file cannot be read.
    """
    with open(path, "rb") as handle:
        return file_digest(handle, "sha256").hexdigest()


def cached_file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, cached within the process until its size or time changes.

    Raises:
        OSError: if the file cannot be read.
    """
    state = path.stat()
    return _file_hash(path.absolute(), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _file_hash(path: Path, size: int, time: int) -> str:
    return file_hash(path)


def is_temporary(path: str | os.PathLike[str]) -> bool:
    """Whether the file is left over from an unfinished :func:`atomic_path` of a killed process."""
    head, mark, _ = Path(path).name[1:].partition(f"{TEMPORARY_MARK}.")
    return Path(path).name.startswith(".") and bool(mark) and len(head) == 12
