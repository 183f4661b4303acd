"""The methods, one folder each, found by name without importing torch; other packages may add theirs."""

from __future__ import annotations

import importlib
import pkgutil

from cytotome.contract import Family
from cytotome.errors import ConfigError
from cytotome.plugins import FAMILIES, load_plugin, plugin_names


def family_names() -> tuple[str, ...]:
    """Names of all families, in alphabetical order, those of plugins too."""
    return tuple(sorted({*_own_names(), *plugin_names(FAMILIES)}))


def get_family(name: str) -> Family:
    """The family of that name; one of cytotome's own comes before a plugin's.

    Raises:
        ConfigError: where there is none; the message lists those there are. Where a plugin cannot be loaded.
    """
    if name in _own_names():
        family = importlib.import_module(f"{__name__}.{name}").FAMILY
        assert isinstance(family, Family)
        return family
    if name not in plugin_names(FAMILIES):
        raise ConfigError(f"there is no family {name!r}; choose one of {', '.join(family_names())}")
    return load_plugin(FAMILIES, name, Family)


def _own_names() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__) if module.ispkg}
