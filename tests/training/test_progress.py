"""Steps, time, stages and the learning rate."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cytotome.training.progress import Progress, forecast, learning_rate


def test_a_run_is_as_far_as_the_further_of_steps_and_time() -> None:
    progress = Progress(steps=100, seconds=10.0, shares=[1.0], step=20, started=time.monotonic() - 1)
    assert progress.fraction() == pytest.approx(0.2, abs=0.01)
    progress.spent = 6.0
    assert progress.fraction() == pytest.approx(0.7, abs=0.01)
    progress.now = 8.0
    assert progress.fraction() == 0.8


def test_every_step_belongs_to_the_stage_of_its_share() -> None:
    progress = Progress(steps=40, seconds=None, shares=[3.0, 1.0, 4.0])
    stages = [progress.stage(step / 40)[0] for step in range(40)]
    assert stages == [0] * 15 + [1] * 5 + [2] * 20
    parts = [progress.stage(step / 40)[1] for step in range(15)]
    np.testing.assert_allclose(parts, np.arange(15) / 15, atol=1e-9)
    assert progress.stage(1.0) == (2, 1.0)


def test_the_learning_rate_rises_then_falls_as_a_cosine() -> None:
    rates = np.array([learning_rate(done, 2.0, 0.1, 0.25) for done in np.linspace(0, 1, 101)])
    assert rates[0] == pytest.approx(0.02)
    assert rates[25] == pytest.approx(2.0)
    assert rates[-1] == pytest.approx(0.2)
    assert (np.diff(rates[:26]) > 0).all()
    assert (np.diff(rates[25:]) < 0).all()
    assert learning_rate(0.625, 2.0, 0.1, 0.25) == pytest.approx((2.0 + 0.2) / 2)  # half way down


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_the_ends_of_the_warmup_are_allowed(warmup: float) -> None:
    rates = [learning_rate(done, 1.0, 0.0, warmup) for done in (0.0, 0.5, 1.0)]
    assert all(0 <= rate <= 1 for rate in rates)


def test_a_run_says_how_long_it_takes() -> None:
    assert forecast(Progress(1500, None, (1,), step=13), 0.5, fresh=True) == (
        "about 12 minutes to go: 1487 steps of 0.5 s each"
    )
    assert forecast(Progress(40, 600.0, (1,), step=13), 0.1, fresh=True).startswith("about 3 seconds to go: 27 steps")
    assert forecast(Progress(30_000, None, (1,)), 0.5, fresh=True).startswith("about 4.2 hours to go")


def test_a_time_limit_that_leaves_too_few_steps_is_said() -> None:
    enough = forecast(Progress(1000, 601.0, (1,)), 1.0, fresh=True)
    assert enough == "about 10 minutes to go: enough for about 600 of the recipe's 1000 steps"
    few = forecast(Progress(6000, 181.0, (1,)), 1.0, fresh=True)
    assert few.startswith("about 3 minutes to go: enough for about 180 of the recipe's 6000 steps; expect much less")
    assert "which takes about 1.7 hours; starting from a trained model needs fewer steps" in few
    assert "starting from" not in forecast(Progress(6000, 181.0, (1,)), 1.0, fresh=False)
