"""The methods, one folder each, found by name without importing torch; other packages can add their own."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any, TypeAlias

from cytotome.contract import DecodeParameters, Family, FamilyConfig
from cytotome.errors import ConfigError
from cytotome.plugins import FAMILIES, load_plugin, plugin_names

if TYPE_CHECKING:
    import torch

AnyFamily: TypeAlias = "Family[FamilyConfig, DecodeParameters, torch.nn.Module, Any, Any]"
"""A family that is looked up by name, whose type parameters are only known at run time."""

FORMER_NAMES = {"unetr_gan": "unetr"}
"""Former names of families in older recipes and model files, and the families that read them now."""


def family_names() -> tuple[str, ...]:
    """Returns the names of all families, including plugins, sorted."""
    return tuple(sorted({*_own_names(), *plugin_names(FAMILIES)}))


def get_family(name: str) -> AnyFamily:
    """Returns the family of a name; for former names, one that reads the configs of older files.

    Families of cytotome take precedence over plugins.

    Raises:
        ConfigError: if there is no such family (the message lists all names), or a plugin cannot be loaded.
    """
    if name in FORMER_NAMES:
        former = importlib.import_module(f"{__name__}.{FORMER_NAMES[name]}").FORMER[name]
        assert isinstance(former, Family)
        return former
    if name in _own_names():
        family = importlib.import_module(f"{__name__}.{name}").FAMILY
        assert isinstance(family, Family)
        return family
    if name not in plugin_names(FAMILIES):
        raise ConfigError(f"there is no family {name!r}; choose one of {', '.join(family_names())}")
    return load_plugin(FAMILIES, name, Family)


def _own_names() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__) if module.ispkg}
