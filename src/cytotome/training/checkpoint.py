"""Checkpoints: all that a killed run needs to go on as if nothing had happened. Written whole or not at all."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cytotome.errors import TrainingError
from cytotome.io.files import atomic_path
from cytotome.models.card import Card
from cytotome.training.ancestry import Identity
from cytotome.training.module import TrainingModule

FORMAT = 2


def save_checkpoint(path: Path, module: TrainingModule, identity: Identity, heritage: Card) -> None:
    """Writes weights, averages, optimisers, random state, step and time.

    Args:
        path: replaced at once, so that there is always a whole checkpoint.
        module: within or after a fit.
        identity: of the run; resuming compares it.
        heritage: what the model inherits from data and ancestors, some of which may be gone when the run is resumed.

    Raises:
        TrainingError: where a loss has become non-finite, so that a good checkpoint is never replaced by a bad one.
    """
    module.check_finite()
    assert module.average is not None
    content = {
        "format": FORMAT,
        "identity": asdict(identity),
        "heritage": heritage.model_dump(mode="json"),
        "step": module.progress.step,
        "spent": module.progress.elapsed(),
        "net": module.net.state_dict(),
        "average": module.average.state_dict(),
        "updates": module.average.updates,
        "optimisers": [optimiser.state_dict() for optimiser in module.configure_optimizers()],
        "log": module.log_state(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path, identity: Identity) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU; nothing but tensors and plain values is read.

    Raises:
        TrainingError: where the file is damaged or belongs to another run.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path}: the checkpoint cannot be read; remove it, or start over by --anew") from error
    remedy = "choose another output folder, or start over by --anew"
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TrainingError(f"{path}: the checkpoint was written by another version of cytotome; {remedy}")
    changes = identity.changes(content["identity"])
    if changes:
        raise TrainingError(f"{path}: changed since this run was started: {' and '.join(changes)}; {remedy}")
    return content


def restore(module: TrainingModule, content: dict[str, Any]) -> None:
    """Brings a module to where a checkpoint was written; to be called within a fit, on the module's own device."""
    assert module.average is not None
    module.net.load_state_dict(content["net"])
    module.average.load(content["average"], content["updates"])
    for optimiser, state in zip(module.configure_optimizers(), content["optimisers"], strict=True):
        optimiser.load_state_dict(state)
    module.load_log_state(content["log"])
    torch.set_rng_state(content["random"])
    if content["random_cuda"] and len(content["random_cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(content["random_cuda"])
