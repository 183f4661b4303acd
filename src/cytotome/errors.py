"""Exceptions that a user may meet. Each message is one line: what, where, what to do."""

from __future__ import annotations


class CytotomeError(Exception):
    """Base of every error that cytotome raises on purpose; the command line exits with 2 on it."""


class ImageError(CytotomeError):
    """An image file or array that cannot be used: damaged, empty, non-finite, constant or absurdly large."""


class DataError(CytotomeError):
    """A dataset, annotation or label file that cannot be used."""


class ConfigError(CytotomeError):
    """A recipe, a family's config or a command's option that is not valid; all faults are named at once."""


class ModelError(CytotomeError):
    """A model file that is damaged, of another format, or made by a family that is not installed."""


class TrainingError(CytotomeError):
    """Training that cannot go on: a loss that is not finite, no labelled cell, nothing to validate on."""
