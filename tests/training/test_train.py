"""Whole runs of a tiny family: learning, stages and phases, resuming, stopping."""

from __future__ import annotations

import csv
import multiprocessing
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.fabric import Fabric
from rich.console import Console

from cytotome.contract import Phase, Stage
from cytotome.data import sampling
from cytotome.errors import ConfigError, TrainingError
from cytotome.inference.model import load_single_model
from cytotome.metrics.challenge import image_score
from cytotome.models.file import read_model
from cytotome.training.callbacks import Reports
from cytotome.training.loop import Learner
from cytotome.training.progress import Progress
from cytotome.training.schedule import Schedule
from cytotome.training.train import train


class Killed(Exception):
    """Stands for a power cut."""


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    original = Reports.after_step

    def dying(self: Reports, learner: Learner) -> None:
        original(self, learner)
        if learner.progress.step == step:
            raise Killed

    monkeypatch.setattr(Reports, "after_step", dying)


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_run_ends_with_a_model_that_finds_the_cells(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path
) -> None:
    overrides = ["schedule.steps=120", "calibration_images=1", "schedule.validate_every=60"]
    path = train(recipe, disks(9), output=tmp_path, fold=0, overrides=overrides, console=quiet, device="cpu")
    assert path == tmp_path / "tiny.safetensors"
    model = load_single_model(path, device="cpu")
    sample = disks(9)[0]
    assert image_score(model.segment(sample.image), sample.instances) > 0.6
    assert model.parameters.model_dump()["threshold"] != 0.5  # calibrated
    rows = table_of(tmp_path)
    assert [int(row["step"]) for row in rows if row["warm/segment/total"]] == list(range(10, 91, 10))
    assert [int(row["step"]) for row in rows if row["duel/criticise/total"]] == [100, 110, 120]
    assert [int(row["step"]) for row in rows if row["validation/mean_ap"]] == [60, 120]
    losses = [float(row["warm/segment/total"]) for row in rows if row["warm/segment/total"]]
    assert losses[-1] < 0.5 * losses[0]
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text())["schedule"]["steps"] == 120
    quiet.file.flush()
    said = (tmp_path / "said.txt").read_text().splitlines()
    assert said[0] == "training on 3 labelled images, 3 held out; at most 120 steps"
    assert any(" to go: 107 steps of " in line for line in said)
    assert sum(line.startswith("held-out images (3): ") for line in said) == 1
    scores = read_model(path).card.scores
    assert scores["F1 at IoU 0.5, held-out images"] > 0.6
    assert scores["mAP, held-out images"] > 0.4


