"""The training loop: stages one after the other, the phases of each in turn, on one device or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from cytotome.contract import Phase, Stage
from cytotome.errors import TrainingError
from cytotome.training.batches import Batches
from cytotome.training.ema import Ema
from cytotome.training.optimisers import make_optimiser
from cytotome.training.plan import phase_settings
from cytotome.training.progress import Progress, learning_rate
from cytotome.training.schedule import Schedule
from cytotome.training.teacher import MeanTeacher

LOG_EVERY = 10
"""Steps between reports of the losses."""


class Hook(Protocol):
    """An action between steps, such as reports and checkpoints."""

    def after_step(self, learner: Learner) -> None:
        """Called after each step."""
        ...


def run_loop(learner: Learner, batches: Batches, hooks: Sequence[Hook], stopped: Callable[[], bool]) -> None:
    """Trains to the end of the schedule, or until ``stopped()``; the first process decides for all.

    Args:
        learner: performs the steps.
        batches: training batches.
        hooks: called after each step, in order.
        stopped: called before each step.

    Raises:
        TrainingError: if a loss is not finite.
    """
    progress = learner.progress
    while True:
        progress.now, stop = learner.fabric.broadcast((progress.elapsed(), stopped()))
        if stop or progress.fraction() >= 1:
            return
        stage, done = progress.stage(progress.fraction())
        learner.step(stage, done, batches.take(stage))
        for hook in hooks:
            hook.after_step(learner)


@dataclass(frozen=True)
class Pass:
    """A phase with its optimiser, its maximum learning rate and the parameters that it updates."""

    name: str
    phase: Phase[nn.Module]
    parameters: list[nn.Parameter]
    optimiser: torch.optim.Optimizer
    learning_rate: float


class Learner:
    """A network that is trained, its optimisers and the average of its weights.

    Args:
        fabric: device, precision and processes.
        net: the family's network; it is moved to the device.
        stages: stages of the family in this run.
        schedule: optimisers, learning rates, clipping, averaging.
        progress: of the run.
        teacher: mean teacher, whose loss is already part of the stages; it gets the averaged weights.

    Raises:
        TrainingError: if a phase has no parameters, returns no ``total``, or a loss that is not finite.
    """

    def __init__(
        self,
        fabric: Fabric,
        net: nn.Module,
        stages: tuple[Stage[nn.Module], ...],
        schedule: Schedule,
        progress: Progress,
        teacher: MeanTeacher | None = None,
    ) -> None:
        self.fabric, self.schedule, self.progress = fabric, schedule, progress
        self.net = net.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.passes = [[_make_pass(net, stage, phase, schedule) for phase in stage.phases] for stage in stages]
        self.ema = Ema(self.net, schedule.ema)
        if teacher is not None:
            teacher.attach(self.ema, progress)
        self.stage = -1
        self.latest: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    @property
    def optimisers(self) -> list[torch.optim.Optimizer]:
        """The optimisers of all phases of all stages."""
        return [one.optimiser for passes in self.passes for one in passes]

    def step(self, stage: int, done: float, batches: Sequence[dict[str, Any]]) -> None:
        """Performs a step of each phase of a stage that is due, and updates the average.

        Args:
            stage: number of the stage.
            done: finished fraction of the stage, in [0, 1].
            batches: one or more, whose gradients are averaged.
        """
        if stage != self.stage:
            self._enter(stage)
        moved = [self._to_device(batch) for batch in batches]
        part = learning_rate(done, 1.0, self.schedule.final_learning_rate, self.schedule.warmup)
        for one in self.passes[stage]:
            if self.progress.step % one.phase.every == 0:
                self.minimise(one, moved, part * one.learning_rate)
        self._mean([buffer for buffer in self.net.buffers() if buffer.is_floating_point()])
        self.ema.update_parameters(self.net)
        self.progress.step += 1
        if self.progress.step % LOG_EVERY == 0:
            self._report(part * self.passes[stage][0].learning_rate)

    def minimise(self, one: Pass, batches: Sequence[dict[str, Any]], rate: float) -> None:
        """Performs a step of a phase's optimiser with the learning rate ``rate``."""
        if len(self.passes[self.stage]) > 1:
            self._let_learn([one])
        one.optimiser.zero_grad(set_to_none=True)
        for batch in batches:
            with self.fabric.autocast():
                losses = one.phase.loss(self.net, batch)
            if "total" not in losses:
                raise TrainingError(
                    f"{one.name}: the loss gives {', '.join(losses)} and no 'total'; correct the family"
                )
            for name, value in losses.items():
                self._add(f"{one.name}/{name}", value.detach())
            self.fabric.backward(losses["total"] / len(batches))
        self._mean_gradients(one.parameters)
        if self.schedule.clip:
            nn.utils.clip_grad_norm_(one.parameters, self.schedule.clip)
        for group in one.optimiser.param_groups:
            group["lr"] = rate
        one.optimiser.step()
        if one.phase.after_step is not None:
            one.phase.after_step(self.net)

    def check_finite(self) -> None:
        """Raises if a loss since the last report was not finite; waits for the device."""
        for name, value in self._sums.items():
            if not bool(torch.isfinite(value)):
                self._stop(name, float(value))

    def log_state(self) -> dict[str, Any]:
        """Sums since the last report, for a checkpoint."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_log_state(self, state: dict[str, Any]) -> None:
        """Restores the sums of a checkpoint."""
        self._sums = {name: value.to(self.fabric.device) for name, value in state["sums"].items()}
        self._counts = dict(state["counts"])

    def _report(self, rate: float) -> None:
        """Means of the losses since the last report, in :attr:`latest`; raises if one is not finite."""
        self._mean(list(self._sums.values()))
        self.latest = {name: float(value) / self._counts[name] for name, value in self._sums.items()}
        self._sums, self._counts = {}, {}
        for name, value in self.latest.items():
            if value - value != 0:
                self._stop(name, value)
        self.latest["learning_rate"] = rate

    def _mean_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """The mean over all processes; if one process has no gradient of a parameter, it counts as zeros."""
        if self.fabric.world_size > 1:
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self._mean([parameter.grad for parameter in parameters if parameter.grad is not None])

    def _mean(self, tensors: Sequence[Tensor]) -> None:
        """Replaces the tensors by their means over all processes, all at once."""
        if self.fabric.world_size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self.fabric.all_reduce(flat)  # in place
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def _stop(self, name: str, value: float) -> None:
        raise TrainingError(
            f"the loss {name} became {value} by step {self.progress.step}; lower schedule.learning_rate (now "
            f"{self.schedule.learning_rate:g}), set schedule.precision to float32, or look for damaged images"
        )

    def _to_device(self, batch: dict[str, Any]) -> dict[str, Any]:
        moved = {name: value.to(self.fabric.device, non_blocking=True) for name, value in batch.items()}
        moved["image"] = moved["image"].to(memory_format=torch.channels_last)
        return moved

    def _add(self, name: str, value: Tensor) -> None:
        value = value.float()
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1
        if value.device.type == "cpu" and not torch.isfinite(value):
            self._stop(name, float(value))

    def _enter(self, number: int) -> None:
        """Makes the stage's parameters trainable; the rest of the network, including running statistics, is frozen."""
        self.stage = number
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
