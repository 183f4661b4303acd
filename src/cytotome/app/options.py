"""What several commands check and parse of what was typed, and the packages that only some of them need."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal

from cytotome.errors import ConfigError


def check_microns(microns: float | None) -> None:
    """Raises ConfigError where microns per pixel are given and no positive number."""
    if microns is not None and not 0 < microns < float("inf"):
        raise ConfigError(f"microns: expected a positive number, got {microns}")


def parse_page(text: str | None) -> int | Literal["all"] | None:
    """A page as it is typed: a number from 0, or ``all``.

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
    """``name=value`` texts as a mapping; values are read as YAML.

    Raises:
        ConfigError: if one has another form, all such at once.
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
    """Makes sure that a package of the extra ``train`` is installed, before the work starts.

    Raises:
        ConfigError: if it is not.
    """
    if importlib.util.find_spec(package.lower()) is None:
        raise ConfigError(f'{work} needs {package}, which is not installed; run pip install "cytotome[train]"')
