"""Plugins of other installed packages, found by entry points; see docs/plugins.md.

Names are listed without importing anything. A plugin is imported only when it is requested by name, so a broken one
does no harm until then.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Literal, TypeVar

from cytotome.errors import ConfigError, one_line

Group = Literal["cytotome.families", "cytotome.layouts", "cytotome.exports"]
FAMILIES: Final = "cytotome.families"
LAYOUTS: Final = "cytotome.layouts"
EXPORTS: Final = "cytotome.exports"
Kind = TypeVar("Kind")


def plugin_names(group: Group) -> tuple[str, ...]:
    """Returns the names of the plugins of a group, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def load_plugin(group: Group, name: str, kind: type[Kind]) -> Kind:
    """Imports and returns the object of a plugin.

    Raises:
        ConfigError: if there is no plugin of that name, two packages provide one, it cannot be imported or it is not a
            ``kind``. The message names the plugin and its package.
    """
    found = list(dict.fromkeys(entry_points(group=group, name=name)))
    if not found:
        raise ConfigError(f"there is no plugin {name!r} in {group}; {_listed(plugin_names(group))}")
    if len(found) > 1:
        packages = " and ".join(sorted(_package(point) for point in found))
        raise ConfigError(f"{name!r} in {group} is offered by {packages}; uninstall one of them")
    (point,) = found
    try:
        value = point.load()
    except Exception as error:
        raise ConfigError(f"{_described(point)} cannot be loaded ({one_line(error)}); {_remedy(point)}") from error
    if not isinstance(value, kind):
        got = type(value).__name__
        raise ConfigError(f"{_described(point)} must be of type {kind.__name__}, got {got}; {_remedy(point)}")
    return value


def _described(point: EntryPoint) -> str:
    return f"the plugin {point.name!r} ({point.value}, {point.group}) of {_package(point)}"


def _remedy(point: EntryPoint) -> str:
    return f"update or uninstall {point.dist.name if point.dist else 'its package'}"


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _listed(names: Iterable[str]) -> str:
    return f"installed are {', '.join(names)}" if names else "none is installed"
