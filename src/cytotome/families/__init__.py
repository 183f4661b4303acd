"""The methods, one folder each, found by name without importing torch; other packages may add theirs."""

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
"""A family as engines have it, by its name: the types that it is generic over are known when the program runs."""

FORMER_NAMES = {"unetr_gan": "unetr"}
"""Names that families had in older recipes and model files, and the families that read them today."""


def family_names() -> tuple[str, ...]:
    """Names of all families, in alphabetical order, those of plugins too."""
    return tuple(sorted({*_own_names(), *plugin_names(FAMILIES)}))


def get_family(name: str) -> AnyFamily:
    """The family of that name, or of a name in older files, which reads the config that such a file holds.

    One of cytotome's own comes before a plugin's.

    Raises:
        ConfigError: if there is none; the message lists those there are. Where a plugin cannot be loaded.
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
