"""Checkpoints: everything that a killed run needs to resume as if it had not been interrupted. Written atomically."""

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
from cytotome.training.loop import Learner
from cytotome.training.stopping import EarlyStopping

FORMAT = 3


def save_checkpoint(path: Path, learner: Learner, stopping: EarlyStopping, identity: Identity, heritage: Card) -> None:
    """Writes weights, averages, optimisers, random state, step and time.

    Args:
        path: replaced atomically, so that there is always a complete checkpoint.
        learner: learner, between two steps.
        stopping: early stopping, with the best weights if they are kept.
        identity: identity of the run, which is compared when resuming.
        heritage: what the model inherits from data and ancestors, which may no longer exist when the run is resumed.

    Raises:
        TrainingError: if a loss has become non-finite, so that a good checkpoint is never replaced by a bad one.
    """
    learner.check_finite()
    device = learner.fabric.device
    content = {
        "format": FORMAT,
        "identity": asdict(identity),
        "heritage": heritage.model_dump(mode="json"),
        "step": learner.progress.step,
        "spent": learner.progress.elapsed(),
        "net": learner.net.state_dict(),
        "average": learner.ema.weights(),
        "averaged": int(learner.ema.n_averaged),
        "optimisers": [optimiser.state_dict() for optimiser in learner.optimisers],
        "stopping": stopping.state(),
        "log": learner.log_state(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path, identity: Identity) -> dict[str, Any]:
    """Reads a checkpoint to the CPU; only tensors and plain values are read.

    Raises:
        TrainingError: if the file is damaged or belongs to another run.
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


def restore(learner: Learner, content: dict[str, Any]) -> None:
    """Restores a learner from a checkpoint; random states are restored last, as they must not be used afterwards.

    Processes other than the first have their own random states, which are not in checkpoints.
    """
    learner.net.load_state_dict(content["net"])
    learner.ema.load(content["average"], content["averaged"])
    for optimiser, state in zip(learner.optimisers, content["optimisers"], strict=True):
        optimiser.load_state_dict(state)
    learner.load_log_state(content["log"])
    if learner.fabric.is_global_zero:
        torch.set_rng_state(content["random"])
        if content["random_cuda"] is not None and learner.fabric.device.type == "cuda":
            torch.cuda.set_rng_state(content["random_cuda"], learner.fabric.device)
