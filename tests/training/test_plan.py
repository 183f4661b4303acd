"""Stages of a run: their lengths, which are trained, and what holds for their phases."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from cytotome.contract import Phase, Stage
from cytotome.errors import ConfigError
from cytotome.training.plan import phase_settings, plan_stages
from cytotome.training.recipe import load_recipe
from cytotome.training.schedule import Schedule


def _stage(name: str, share: float = 1.0, **phase: Any) -> Stage:
    return Stage(name, (Phase("all", nn.Module.parameters, lambda net, batch: {}, **phase),), share)


STAGES = (_stage("first", 3.0), _stage("second"), _stage("third"))


def _plan(**fields: Any) -> dict[str, float]:
    plan = plan_stages(STAGES, Schedule(**fields), 4)
    return dict(zip((stage.name for stage in plan.stages), plan.lengths, strict=True))


def test_stages_share_what_those_with_steps_leave() -> None:
    assert _plan(steps=100) == {"first": 60, "second": 20, "third": 20}
    assert _plan(steps=100, stages={"second": {"steps": 30}}) == {"first": 52.5, "second": 30, "third": 17.5}
    assert _plan(steps=100, stages={"first": {"share": 0}}) == {"second": 50, "third": 50}
    own = {"first": {"steps": 5}, "second": {"steps": 6}, "third": {"share": 0}}
    assert _plan(steps=1, stages=own) == {"first": 5, "second": 6}
    assert plan_stages(STAGES, Schedule(steps=1, stages=own), 4).steps == 11


def test_one_stage_alone_is_as_long_as_among_the_others() -> None:
    assert _plan(steps=100, only=("third",)) == {"third": 20}
    assert _plan(steps=100, only=("third", "first")) == {"first": 60, "third": 20}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stages": {"frist": {"share": 1}}}, r"schedule\.stages\.frist: there is no such stage, only first, second"),
        ({"only": ["forth"]}, r"schedule\.only: there is no stage 'forth', only first"),
        ({"steps": 9, "stages": {"first": {"steps": 9}}}, "9 leave nothing to second, third beside the 9"),
        ({"only": ["first"], "stages": {"first": {"share": 0}}}, "no stage has a share or steps"),
    ],
)
def test_stages_that_cannot_be_are_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_stages(STAGES, Schedule(**fields), 4)


def test_a_batch_holds_a_crop_of_each_stream(recipe: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"sampling\.batch: 1 leaves a stream of the stage duel \(labelled, unlabelled"
    ):
        load_recipe(recipe, ["sampling.batch=1"])
    with pytest.raises(ConfigError, match=r"schedule\.stages\.duel\.batch: 1 leaves .* set it to 2 or more"):
        load_recipe(recipe, ["schedule.stages.duel={batch: 1}"])
    assert load_recipe(recipe, ["sampling.batch=1", "schedule.only=[warm]"]).sampling.batch == 1
    own = load_recipe(recipe, ["sampling.batch=1", "schedule.stages.duel={batch: 2}"])
    plan = plan_stages(own.get_family().stages(own.family_config()), own.schedule, own.sampling.batch)
    assert plan.batches == (1, 2)
    taught = {"name": "a", "family": "flow", "teacher": {"unlabelled": 3}, "sampling": {"batch": 3}}
    with pytest.raises(ConfigError, match=r"sampling\.batch: 3 leaves a stream of the stage flow .* 4 or more"):
        load_recipe(taught)


def test_the_faults_of_stages_are_faults_of_the_recipe(recipe: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"schedule\.stages\.dual.*schedule\.only: there is no stage 'x', only warm"):
        load_recipe(recipe, ["schedule.stages.dual={share: 1}", "schedule.only=[x]"])
    with pytest.raises(ConfigError, match=r"schedule\.stages\.warm: give a stage a share or steps, not both"):
        load_recipe(recipe, ["schedule.stages.warm={share: 1, steps: 2}"])


def test_the_phase_comes_before_its_stage_and_the_stage_before_the_run() -> None:
    schedule = Schedule(learning_rate=1.0, stages={"first": {"learning_rate": 0.5, "optimiser": "adam"}})
    plain, own = _stage("first"), _stage("first", optimiser="rmsprop", weight_decay=0.0)
    settings = phase_settings(plain, plain.phases[0], schedule)
    assert (settings.optimiser, settings.learning_rate, settings.weight_decay) == ("adam", 0.5, schedule.weight_decay)
    settings = phase_settings(own, own.phases[0], schedule)
    assert (settings.optimiser, settings.learning_rate, settings.weight_decay) == ("rmsprop", 0.5, 0.0)
    other = phase_settings(STAGES[1], STAGES[1].phases[0], schedule)
    assert (other.optimiser, other.learning_rate) == ("adamw", 1.0)
