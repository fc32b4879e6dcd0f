"""A race that is cut to fit a budget of time: how long is timed, and the steps of its rungs.

plan of the suite as it stands ─▶ seconds by probe ─▶ shares of the budget ─▶ the suite that fits

Timings get a third at most; of what is left, the first rung gets half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from unet_bench.errors import InvalidSuite
from unet_bench.measure.clock import PATIENCE
from unet_bench.plan.cells import Planned
from unet_bench.spec.suite import LONGER, Suite, parse_budget

TIMED: Final = 1 / 3  # of the budget at most, where timings can be so short
LEAST_SPEED_S: Final = 0.3  # of timed blocks; shorter ones tell little
BESIDE_S: Final = 1.2  # of a timing: the worker's start, warm-up
RUNGS: Final = 3
FIRST_RUNG: Final = 1 / 2  # of the time for trainings: it chooses among all
LEAST_STEPS: Final = 24  # of the first rung; fewer hardly tell networks apart
RESERVE: Final = 0.08  # of the budget, for planning, tables, and what was foreseen too short
RESERVE_S: Final = 6.0
FEWEST: Final = 2  # networks of a race


@dataclass(frozen=True)
class Training:
    """What a network's cells of the first rung take, as a function of its steps."""

    fixed_s: float
    step_s: float

    def seconds(self, steps: int) -> float:
        """Return how long they take at so many steps."""
        return self.fixed_s + self.step_s * steps


def shortly_timed(suite: Suite, planned: Sequence[Planned]) -> Suite:
    """Return a suite that times each network for as long as a share of its budget allows."""
    timed = [one for one in planned if one.probe.timed and not one.status]
    if not timed or not suite.speed_s:
        return suite
    each_s = TIMED * parse_budget(suite.time_budget) / len(timed)
    speed_s = round((each_s - BESIDE_S) / PATIENCE, 2)
    return replace(suite, speed_s=min(suite.speed_s, max(LEAST_SPEED_S, speed_s)))


def with_rungs(suite: Suite, planned: Sequence[Planned], at_once: int) -> Suite:
    """Return a suite whose first rung takes its share of the budget.

    Raises InvalidSuite for a budget that is too small.
    """
    trainings = sorted(_trainings(planned).values(), key=lambda one: one.seconds(LEAST_STEPS))
    share_s = _first_rung_s(suite, planned, at_once) * at_once
    chosen = list(trainings)
    while len(chosen) > FEWEST and _steps(chosen, share_s) < LEAST_STEPS:
        chosen.pop()
    if (steps := _steps(chosen, share_s)) < LEAST_STEPS:
        raise InvalidSuite(
            f"budget {suite.time_budget} is too small: timing the networks, and {LEAST_STEPS} "
            "training steps of two of them, would take longer; give more, or fewer networks"
        )
    first = min(steps, suite.rungs[-1] // LONGER)
    return replace(suite, rungs=tuple(first * LONGER**rung for rung in range(RUNGS)))


def without_dearest(suite: Suite, planned: Sequence[Planned], at_once: int) -> list[Planned]:
    """Return the plan of a suite that fits its budget, without the trainings it has no time for.

    These are the longest; they are skipped, and say so.
    """
    trainings, steps = _trainings(planned), suite.rungs[0]
    left_s = _first_rung_s(suite, planned, at_once) * at_once
    found, skipped = [], {}
    baseline = planned[0].cell.baseline.name
    in_order = sorted(trainings, key=lambda names: (names[0] != baseline, trainings[names].step_s))
    for names in in_order:
        seconds = trainings[names].seconds(steps)
        left_s -= seconds
        if left_s < -0.5 * seconds and names[0] != baseline:
            skipped[names] = (
                f"{steps} steps of it would take about {seconds:.0f} s, more than the budget of "
                f"{suite.time_budget} leaves; a larger --budget runs it"
            )
    for one in planned:
        reason = skipped.get(one.names) if one.cell.rung else None
        found.append(replace(one, status="skipped", reason=reason) if reason else one)
    return found


def _trainings(planned: Sequence[Planned]) -> dict[tuple[str, ...], Training]:
    """Return what each network's first rung takes: a straight line through its first two."""
    first: dict[tuple[str, ...], list[Planned]] = {}
    second: dict[tuple[str, ...], list[Planned]] = {}
    for one in planned:
        if one.cell.rung in (1, 2) and not one.status:
            (first if one.cell.rung == 1 else second).setdefault(one.names, []).append(one)
    found = {}
    for names, cells in first.items():
        here, longer = cells[0], second.get(names, cells)[0]
        steps = here.cell.protocol.steps
        more = longer.cell.protocol.steps - steps
        step_s = (longer.seconds - here.seconds) / more if more else here.seconds / steps
        count = len(cells)
        found[names] = Training(count * max(0.0, here.seconds - step_s * steps), count * step_s)
    return found


def _steps(trainings: Sequence[Training], seconds: float) -> int:
    """Return how many steps of all these networks take so long."""
    fixed_s = sum(one.fixed_s for one in trainings)
    step_s = sum(one.step_s for one in trainings)
    return int((seconds - fixed_s) / step_s) if step_s else 0


def _first_rung_s(suite: Suite, planned: Sequence[Planned], at_once: int) -> float:
    """Return the seconds that the first rung may take."""
    rest_s = 0.0
    for one in planned:
        if not (one.cell.rung or one.status):
            rest_s += one.seconds / (1 if one.probe.timed else at_once)
    left_s = parse_budget(suite.time_budget) * (1 - RESERVE) - RESERVE_S - rest_s
    return left_s * FIRST_RUNG