def test_stages_change_only_what_is_theirs(recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = train(recipe, disks(), output=tmp_path / "a", overrides=["schedule.steps=1"], console=quiet, device="cpu")
    whole = train(recipe, disks(), output=tmp_path / "b", console=quiet, device="cpu")
    early, late = read_model(first).weights, read_model(whole).weights
    assert not torch.equal(early["critic.0.weight"], late["critic.0.weight"])
    assert int(early["critic.1.num_batches_tracked"]) == 0
    assert not torch.equal(early["segmenter.0.weight"], late["segmenter.0.weight"])


@pytest.mark.parametrize(("step", "accumulate"), [(7, 1), (33, 2)])
def test_a_run_that_was_cut_off_ends_with_the_same_weights(
    recipe: dict[str, Any],
    disks: Any,
    quiet: Console,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    accumulate: int,
) -> None:
    recipe["schedule"]["accumulate"] = accumulate
    unbroken = train(recipe, disks(), output=tmp_path / "a", console=quiet, device="cpu")
    with monkeypatch.context() as patch:
        die_at(patch, step)
        with pytest.raises(Killed):
            train(recipe, disks(), output=tmp_path / "b", console=quiet, device="cpu")
    torch.manual_seed(99)
    resumed = train(recipe, disks(), output=tmp_path / "b", console=quiet, device="cpu")
    expected, found = read_model(unbroken), read_model(resumed)
    for name, value in expected.weights.items():
        assert torch.equal(found.weights[name], value), name
    columns = ("step", "warm/segment/total", "duel/segment/entropy", "duel/criticise/total", "learning_rate")
    rows = [[{name: row[name] for name in columns} for row in table_of(tmp_path / part)] for part in "ab"]
    assert rows[0] == rows[1]
    quiet.file.flush()
    assert f"resuming from step {step - 1} of" in (tmp_path / "said.txt").read_text()


def test_a_finished_run_is_not_trained_again(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = read_model(train(recipe, disks(), output=tmp_path, console=quiet, device="cpu")).digest
    monkeypatch.setattr(Learner, "step", None)
    quiet.file.flush()
    before = (tmp_path / "said.txt").read_text()
    path = train(recipe, disks(), output=tmp_path, console=quiet, device="cpu")
    assert read_model(path).digest == digest
    quiet.file.flush()
    (line,) = (tmp_path / "said.txt").read_text().removeprefix(before).splitlines()
    assert line.startswith(f"nothing was trained: {path} is finished")
    assert "--anew" in line


def test_a_checkpoint_of_another_run_is_refused(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path
) -> None:
    train(recipe, disks(), output=tmp_path, console=quiet, device="cpu", overrides=["schedule.steps=2"])
    with pytest.raises(TrainingError, match="changed since this run was started: the recipe; choose another"):
        train(recipe, disks(), output=tmp_path, console=quiet, device="cpu", overrides=["schedule.steps=3"])
    overrides = ["schedule.steps=3"]
    train(recipe, disks(), output=tmp_path, console=quiet, device="cpu", overrides=overrides, resume=False)
    (tmp_path / "last.ckpt").write_bytes(b"half a file")
    with pytest.raises(TrainingError, match="the checkpoint cannot be read"):
        train(recipe, disks(), output=tmp_path, console=quiet, device="cpu", overrides=overrides)


def test_a_loss_that_is_not_finite_stops_the_run_and_spares_the_checkpoint(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"the loss warm/segment/total became inf by step 0; lower"):
        train(recipe, disks(), output=tmp_path, overrides=["config.explode=true"], console=quiet, device="cpu")
    assert not (tmp_path / "last.ckpt").exists()
    assert not (tmp_path / "tiny.safetensors").exists()


def test_workers_are_left_out_where_shared_memory_is_too_small_for_their_batches(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "free_bytes", lambda: 100_000)
    recipe["sampling"]["workers"] = 2
    recipe["schedule"]["steps"] = 4
    assert train(recipe, disks(), output=tmp_path, console=quiet).is_file()
    said = (tmp_path / "said.txt").read_text()
    assert re.search(r"note: sampling\.workers=2 needs \S+ MB of shared memory and 0 MB are free", said)
    assert multiprocessing.active_children() == []


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # torch's advice where there is one processor
@pytest.mark.filterwarnings("ignore:Exception ignored in.*DataLoaderIter")  # torch may notice it once more
def test_a_worker_that_is_killed_stops_the_run(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe["sampling"]["workers"] = 1

    def kill(*_: Any) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    monkeypatch.setattr(Learner, "step", kill)
    with pytest.raises(TrainingError, match="was ended from outside"):
        train(recipe, disks(), output=tmp_path, console=quiet)


def test_a_stream_without_images_stops_the_run(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="no unlabelled image in disks"):
        train(recipe, disks(4, 0), output=tmp_path, console=quiet, device="cpu")


def test_wall_time_ends_a_run_with_a_low_learning_rate(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path
) -> None:
    begun = time.monotonic()
    overrides = ["schedule.steps=1000000", "schedule.checkpoint_minutes=1"]
    train(recipe, disks(), output=tmp_path, max_minutes=0.1, overrides=overrides, console=quiet, device="cpu")
    assert time.monotonic() - begun < 120  # a million steps take hours
    rows = table_of(tmp_path)
    rates = [float(row["learning_rate"]) for row in rows if row["warm/segment/total"]]
    assert max(rates) > 0.015
    assert min(rates) < 0.3 * max(rates)
    assert any(row["duel/segment/total"] for row in rows)


def test_starting_weights_are_taken_where_they_fit(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path
) -> None:
    source = train(recipe, disks(), output=tmp_path / "a", console=quiet, device="cpu")
    overrides = [f"weights={source}", "schedule.steps=1", "schedule.learning_rate=1.0e-9", "schedule.ema=0"]
    tuned = train(recipe, disks(), output=tmp_path / "b", overrides=overrides, console=quiet, device="cpu")
    before, after = read_model(source).weights, read_model(tuned).weights
    torch.testing.assert_close(after["segmenter.0.weight"], before["segmenter.0.weight"], atol=1e-6, rtol=0)
    other = [f"weights={source}", "config.width=16", "config.channels=3", "schedule.steps=1"]
    path = train(recipe, disks(), output=tmp_path / "c", overrides=other, console=quiet, device="cpu")
    kept = read_model(path).weights["critic.0.weight"]
    torch.testing.assert_close(kept, before["critic.0.weight"], atol=1e-6, rtol=0)


def test_stages_can_be_trained_one_by_one_each_from_the_one_before(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path
) -> None:
    first = train(recipe, disks(), output=tmp_path / "a", overrides=["schedule.only=[warm]"], console=quiet)
    overrides = ["schedule.only=[duel]", f"weights={first}", "schedule.stages.duel={steps: 20, learning_rate: 0.005}"]
    second = train(recipe, disks(), output=tmp_path / "b", overrides=overrides, console=quiet)
    rows = table_of(tmp_path / "a")
    assert [int(row["step"]) for row in rows if row["warm/segment/total"]] == [10, 20, 30]
    assert "duel/segment/total" not in rows[0]
    rows = table_of(tmp_path / "b")
    assert [int(row["step"]) for row in rows if row["duel/segment/total"]] == [10, 20]
    assert "warm/segment/total" not in rows[0]
    assert 0.002 < max(float(row["learning_rate"]) for row in rows) <= 0.005
    before, after = read_model(first).weights, read_model(second).weights
    apart = (after["segmenter.0.weight"] - before["segmenter.0.weight"]).abs().max()
    assert 0 < apart < 0.2  # of 20 small steps from where the first stage ended, not from random weights
    with pytest.raises(TrainingError, match="changed since this run was started: the recipe"):
        train(recipe, disks(), output=tmp_path / "a", overrides=["schedule.only=[duel]"], console=quiet)


def test_a_stage_has_its_own_batch(recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path) -> None:
    sizes: list[tuple[int, int]] = []
    original = Learner.step

    def looking(self: Learner, stage: int, done: float, batches: list[dict[str, Any]]) -> None:
        sizes.extend((stage, len(batch["image"])) for batch in batches)
        original(self, stage, done, batches)

    overrides = ["schedule.stages.duel={steps: 3, batch: 6}", "schedule.steps=5"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", looking)
        train(recipe, disks(), output=tmp_path, overrides=overrides, console=quiet, device="cpu")
    assert sizes == [(0, 4), (0, 4), (1, 6), (1, 6), (1, 6)]


def test_a_phase_has_its_own_optimiser_and_is_followed_by_its_hook() -> None:
    """A critic whose weights are clipped after each step, as in Wasserstein GANs."""
    net = torch.nn.Linear(4, 1)
    torch.nn.init.constant_(net.weight, 3.0)
    clipped: list[float] = []

    def clip(module: torch.nn.Module) -> None:
        for parameter in module.parameters():
            parameter.data.clamp_(-0.01, 0.01)
        clipped.append(max(float(parameter.detach().abs().max()) for parameter in module.parameters()))

    def loss(module: torch.nn.Module, batch: Any) -> dict[str, torch.Tensor]:
        return {"total": module(batch["image"]).mean()}

    phase = Phase(
        "criticise",
        lambda module: module.parameters(),
        loss,
        optimiser="rmsprop",
        learning_rate=5e-5,
        weight_decay=0.0,
        after_step=clip,
    )
    fabric = Fabric(accelerator="cpu", devices=1)
    learner = Learner(fabric, net, (Stage("duel", (phase,)),), Schedule(ema=0), Progress(10, None, [1.0]))
    one = learner.passes[0][0]
    assert isinstance(one.optimiser, torch.optim.RMSprop)
    assert {group["weight_decay"] for group in one.optimiser.param_groups} == {0.0}
    learner.stage = 0
    learner.minimise(one, [{"image": torch.ones(2, 4)}], one.learning_rate)
    assert one.optimiser.param_groups[0]["lr"] == 5e-5
    assert clipped == [pytest.approx(0.01)]


def test_class_names_that_the_data_do_not_have_are_told(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"config.class_names are cort, astro, the data hold disk"):
        train(
            recipe,
            disks(),
            output=tmp_path,
            overrides=["config.class_names=[cort, astro]"],
            console=quiet,
            device="cpu",
        )


def test_crops_that_the_network_cannot_take_are_told(disks: Any, quiet: Console, tmp_path: Path) -> None:
    content = {"name": "a", "family": "flow", "config": {"widths": [8, 8], "blocks": [0, 1]}}
    with pytest.raises(ConfigError, match=r"sampling\.crop must be multiples of 4 .* set sampling\.crop=\[32, 36\]"):
        train(content, disks(), output=tmp_path, overrides=["sampling.crop=[32, 34]"], console=quiet, device="cpu")


def test_a_device_that_is_not_there_is_told(recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device"):
        train(recipe, disks(), output=tmp_path, console=quiet, device="abacus")


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
import importlib.util
spec = importlib.util.spec_from_file_location("training_conftest", {tests!r} + "/conftest.py")
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)
sys.path.insert(0, str(conftest.TINY))
torch.set_num_threads(1)
from cytotome.training.train import train
train({recipe!r}, conftest.Disks(), output={output!r}, device="cpu")
"""


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_weights(
    recipe: dict[str, Any], disks: Any, quiet: Console, tmp_path: Path
) -> None:
    recipe["schedule"]["steps"] = 100
    recipe["sampling"]["workers"] = 1
    unbroken = read_model(train(recipe, disks(), output=tmp_path / "a", console=quiet, device="cpu"))
    output = tmp_path / "b"
    checkpoint = output / "last.ckpt"
    tests = str(Path(__file__).parent)
    script = SCRIPT.format(tests=tests, recipe=recipe, output=str(output))
    for delay in (0.3, 0.05):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        while (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    resumed = read_model(train(recipe, disks(), output=output, console=quiet, device="cpu"))
    for name, value in unbroken.weights.items():
        assert torch.equal(resumed.weights[name], value), name
