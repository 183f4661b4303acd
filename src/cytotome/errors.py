"""Exceptions that a user may see. Each message is one line: what is wrong, where, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST_INPUT = 80
"""Maximum number of characters of an invalid value that a message repeats."""


class CytotomeError(Exception):
    """Base class of all errors that cytotome raises on purpose; the command line exits with code 2."""


class ImageError(CytotomeError):
    """An image file or array that cannot be used: damaged, empty, non-finite, constant or absurdly large."""


class DataError(CytotomeError):
    """A dataset, annotation or label file that cannot be used."""


class ConfigError(CytotomeError):
    """A recipe, a family's config or a command's option that is not valid; all errors are listed at once."""


class ModelError(CytotomeError):
    """A model file that is damaged, of another format, or made by a family that is not installed."""


class TrainingError(CytotomeError):
    """Training that cannot continue: a loss that is not finite, no labelled cell, nothing to validate on."""


def one_line(error: Exception) -> str:
    """Type and message of an error, as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def describe(error: ValidationError, place: str = "") -> list[str]:
    """Formats a pydantic error, one line per field: its name, what is wrong and what was given.

    Args:
        error: the validation error.
        place: prefix of each field's name, such as ``config.``.
    """
    faults = []
    for fault in error.errors():
        field = (place + ".".join(str(part) for part in fault["loc"])).rstrip(".")
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "there is no such field"
        elif fault["type"] not in ("missing", "value_error"):
            given = repr(fault["input"])
            message += f", got {given if len(given) <= LONGEST_INPUT else given[:LONGEST_INPUT] + '...'}"
        faults.append(f"{field}: {message}" if field else message)
    return faults
