"""A race that is cut to fit a budget of time: how long is timed, and the steps of its rungs.

plan of the suite as it stands ─▶ seconds by probe ─▶ shares of the budget ─▶ the suite that fits

Timings get a third at most; what is left is shared out so that some networks reach each rung.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from unet_bench.errors import InvalidSuite
from unet_bench.measure.clock import PATIENCE
from unet_bench.plan.cells import Planned
from unet_bench.spec.suite import FEWEST_RACING, LONGER, Suite, parse_budget

TIMED: Final = 1 / 3  # of the budget at most, where timings can be so short
LEAST_SPEED_S: Final = 0.3  # of timed blocks; shorter ones tell little
BESIDE_S: Final = 1.2  # of a timing: the worker's start, warm-up
RUNGS: Final = 3
# The first rung leaves room in the second for so many of its networks, and so many at least.
GO_ON: Final = 1 / 12
FEWEST_GO_ON: Final = 3
LEAST_STEPS: Final = 24  # of the first rung; fewer hardly tell networks apart
RESERVE: Final = 0.08  # of the budget, for planning, tables, and what was foreseen too short
RESERVE_S: Final = 6.0


@dataclass(frozen=True)
class Training:
    """What a network's cells of the first rung take together, as a function of its steps."""

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

    Raises InvalidSuite for a budget that is too small, or where nothing is trained.
    """
    trainings = _trainings(planned)
    if not trainings:
        raise InvalidSuite(
            "a budget of time is shared out among trainings, and there is none: add accuracy to "
            "--probes, or give --time-limit in place of --budget"
        )
    share_s = _first_rung_s(suite, planned, at_once) * at_once
    entrants = [trainings[names] for names in _entrants(planned, trainings, LEAST_STEPS, share_s)]
    step_s = sum(one.step_s for one in entrants)
    steps = int((share_s - sum(one.fixed_s for one in entrants)) / step_s) if step_s else 0
    if steps < LEAST_STEPS:
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
    share_s = _first_rung_s(suite, planned, at_once) * at_once
    entrants = _entrants(planned, trainings, steps, share_s)
    reasons = {
        names: f"{steps} steps of it would take about {one.seconds(steps):.0f} s, more than the "
        f"budget of {suite.time_budget} leaves; a larger --budget runs it"
        for names, one in trainings.items()
        if names not in entrants
    }

    def left_out(one: Planned) -> bool:
        return bool(one.cell.rung) and not one.status and one.names in reasons

    return [
        replace(one, status="skipped", reason=reasons[one.names]) if left_out(one) else one
        for one in planned
    ]


def _entrants(
    planned: Sequence[Planned],
    trainings: Mapping[tuple[str, ...], Training],
    steps: int,
    seconds: float,
) -> set[tuple[str, ...]]:
    """Return those whose first rungs take so long together: the baseline, then the shortest."""
    baseline = planned[0].cell.baseline.name

    def order(names: tuple[str, ...]) -> tuple[bool, float]:
        return baseline not in names, trainings[names].seconds(steps)

    found: set[tuple[str, ...]] = set()
    for names in sorted(trainings, key=order):
        seconds -= trainings[names].seconds(steps)
        if seconds < 0 and len(found) >= FEWEST_RACING:
            break
        found.add(names)
    return found


def _trainings(planned: Sequence[Planned]) -> dict[tuple[str, ...], Training]:
    """Return what each network's first rung takes: straight lines through its first two rungs."""
    longer = {_place(one): one for one in planned if one.cell.rung == 2 and not one.status}
    found: dict[tuple[str, ...], Training] = {}
    for one in planned:
        if one.cell.rung != 1 or one.status:
            continue
        other, steps = longer.get(_place(one), one), one.cell.protocol.steps
        more = other.cell.protocol.steps - steps
        step_s = (other.seconds - one.seconds) / more if more else one.seconds / steps
        fixed_s = max(0.0, one.seconds - step_s * steps)
        before = found.get(one.names, Training(0.0, 0.0))
        found[one.names] = Training(before.fixed_s + fixed_s, before.step_s + step_s)
    return found


def _place(one: Planned) -> tuple[object, ...]:
    """Return what a network's cells have in common in all rungs and of all seeds."""
    return one.names, one.cell.probe, one.cell.task, one.cell.setting


def _first_rung_s(suite: Suite, planned: Sequence[Planned], at_once: int) -> float:
    """Return the seconds that the first rung may take."""
    rest_s = 0.0
    for one in planned:
        if not (one.cell.rung or one.status):
            rest_s += one.seconds / (1 if one.probe.timed else at_once)
    left_s = parse_budget(suite.time_budget) * (1 - RESERVE) - RESERVE_S - rest_s
    return left_s * first_rung_share(planned)


def first_rung_share(planned: Sequence[Planned]) -> float:
    """Return which part of the time for trainings the first rung may take.

    The others share what is left. A few networks that are trained three times as long take more
    than all did before, where these are few: then the first rung has to be short.
    """
    first, second = (
        [one for one in planned if one.cell.rung == rung and not one.status] for rung in (1, 2)
    )
    if not (first and second):
        return 1.0
    networks = len({one.names for one in first})
    going = min(1.0, max(GO_ON, FEWEST_GO_ON / networks))
    longer = LONGER * going * len(second) / len(first)  # the second rung, in parts of the first
    return 1 / (1 + (RUNGS - 1) * longer)
