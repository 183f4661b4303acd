"""Checking and parsing of options that several commands share, and checks for optional packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal

from cytotome.errors import ConfigError


def check_microns(microns: float | None) -> None:
    """Raises ConfigError if microns per pixel are given and not a positive number."""
    if microns is not None and not 0 < microns < float("inf"):
        raise ConfigError(f"microns: expected a positive number, got {microns}")


def parse_page(text: str | None) -> int | Literal["all"] | None:
    """Parses a page: a number from 0, or ``all``.

    Raises:
        ConfigError: if it is neither.
    """
    if text is None:
        return None
    if text == "all":
        return "all"
    if not text.isascii() or not text.isdecimal():
        raise ConfigError(f"--page {text}: expected a number from 0, or all")
    return int(text)


def parse_overrides(settings: Sequence[str]) -> dict[str, Any]:
    """Parses ``name=value`` texts to a mapping; values are parsed as YAML.

    Raises:
        ConfigError: if any has another form; all such texts are listed.
    """
    import yaml

    overrides, faults = {}, []
    for text in settings:
        name, equals, value = text.partition("=")
        try:
            overrides[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not (equals and name.strip() and value.strip()):
            faults.append(repr(text))
    if faults:
        raise ConfigError(f"--set {', '.join(faults)}: expected NAME=VALUE, such as min_area=40")
    return overrides


def check_extra(package: str, work: str) -> None:
    """Checks that a package of the extra ``train`` is installed, before the work starts.

    Raises:
        ConfigError: if it is not.
    """
    if importlib.util.find_spec(package.lower()) is None:
        raise ConfigError(f'{work} needs {package}, which is not installed; run pip install "cytotome[train]"')
