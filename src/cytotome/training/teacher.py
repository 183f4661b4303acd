"""Mean teacher (Tarvainen and Valpola 2017, arXiv 1703.01780): learning from unlabelled images for dense families.

The teacher has the averaged weights. On unlabelled images, its input is the crop; the network's input is the crop with
strong changes of grey levels and cut-out parts, and it is trained to predict the teacher's outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cytotome.contract import PER_INSTANCE, Batch, FamilyConfig, Losses, Outputs, Phase, Stage
from cytotome.data.sampling import WEAK
from cytotome.families import AnyFamily
from cytotome.training.ema import Ema
from cytotome.training.progress import Progress
from cytotome.training.schedule import Schedule, TeacherSettings


class MeanTeacher:
    """Adds the consistency with a teacher to the losses of a family's stages.

    Args:
        family: family of the network; its outputs must have a difference.
        config: config of the family.
        settings: weight, its rise, share of unlabelled crops.
    """

    def __init__(self, family: AnyFamily, config: FamilyConfig, settings: TeacherSettings) -> None:
        self.predict: Callable[[nn.Module, Tensor], Any] = family.predict
        self.outputs: Outputs[Any, Any] = family.outputs(config)
        self.settings = settings
        self.net: nn.Module | None = None
        self.progress: Progress | None = None

    def attach(self, ema: Ema, progress: Progress) -> None:
        """Sets the averaged network as the teacher."""
        self.net, self.progress = ema.module.eval(), progress

    def stages(self, stages: Sequence[Stage[nn.Module]]) -> tuple[Stage[nn.Module], ...]:
        """Returns the stages with an unlabelled stream, whose phases include the consistency loss."""
        return tuple(
            replace(stage, streams=self.settings.streams, phases=tuple(self._taught(phase) for phase in stage.phases))
            for stage in stages
        )

    def _taught(self, phase: Phase[nn.Module]) -> Phase[nn.Module]:
        def loss(net: nn.Module, batch: Batch) -> Losses:
            losses = dict(phase.loss(net, labelled_part(batch)))
            losses["consistency"] = self.consistency(net, batch)
            losses["total"] = losses["total"] + self.weight() * losses["consistency"]
            return losses

        return replace(phase, loss=loss)

    def weight(self) -> float:
        """Current weight of the consistency, which rises as ``exp(-5 (1 - t)^2)``, as in the paper."""
        assert self.progress is not None
        if self.settings.ramp == 0:
            return self.settings.weight
        done = min(1.0, self.progress.fraction() / self.settings.ramp)
        return self.settings.weight * math.exp(-5 * (1 - done) ** 2)

    def consistency(self, net: nn.Module, batch: Batch) -> Tensor:
        """Difference between the network's and the teacher's outputs on the unlabelled crops."""
        assert self.net is not None
        unlabelled = ~batch["labelled"]
        channels_last = torch.channels_last
        with torch.no_grad():
            expected = self.predict(self.net, batch[WEAK][unlabelled].contiguous(memory_format=channels_last))
        found = self.predict(net, batch["image"][unlabelled].contiguous(memory_format=channels_last))
        return self.outputs.difference(found, expected)


def labelled_part(batch: Batch) -> dict[str, Tensor]:
    """Returns the labelled crops of a batch; targets of instances are only those of labelled crops anyway."""
    known = batch["labelled"]
    return {name: value if name.startswith(PER_INSTANCE) else value[known] for name, value in batch.items()}


def teacher_faults(family: AnyFamily, config: FamilyConfig, schedule: Schedule) -> list[str]:
    """Returns reasons why a family cannot be trained with a teacher, one line each."""
    faults = []
    if why := family.outputs(config).why_no_difference():
        faults.append(f"teacher: {family.name} predicts {why}; use pseudo-labels for it")
    if any("unlabelled" in stage.streams for stage in family.stages(config)):
        faults.append(f"teacher: {family.name} learns from unlabelled images itself; leave the teacher out")
    if schedule.ema == 0:
        faults.append("teacher: its weights are the average; set schedule.ema above 0, such as 0.99")
    return faults
