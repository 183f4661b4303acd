"""Pretrained weights of encoders: from a file, or from timm, downloaded only if the host can be reached."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import Tensor, nn

from cytotome.errors import ConfigError

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
PATIENCE = 3.0
"""Timeout in seconds for a host; the hub's own client retries for most of a minute."""
MOST_NAMED = 6


@dataclass(frozen=True)
class Taken:
    """The pretrained weights that a network loaded.

    Attributes:
        source: file or name of the weights.
        taken: number of tensors that were loaded.
        new: names of its other tensors, which keep their initialisation.
        licence: licence of the weights, empty if unknown.
    """

    source: str
    taken: int
    new: tuple[str, ...] = ()
    licence: str = ""

    def text(self) -> str:
        """Returns the facts as one readable line."""
        said = f"pretrained: took {self.taken} of {self.taken + len(self.new)} tensors from {self.source}"
        layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in self.new))
        more = f" and {len(layers) - MOST_NAMED} layers more" if len(layers) > MOST_NAMED else ""
        return f"{said}; new: {', '.join(layers[:MOST_NAMED])}{more}" if layers else said


def remember(module: nn.Module, taken: Taken) -> None:
    """Stores with a module which weights it loaded, for :func:`all_taken`."""
    module._taken = taken  # type: ignore[assignment]


def all_taken(net: nn.Module) -> Iterator[Taken]:
    """Returns the pretrained weights that the parts of a network loaded."""
    for module in net.modules():
        taken = getattr(module, "_taken", None)
        if isinstance(taken, Taken):
            yield taken


def load_encoder(encoder: nn.Module, path: Path) -> Taken:
    """Copies weights of a file into an encoder, by name, or by order if no name matches.

    The file must contain all weights of the encoder; others, such as those of a classifier, are ignored. By order,
    those of the encoder come first. The colours of the first convolution are summed if images are grey.

    Raises:
        ConfigError: if the file cannot be read, lacks a weight, or has one of another shape.
    """
    weights, own = learned(read_weights(path)), learned(encoder.state_dict())
    named = not {_key(name) for name in weights}.isdisjoint(_key(name) for name in own)
    taken = whole(weights, own, str(path)) if named else _by_order(weights, own)
    if not taken:
        raise ConfigError(
            f"pretrained: no weight of {str(path)!r} fits this network; choose the encoder that it belongs to"
        )
    encoder.load_state_dict({**encoder.state_dict(), **taken})
    return Taken(str(path), len(taken))


def learned(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights without the counters of batch normalisation, integers that some files omit."""
    return {name: value for name, value in weights.items() if value.ndim or value.is_floating_point()}


def whole(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Selects all weights of a network, by its own names, from those of a file.

    Raises:
        ConfigError: if one is missing or of another shape, since the file is then for another network.
    """
    theirs = {_key(name): value for name, value in weights.items()}
    taken = {name: fitted(theirs.get(_key(name)), value) for name, value in own.items()}
    other = [name for name, value in taken.items() if value is None and _key(name) in theirs]
    missing = [name for name, value in taken.items() if value is None and _key(name) not in theirs]
    faults = []
    if other:
        shapes = f"{_shape(theirs[_key(other[0])])} in the file and {_shape(own[other[0]])} in the network"
        faults.append(f"{len(other)} have another shape, first {other[0]}, {shapes}")
    if missing:
        faults.append(f"{len(missing)} are not in it, first {missing[0]}")
    if faults:
        raise ConfigError(
            f"pretrained: {source} belongs to another network: of the {len(own)} tensors needed, "
            f"{' and '.join(faults)}; choose the encoder of the file, or a file for this encoder"
        )
    return {name: value for name, value in taken.items() if value is not None}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a ``.pth`` or ``.safetensors`` file; no code in it is executed.

    Raises:
        ConfigError: if the file cannot be read.
    """
    if not path.is_file():
        raise ConfigError(f"pretrained: {path} not found; expected a name that the family knows or the path of a file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own errors
        fault = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"pretrained: {path} cannot be read ({fault}); expected a file that contains only weights"
        ) from error
    content = content if isinstance(content, dict) else {}
    content = content.get("state_dict") or content.get("model") or content
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def fitted(value: Tensor | None, own: Tensor | None) -> Tensor | None:
    """The value in the shape of the network's tensor, None if it differs; colours are summed if images are grey."""
    if value is None or own is None:
        return None
    if value.ndim == 4 and own.ndim == 4 and value.shape[1] == 3 and own.shape[1] == 1:
        value = value.sum(dim=1, keepdim=True)
    return value.to(own.dtype) if value.shape == own.shape else None


def timm_weights(name: str) -> tuple[dict[str, Any], str]:
    """Returns the options of ``timm.create_model`` that load pretrained weights, and their licence.

    Weights are only downloaded if they are not in the cache.

    Raises:
        ConfigError: if timm has no weights for the name, or they are not in the cache and cannot be downloaded.
    """
    import timm  # takes seconds to import

    config = timm.models.get_pretrained_cfg(name)
    if config is None:
        return {"pretrained": True}, ""  # timm itself reports that it has no such network
    if not config.has_weights:
        raise ConfigError(f"pretrained: timm has no weights for {name!r}; omit pretrained, or give a file")
    licence = f"{config.license} (timm's weights of {name})" if config.license else ""
    if not config.hf_hub_id:
        require_host(str(config.url), name)
        return {"pretrained": True}, licence
    files = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
    path = hub_file(config.hf_hub_id, files, name)
    return {"pretrained": True, "pretrained_cfg_overlay": {"file": path}}, licence


def hub_file(repository: str, files: Sequence[str], name: str) -> str:
    """Returns the path of the first of several files that exists in a repository of the Hugging Face hub, cached if
    possible.

    Raises:
        ConfigError: if it is not in the cache and cannot be downloaded.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = repository.partition("@")
    version = revision or None
    for file in files:
        try:
            return str(hf_hub_download(repository, file, revision=version, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    require_host(constants.ENDPOINT, name)
    fault = "it has none of " + ", ".join(files)
    for file in files:
        try:
            return str(hf_hub_download(repository, file, revision=version))
        except EntryNotFoundError:
            continue
        except Exception as error:  # each client has its own errors
            fault = " ".join(str(error).split())[:200]
            break
    raise ConfigError(
        f"pretrained: the weights of {name} cannot be downloaded from {repository} ({fault}); give a file"
    )


def require_host(url: str, name: str) -> None:
    """Raises ConfigError immediately if the host of the weights cannot be reached."""
    parts = urlsplit(url)
    if getproxies().get(parts.scheme):
        return
    try:
        socket.create_connection((parts.hostname or "", parts.port or 443), timeout=PATIENCE).close()
    except OSError as error:
        raise ConfigError(
            f"pretrained: the weights of {name} are not in the cache, and {parts.hostname} cannot be reached "
            f"({error}); give a file with the weights, or omit pretrained"
        ) from None


def _key(name: str) -> str:
    """Normalises a name, as timm's feature pyramids join its parts by ``_`` instead of ``.``."""
    return name.replace(".", "_")


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "one number"


def _by_order(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    taken = {}
    for name, value in zip_longest(own, list(weights.values())[: len(own)]):
        fitting = None if value is None else fitted(value, own[name])
        if fitting is None:
            return {}
        taken[name] = fitting
    return taken
