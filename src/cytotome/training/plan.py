"""Which stages of a family a run trains, for how many steps each, and how: the recipe's word on the family's."""

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
        stages: in order; those with no step are left out.
        lengths: steps of each, all positive; whole numbers if all stages have steps of their own.
        batches: crops of a batch of each.
    """

    stages: tuple[Stage[nn.Module], ...]
    lengths: tuple[float, ...]
    batches: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return max(1, round(sum(self.lengths)))


def plan_stages(stages: Sequence[Stage[nn.Module]], schedule: Schedule, batch: int) -> Plan:
    """The stages that ``schedule.only`` names, each as long as in a run of all stages.

    Stages with ``steps`` take these; the others share what is left of ``schedule.steps``. Those without a batch of
    their own take ``batch`` crops.

    Raises:
        ConfigError: names every fault at once: stages that there are not, no step for one that shares the rest, or a
            batch too small for the streams of its stage.
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
    """What is wrong with the stages of a schedule, one line each; ``batch`` as in :func:`plan_stages`."""
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
    """How one phase changes its parameters."""

    optimiser: OptimiserName
    learning_rate: float
    weight_decay: float


def phase_settings(stage: Stage[nn.Module], phase: Phase[nn.Module], schedule: Schedule) -> PhaseSettings:
    """What the phase itself says comes first, then what the schedule says of its stage, then of the whole run."""
    settings = schedule.stages.get(stage.name, StageSettings())
    return PhaseSettings(
        phase.optimiser or settings.optimiser or schedule.optimiser,
        _first(phase.learning_rate, settings.learning_rate, schedule.learning_rate),
        _first(phase.weight_decay, settings.weight_decay, schedule.weight_decay),
    )


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
