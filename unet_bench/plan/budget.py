"""A race that is cut to fit a budget of time: how long is timed, and the steps of its rungs.

plan of the suite as it stands ─▶ seconds by probe ─▶ shares of the budget ─▶ the suite that fits

Timings get a third at most; trainings what is left, each rung as much as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from unet_bench.errors import InvalidSuite
from unet_bench.plan.cells import Planned
from unet_bench.spec.suite import LONGER, Suite, parse_budget

TIMED: Final = 1 / 3  # of the budget at most, where timings can be so short
LEAST_SPEED_S: Final = 0.3  # of timed blocks; shorter ones tell little
RUNGS: Final = 3
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


def fitted(suite: Suite, planned: Sequence[Planned], at_once: int) -> Suite:
    """Return a resolved suite whose plan takes its budget of time.

    Raises InvalidSuite for a budget that is too small.
    """
    speed_s = _speed_s(suite, planned)
    suite = replace(suite, speed_s=speed_s)
    trainings = sorted(_trainings(planned).values(), key=lambda one: one.seconds(LEAST_STEPS))
    share_s = _share_s(suite, planned, at_once, speed_s) * at_once
    chosen = list(trainings)
    while len(chosen) > FEWEST and _steps(chosen, share_s) < LEAST_STEPS:
        chosen.pop()
    if (steps := _steps(chosen, share_s)) < LEAST_STEPS:
        raise InvalidSuite(
            f"budget {suite.time_budget} is too small: timing the networks, and {LEAST_STEPS} "
            "training steps of two of them, would take longer; give more, or fewer networks"
        )
    return replace(suite, rungs=_rungs(steps, suite.rungs[-1] // LONGER))


def without_dearest(suite: Suite, planned: Sequence[Planned], at_once: int) -> list[Planned]:
    """Return the plan of a suite that fits its budget, without the trainings it has no time for.

    These are the longest; they are skipped, and say so.
    """
    trainings, steps = _trainings(planned), suite.rungs[0]
    left_s = _share_s(suite, planned, at_once, suite.speed_s or 0.0) * at_once
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


def _rungs(steps: int, most: int) -> tuple[int, ...]:
    """Return the rungs of a race whose first has so many steps, or the most."""
    first = min(steps, most)
    return tuple(first * LONGER**rung for rung in range(RUNGS))


def _share_s(suite: Suite, planned: Sequence[Planned], at_once: int, speed_s: float) -> float:
    """Return the seconds that one rung may take."""
    budget_s = parse_budget(suite.time_budget)
    rest_s = 0.0
    for one in planned:
        if one.cell.rung or one.status:
            continue
        shorter_s = one.cell.protocol.speed_s - speed_s if one.probe.timed else 0.0
        rest_s += (one.seconds - shorter_s) / (1 if one.probe.timed else at_once)
    available_s = budget_s * (1 - RESERVE) - RESERVE_S - rest_s
    return available_s / max(1, len(suite.rungs))


def _speed_s(suite: Suite, planned: Sequence[Planned]) -> float:
    """Return for how long each network is timed."""
    timed = [one for one in planned if one.probe.timed and not one.status]
    longest_s = suite.speed_s or 0.0
    if not timed:
        return longest_s
    fixed_s = sum(one.seconds - one.cell.protocol.speed_s for one in timed)
    share_s = (TIMED * parse_budget(suite.time_budget) - fixed_s) / len(timed)
    return min(longest_s, max(LEAST_SPEED_S, round(share_s, 2)))
