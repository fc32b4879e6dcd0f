"""A race that is cut to fit a budget of time: what it foresees fits, and more time buys more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from unet_bench import pipeline
from unet_bench.errors import InvalidSuite
from unet_bench.plan.budget import (
    LEAST_SPEED_S,
    LEAST_STEPS,
    first_rung_share,
    shortly_timed,
    with_rungs,
    without_dearest,
)
from unet_bench.plan.cells import Plan, Planned
from unet_bench.spec.suite import Suite, from_dict, parse_budget

NAMES = ["unet", "unet-add", "unet-bilinear", "unet-narrow", "unet-shallow"]
STEP_S = dict.fromkeys(NAMES, 0.1) | {"unet-shallow": 4.0}  # of a training step
FIXED_S = 1.0


@pytest.fixture(scope="module")
def plan() -> Plan:
    options: dict[str, Any] = {
        "variants": NAMES,
        "data": ["cells"],
        "size": "32x32",
        "width_scale": 0.0625,
        "batch": [1],
        "probes": ["cost", "speed", "accuracy"],
        "race": True,
    }
    with pipeline.plan(from_dict(options)) as made:
        return made


def foreseen(plan: Plan, suite: Suite) -> list[Planned]:
    """The plan's cells under a suite's rungs, with the seconds that they would take."""
    found = []
    for planned in plan.planned:
        cell = planned.cell
        steps = suite.rungs[cell.rung - 1] if cell.rung else 0
        seconds = FIXED_S + STEP_S.get(planned.names[0], 0.0) * steps
        protocol = replace(cell.protocol, speed_s=suite.speed_s or 0.0)
        if cell.rung:
            protocol = replace(protocol, steps=steps)
        if planned.probe.timed:
            seconds += protocol.speed_s
        found.append(replace(planned, cell=replace(cell, protocol=protocol), seconds=seconds))
    return found


def fit(plan: Plan, budget: str) -> tuple[Suite, list[Planned]]:
    """The suite that fits a budget, and its plan, two cells side by side."""
    suite = replace(plan.suite, time_budget=budget)
    suite = shortly_timed(suite, foreseen(plan, suite))
    suite = with_rungs(suite, foreseen(plan, suite), 2)
    return suite, without_dearest(suite, foreseen(plan, suite), 2)


def seconds(planned: list[Planned], rung: int) -> float:
    """How long a rung takes, or all that is of none."""
    of_rung = [p for p in planned if p.cell.rung == rung and not p.status]
    return sum(p.seconds / (1 if p.probe.timed else 2) for p in of_rung)


@pytest.mark.parametrize("budget", ["2m", "3m", "10m", "1h", "10h"])
def test_the_first_rung_and_the_timings_take_their_share_at_most(plan: Plan, budget: str) -> None:
    suite, planned = fit(plan, budget)
    whole_s = parse_budget(budget)
    assert suite.rungs == tuple(suite.rungs[0] * 3**rung for rung in range(3))
    assert LEAST_STEPS <= suite.rungs[0] <= plan.suite.rungs[1]
    assert LEAST_SPEED_S <= (suite.speed_s or 0) <= (plan.suite.speed_s or 0)
    left_s = whole_s - seconds(planned, 0)
    share = first_rung_share(planned)
    assert seconds(planned, 1) <= left_s * share * 1.05
    if suite.rungs[0] < plan.suite.rungs[1]:  # no longer than the preset's: time is left then
        assert seconds(planned, 1) >= left_s * share * 0.6


@pytest.mark.parametrize("budget", ["3m", "10m", "1h"])
def test_a_short_race_of_few_networks_reaches_its_second_rung(plan: Plan, budget: str) -> None:
    """The second rung has half of what the first leaves: time for three of four networks."""
    _, planned = fit(plan, budget)
    left_s = parse_budget(budget) - seconds(planned, 0) - seconds(planned, 1)
    of_one = seconds(planned, 2) / len(
        {p.names for p in planned if p.cell.rung == 2 and not p.status}
    )
    assert 3 * of_one <= left_s / 2


def test_what_would_take_all_the_time_is_left_out_and_says_so(plan: Plan) -> None:
    _, planned = fit(plan, "3m")
    skipped = {p.names[0] for p in planned if p.status == "skipped"}
    assert skipped == {"unet-shallow"}
    reasons = {p.reason for p in planned if p.status == "skipped"}
    assert all("the budget of 3m leaves; a larger --budget" in reason for reason in reasons)
    assert {p.cell.probe for p in planned if p.status == "skipped"} == {"accuracy"}
    _, planned = fit(plan, "1h")
    assert not any(p.status for p in planned)


def test_more_time_buys_more_steps(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEP_S, "unet-shallow", 0.2)
    steps = [fit(plan, budget)[0].rungs[0] for budget in ("90s", "2m", "3m", "4m", "2h")]
    assert steps == sorted(steps)
    assert steps[0] < steps[-1] == plan.suite.rungs[1]


def test_too_little_time_is_refused_before_anything_runs(plan: Plan) -> None:
    with pytest.raises(InvalidSuite, match="budget 20s is too small"):
        fit(plan, "20s")


def test_a_plan_that_was_cut_fits_and_is_the_same_again(plan: Plan) -> None:
    """A run that goes on has the suite that was cut: its rungs stand."""
    options = {**plan.suite.to_dict(), "time_budget": "10m", "rungs": (), "steps": 100}
    with pipeline.plan(from_dict(options)) as made:
        assert made.foreseen_s < 600
        with pipeline.plan(made.suite) as again:
            assert [p.cell.id for p in again.planned] == [p.cell.id for p in made.planned]
            assert again.suite == made.suite
