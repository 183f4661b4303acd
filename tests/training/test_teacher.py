"""The mean teacher: whose weights it has, what is compared, and a whole run with unlabelled images."""

from __future__ import annotations

import csv
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cytotome.contract import PER_INSTANCE
from cytotome.data.sampling import WEAK
from cytotome.errors import ConfigError
from cytotome.families import get_family
from cytotome.models.file import read_model
from cytotome.training.callbacks import Reports
from cytotome.training.ema import Ema
from cytotome.training.loop import Learner
from cytotome.training.progress import Progress
from cytotome.training.recipe import load_recipe
from cytotome.training.schedule import TeacherSettings
from cytotome.training.teacher import MeanTeacher, labelled_part
from cytotome.training.train import train

FLOW = {"widths": [8, 8], "blocks": [0, 1], "input_scale": 1.0}


def make_teacher(**settings: Any) -> tuple[MeanTeacher, nn.Module, Ema]:
    family = get_family("flow")
    config = family.config.model_validate(FLOW)
    torch.manual_seed(0)
    net = family.build(config)
    average = Ema(net, 0.9)
    teacher = MeanTeacher(family, config, TeacherSettings(**settings))
    teacher.attach(average, Progress(100, None, [1.0]))
    return teacher, net, average


def unlabelled_batch(**more: Tensor) -> dict[str, Tensor]:
    images = torch.rand(4, 1, 32, 32)
    return {"image": images, WEAK: images.clone(), "labelled": torch.tensor([True, False, True, False]), **more}


def test_the_teacher_has_the_averaged_weights_at_all_times() -> None:
    teacher, net, average = make_teacher()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
    for _ in range(3):
        average.update_parameters(net)
    assert teacher.net is not None
    for name, value in teacher.net.state_dict().items():
        assert torch.equal(value, average.weights()[name]), name
    assert not any(parameter.requires_grad for parameter in teacher.net.parameters())
    assert not any(torch.equal(p, q) for p, q in zip(net.parameters(), teacher.net.parameters(), strict=True) if p.ndim)


def test_equal_networks_agree_and_only_unlabelled_crops_are_compared() -> None:
    teacher, net, _ = make_teacher()
    net.eval()
    batch = unlabelled_batch()
    assert teacher.consistency(net, batch).item() == pytest.approx(0, abs=1e-9)
    batch["image"][0] += 1  # labelled
    assert teacher.consistency(net, batch).item() == pytest.approx(0, abs=1e-9)
    batch["image"][1] += 1
    consistency = teacher.consistency(net, batch)
    assert consistency.item() > 1e-6
    consistency.backward()
    assert all(p.grad is None for p in teacher.net.parameters())  # type: ignore[union-attr]


def test_the_weight_rises() -> None:
    teacher, _, _ = make_teacher(weight=2.0, ramp=0.5)
    assert teacher.progress is not None
    assert teacher.weight() == pytest.approx(2 * math.exp(-5))
    teacher.progress.step = 25
    assert teacher.weight() == pytest.approx(2 * math.exp(-5 / 4))
    teacher.progress.step = 60
    assert teacher.weight() == 2.0


def test_the_familys_own_losses_see_labelled_crops_alone() -> None:
    part = labelled_part(unlabelled_batch(**{PER_INSTANCE + "boxes": torch.zeros(7, 4)}))
    assert len(part["image"]) == 2
    assert len(part[PER_INSTANCE + "boxes"]) == 7
    assert part["labelled"].all()


def run_recipe(steps: int = 20) -> dict[str, Any]:
    return {
        "name": "taught",
        "family": "flow",
        "config": FLOW,
        "teacher": {"unlabelled": 1, "ramp": 0.0},
        "sampling": {"crop": [32, 32], "batch": 4, "workers": 0},
        "schedule": {"steps": steps, "learning_rate": 0.01, "ema": 0.9, "precision": "float32"},
    }


def test_a_run_learns_from_both_streams(disks: Any, quiet: Any, tmp_path: Path) -> None:
    train(run_recipe(), disks(), output=tmp_path, console=quiet, device="cpu")
    with (tmp_path / "metrics.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        losses = {name.rpartition("/")[2]: float(value) for name, value in row.items() if name.startswith("flow/all/")}
        assert losses["consistency"] > 0
        assert losses["total"] == pytest.approx(5 * losses["flow"] + losses["cell"] + losses["consistency"], rel=1e-3)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_interrupted_resumes_with_the_same_teacher(
    disks: Any, quiet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    unbroken = read_model(train(run_recipe(), disks(), output=tmp_path / "a", console=quiet, device="cpu"))
    original = Reports.after_step

    def stop(self: Reports, learner: Learner) -> None:
        original(self, learner)
        if learner.progress.step == 10:
            signal.raise_signal(number)

    monkeypatch.setattr(Reports, "after_step", stop)
    with pytest.raises(KeyboardInterrupt):
        train(run_recipe(), disks(), output=tmp_path / "b", console=quiet, device="cpu")
    monkeypatch.setattr(Reports, "after_step", original)
    resumed = read_model(train(run_recipe(), disks(), output=tmp_path / "b", console=quiet, device="cpu"))
    quiet.file.flush()
    assert "resuming from step 10 of" in (tmp_path / "said.txt").read_text()
    for name, value in unbroken.weights.items():
        assert torch.equal(resumed.weights[name], value), name


def test_families_that_cannot_be_taught_are_told(recipe: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="duel learns from unlabelled images itself; leave the teacher out"):
        load_recipe({**recipe, "teacher": {}})
    with pytest.raises(ConfigError, match=r"teacher: its weights are the average; set schedule\.ema above 0"):
        load_recipe({**run_recipe(), "schedule": {"ema": 0}})
