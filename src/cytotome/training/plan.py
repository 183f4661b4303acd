"""The stages of a family that a run trains, with their steps and settings, as modified by the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cytotome.contract import OptimiserName, Phase, Stage
from cytotome.errors import ConfigError
from cytotome.training.schedule import Schedule, StageSettings

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Plan:
    """The stages of one run.

    Attributes:
        stages: stages in order; those without steps are left out.
        lengths: steps of each, all positive; integers if all stages have their own steps.
        batches: number of crops per batch of each.
    """

    stages: tuple[Stage[nn.Module], ...]
    lengths: tuple[float, ...]
    batches: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return max(1, round(sum(self.lengths)))


def plan_stages(stages: Sequence[Stage[nn.Module]], schedule: Schedule, batch: int) -> Plan:
    """Returns the stages in ``schedule.only``, each as long as in a run of all stages.

    Stages with ``steps`` use these; the others share the remaining ``schedule.steps``. Those without their own batch
    size use ``batch`` crops.

    Raises:
        ConfigError: if stages are unknown, no steps are left for those that share them, or a batch is too small for the
            streams of its stage; all errors are listed.
    """
    faults = stage_faults(stages, schedule, batch)
    if faults:
        raise ConfigError("; ".join(faults))
    settings = [schedule.stages.get(stage.name, StageSettings()) for stage in stages]
    rest = schedule.steps - sum(one.steps or 0 for one in settings)
    shares = [_share(stage, one) for stage, one in zip(stages, settings, strict=True)]
    per_share = rest / (sum(shares) or 1.0)
    lengths = [one.steps or per_share * share for one, share in zip(settings, shares, strict=True)]
    chosen = [
        (stage, float(length), one.batch or batch)
        for stage, length, one in zip(stages, lengths, settings, strict=True)
        if length > 0 and (not schedule.only or stage.name in schedule.only)
    ]
    return Plan(*(tuple(column) for column in zip(*chosen, strict=True)))


def stage_faults(stages: Sequence[Stage[nn.Module]], schedule: Schedule, batch: int) -> list[str]:
    """Returns errors in the stages of a schedule, one line each; ``batch`` as in :func:`plan_stages`."""
    names = [stage.name for stage in stages]
    listed = ", ".join(names)
    faults = [
        f"schedule.stages.{name}: there is no such stage, only {listed}"
        for name in schedule.stages
        if name not in names
    ]
    faults += [
        f"schedule.only: there is no stage {name!r}, only {listed}" for name in schedule.only if name not in names
    ]
    settings = [schedule.stages.get(name, StageSettings()) for name in names]
    fixed = sum(one.steps or 0 for one in settings)
    sharing = [stage.name for stage, one in zip(stages, settings, strict=True) if _share(stage, one) > 0]
    if sharing and fixed >= schedule.steps:
        faults.append(
            f"schedule.steps: {schedule.steps} leave nothing to {', '.join(sharing)} beside the {fixed} of other "
            "stages; raise it or give every stage its own steps"
        )
    trained = [
        (stage, one.batch)
        for stage, one in zip(stages, settings, strict=True)
        if (one.steps or _share(stage, one)) and (not schedule.only or stage.name in schedule.only)
    ]
    if not trained and not faults:
        faults.append("schedule.stages: no stage has a share or steps; give one of them a share above 0")
    return faults + [
        f"{f'schedule.stages.{stage.name}' if own else 'sampling'}.batch: {own or batch} leaves a stream of the stage "
        f"{stage.name} ({', '.join(stage.streams)}) without a crop; set it to {len(stage.streams)} or more"
        for stage, own in trained
        if (own or batch) < len(stage.streams)
    ]


def _share(stage: Stage[nn.Module], settings: StageSettings) -> float:
    if settings.steps is not None:
        return 0.0
    return stage.share if settings.share is None else settings.share


@dataclass(frozen=True)
class PhaseSettings:
    """How one phase updates its parameters."""

    optimiser: OptimiserName
    learning_rate: float
    weight_decay: float


def phase_settings(stage: Stage[nn.Module], phase: Phase[nn.Module], schedule: Schedule) -> PhaseSettings:
    """Settings of the phase itself take precedence over the schedule's for its stage, then over those of the whole
    run.
    """
    settings = schedule.stages.get(stage.name, StageSettings())
    return PhaseSettings(
        phase.optimiser or settings.optimiser or schedule.optimiser,
        _first(phase.learning_rate, settings.learning_rate, schedule.learning_rate),
        _first(phase.weight_decay, settings.weight_decay, schedule.weight_decay),
    )


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
