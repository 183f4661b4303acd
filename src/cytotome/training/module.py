"""The Lightning module that trains any family: stages one after the other, the phases of each in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from typing_extensions import override

from cytotome.contract import Phase, Stage
from cytotome.errors import TrainingError
from cytotome.training.average import WeightAverage
from cytotome.training.optimisers import make_optimiser
from cytotome.training.plan import phase_settings
from cytotome.training.progress import Progress, learning_rate
from cytotome.training.schedule import Schedule
from cytotome.training.teacher import MeanTeacher

STAGE_KEY = "stage"
"""Key of a batch under which the number of its stage stands."""
LOG_EVERY = 10


@dataclass(frozen=True)
class Pass:
    """A phase with its optimiser, its greatest learning rate and the parameters that it changes."""

    name: str
    phase: Phase[nn.Module]
    parameters: list[nn.Parameter]
    optimiser: torch.optim.Optimizer
    learning_rate: float


class TrainingModule(lightning.LightningModule):
    """Minimises the losses of a family's phases over its network.

    Args:
        net: the family's network.
        stages: those of the family that the run trains.
        schedule: optimisers, learning rates, clipping, averaging.
        progress: shared with what makes the batches.
        teacher: whose part in the losses the stages hold already; its weights are the average's.

    Raises:
        TrainingError: where a phase has no parameters, gives no ``total``, or gives a loss that is not finite.
    """

    def __init__(
        self,
        net: nn.Module,
        stages: tuple[Stage[nn.Module], ...],
        schedule: Schedule,
        progress: Progress,
        teacher: MeanTeacher | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = net.to(memory_format=torch.channels_last)
        self.schedule = schedule
        self.progress = progress
        self.stages = stages
        self.teacher = teacher
        self.passes = [[_make_pass(net, stage, phase, schedule) for phase in stage.phases] for stage in stages]
        self.average: WeightAverage | None = None
        self.current_stage = -1
        self.latest: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    @override
    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [one.optimiser for passes in self.passes for one in passes]

    @override
    def on_fit_start(self) -> None:
        self.average = WeightAverage(self.net, self.schedule.ema)
        if self.teacher is not None:
            self.teacher.attach(self.net, self.average, self.progress)

    @override
    def transfer_batch_to_device(
        self, batch: dict[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        moved = {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }
        moved["image"] = moved["image"].to(memory_format=torch.channels_last)
        return moved

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        number = batch.pop(STAGE_KEY)
        if number != self.current_stage:
            self._enter(number)
        stage, done = self.progress.stage(self.progress.fraction())
        done = done if stage == number else float(stage > number)
        part = learning_rate(done, 1.0, self.schedule.final_learning_rate, self.schedule.warmup)
        for one in self.passes[number]:
            if self.progress.step % one.phase.every == 0:
                self._minimise(one, batch, part * one.learning_rate)
        assert self.average is not None
        self.average.update()
        self.progress.step += 1
        if self.progress.step % LOG_EVERY == 0:
            self.report(part * self.passes[number][0].learning_rate)

    def report(self, rate: float) -> None:
        """Means of the losses since the last report, in :attr:`latest`; raises where one is not finite.

        Args:
            rate: present learning rate of the stage's first phase.
        """
        self.latest = {name: float(value) / self._counts[name] for name, value in self._sums.items()}
        self._sums, self._counts = {}, {}
        for name, value in self.latest.items():
            if value - value != 0:
                self._stop(name, value)
        self.latest["learning_rate"] = rate

    def check_finite(self) -> None:
        """Raises where a loss since the last report was not finite; waits for the device."""
        for name, value in self._sums.items():
            if not bool(torch.isfinite(value)):
                self._stop(name, float(value))

    def log_state(self) -> dict[str, Any]:
        """What was summed since the last report, for a checkpoint."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_log_state(self, state: dict[str, Any]) -> None:
        """Goes on with sums of a checkpoint."""
        self._sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        self._counts = dict(state["counts"])

    def _stop(self, name: str, value: float) -> None:
        raise TrainingError(
            f"the loss {name} became {value} by step {self.progress.step}; lower schedule.learning_rate (now "
            f"{self.schedule.learning_rate:g}), set schedule.precision to float32, or look for damaged images"
        )

    def _minimise(self, one: Pass, batch: dict[str, Any], rate: float) -> None:
        if len(self.passes[self.current_stage]) > 1:
            self._let_learn([one])
        losses = one.phase.loss(self.net, batch)
        if "total" not in losses:
            raise TrainingError(f"{one.name}: the loss gives {', '.join(losses)} and no 'total'; correct the family")
        for name, value in losses.items():
            self._add(f"{one.name}/{name}", value.detach())
        one.optimiser.zero_grad(set_to_none=True)
        self.manual_backward(losses["total"])
        if self.schedule.clip:
            nn.utils.clip_grad_norm_(one.parameters, self.schedule.clip)
        for group in one.optimiser.param_groups:
            group["lr"] = rate
        one.optimiser.step()
        if one.phase.after_step is not None:
            one.phase.after_step(self.net)

    def _add(self, name: str, value: Tensor) -> None:
        value = value.float()
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1
        if value.device.type == "cpu" and not torch.isfinite(value):
            self._stop(name, float(value))

    def _enter(self, number: int) -> None:
        """Lets the stage's parameters learn; the rest of the network is fixed, its running statistics too."""
        self.current_stage = number
        self.net.train()
        self._let_learn(self.passes[number])
        for module in self.net.modules():
            own = list(module.parameters(recurse=False))
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()

    def _let_learn(self, passes: list[Pass]) -> None:
        learning = {id(parameter) for one in passes for parameter in one.parameters}
        for parameter in self.net.parameters():
            parameter.requires_grad_(id(parameter) in learning)


def _make_pass(net: nn.Module, stage: Stage[nn.Module], phase: Phase[nn.Module], schedule: Schedule) -> Pass:
    name = f"{stage.name}/{phase.name}"
    parameters = list(phase.parameters(net))
    if not parameters:
        raise TrainingError(f"{name}: the phase has no parameters to change; correct the family")
    settings = phase_settings(stage, phase, schedule)
    return Pass(name, phase, parameters, make_optimiser(parameters, settings), settings.learning_rate)
