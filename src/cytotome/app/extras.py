"""Packages that only some commands need, and that come with an extra."""

from __future__ import annotations

import importlib.util

from cytotome.errors import ConfigError


def check_extra(package: str, work: str) -> None:
    """Makes sure that a package of the extra ``train`` is installed, before the work starts.

    Raises:
        ConfigError: where it is not.
    """
    if importlib.util.find_spec(package.lower()) is None:
        raise ConfigError(f'{work} needs {package}, which is not installed; run pip install "cytotome[train]"')
