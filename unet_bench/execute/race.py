"""A race: its first rung trains everybody, and each further one those who may still win.

rows of a rung ─▶ standings ─▶ who goes on, as far as there is time ─▶ cells of the next rung

A rung's trainings are ordinary ones of so many steps, from the start: a row of a race is what the
same training gives outside of one. The column `race` of a rung's rows says what became of them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from unet_bench.execute.row import row_id
from unet_bench.spec.cell import Setting, Task
from unet_bench.spec.suite import FEWEST_RACING
from unet_bench.stats.race import Standing, standings
from unet_bench.store.log import Row
from unet_bench.store.schema import BEHIND, FAILED, FINISHED, NO_TIME, WENT_ON

if TYPE_CHECKING:
    from unet_bench.plan.cells import Plan, Planned

Rows = Mapping[str, Row]  # by the id of a cell


class Field(NamedTuple):
    """What networks race against one another on: a data set, all its folds, and a setting."""

    task: Task
    setting: Setting


class Runner(NamedTuple):
    """A network in a field, by the first of its names."""

    field: Field
    variant: str


class Place(NamedTuple):
    """How a network stands, and who leads its field."""

    standing: Standing
    leader: str


@dataclass(frozen=True)
class Decision:
    """Who goes on after a rung, with what the rows of everybody shall say."""

    said: Mapping[Runner, str]

    @property
    def goes_on(self) -> frozenset[Runner]:
        """Those who are trained in the next rung."""
        return frozenset(runner for runner, text in self.said.items() if text == WENT_ON)

    def summary(self) -> str:
        """Return how many go on, and why the others do not."""
        words = {
            "clearly behind": BEHIND,
            "failed": FAILED,
            "left out for lack of time": NO_TIME,
        }
        texts = self.said.values()
        counts = {word: sum(t.startswith(why) for t in texts) for word, why in words.items()}
        stopped = [f"{count} {word}" for word, count in counts.items() if count]
        ending = f" ({', '.join(stopped)})" if stopped else ""
        return f"{len(self.goes_on)} of {len(self.said)} networks go on{ending}"


class Race:
    """The rungs of a plan, and what is decided between them."""

    def __init__(self, plan: Plan) -> None:
        self.rungs: dict[int, list[Planned]] = {}
        for planned in plan.planned:
            if planned.cell.rung:
                self.rungs.setdefault(planned.cell.rung, []).append(planned)
        self.at_once = plan.at_once if self.rungs else 1
        self.decisions = max(1, len(self.rungs) - 1)
        self.baselines = {planned.cell.baseline.name for planned in plan.planned}
        self.is_limited = bool(plan.suite.time_budget)

    def cells(self, rung: int, runners: Collection[Runner]) -> list[Planned]:
        """Return the cells of some networks in a rung."""
        return [p for p in self.rungs[rung] if runner_of(p) in runners and not p.status]

    def entered(self, rung: int, rows: Rows) -> frozenset[Runner]:
        """Return who was trained in a rung, well or not."""
        found = ((planned, rows.get(planned.cell.id)) for planned in self.rungs[rung])
        return frozenset(
            runner_of(planned)
            for planned, row in found
            if row and not planned.status and row["status"] != "skipped"
        )

    def decide(
        self,
        rung: int,
        runners: Collection[Runner],
        rows: Rows,
        until: float,
        factor: Callable[[str], float],
    ) -> Decision:
        """Return who of those in a rung goes on, by its rows and the time that is left.

        The baseline does, however far behind: all differences are to it. A probe's cells take
        `factor` times as long as foreseen. What was decided before stands.
        """
        failed, places = self.places(rung, runners, rows)
        said = dict.fromkeys(runners, WENT_ON)
        for runner, (of, leader) in places.items():
            if of.is_clear and runner.variant not in self.baselines:
                said[runner] = f"{BEHIND} {leader}, by {of.behind:.3f} (at least {of.surely:.3f})"
        said |= dict.fromkeys(failed, FAILED)
        before = self.said_before(rung, runners, rows)
        if self.is_limited:
            open_places = {
                runner: place
                for runner, place in places.items()
                if said[runner] == WENT_ON and runner not in before
            }
            said |= self.without_time(rung, open_places, until, factor)
        return Decision(said | before)

    def places(
        self, rung: int, runners: Collection[Runner], rows: Rows
    ) -> tuple[set[Runner], dict[Runner, Place]]:
        """Return who failed in a rung, and how everybody else with a Dice stands."""
        fields: dict[Field, dict[Runner, dict[Any, float]]] = {}
        failed = set()
        for planned in self.cells(rung, runners):
            row, cell, runner = rows.get(planned.cell.id), planned.cell, runner_of(planned)
            if row is None or row["status"] != "ok":
                failed.add(runner)
            elif (dice := row.get("dice")) is not None:
                scores = fields.setdefault(runner.field, {}).setdefault(runner, {})
                scores[cell.probe, cell.task.fold, cell.seed] = dice
        places: dict[Runner, Place] = {}
        for of_field in fields.values():
            scores_of = {runner: of for runner, of in of_field.items() if runner not in failed}
            in_order = standings(scores_of, self.decisions)
            leader = next(iter(in_order)).variant if in_order else ""
            places |= {runner: Place(standing, leader) for runner, standing in in_order.items()}
        return failed, places

    def without_time(
        self,
        rung: int,
        places: Mapping[Runner, Place],
        until: float,
        factor: Callable[[str], float],
    ) -> dict[Runner, str]:
        """Return those for whom there is no time: the next rung has its share of what is left.

        Baselines, which all are compared with, come first, then the best. Where there is time for
        one of a field alone, it is spared: a rung of one says nothing.
        """
        share_s = max(0.0, until - time.monotonic()) / (len(self.rungs) - rung)
        in_order = sorted(
            places, key=lambda one: (one.variant not in self.baselines, places[one][0].behind)
        )
        found: dict[Runner, str] = {}
        with_time: Counter[Field] = Counter()
        for runner in in_order:
            cells = self.cells(rung + 1, [runner])
            share_s -= sum(factor(p.cell.probe) * p.seconds for p in cells) / self.at_once
            if share_s >= 0:
                with_time[runner.field] += 1
                continue
            of, leader = places[runner]
            where = f"{of.behind:.3f} behind {leader}, not clearly" if of.behind > 0 else "it led"
            found[runner] = f"{NO_TIME} for it; {where}"
        spared = {runner.field for runner in found if with_time[runner.field] < FEWEST_RACING}
        alone = (one for one in in_order if one.field in spared and one not in found)
        return found | dict.fromkeys(alone, NO_TIME)

    def said_before(self, rung: int, runners: Collection[Runner], rows: Rows) -> dict[Runner, str]:
        """Return what was decided of whom when this race was run before.

        Of a network of which a cell failed, or is measured anew, nothing was.
        """
        said: dict[Runner, set[Any]] = {}
        for planned in self.cells(rung, runners):
            text = rows.get(planned.cell.id, {}).get("race")
            said.setdefault(runner_of(planned), set()).add(text)
        undecided = ({None}, {FAILED})
        return {
            runner: next(iter(texts))
            for runner, texts in said.items()
            if len(texts) == 1 and texts not in undecided
        }

    def marked(self, rung: int, rows: Rows, said: Mapping[Runner, str]) -> Iterator[Row]:
        """Yield the rows of a rung anew, with what became of them, where that is not known."""
        for planned in self.cells(rung, said):
            for name in planned.names:
                row, text = rows.get(row_id(planned, name)), said[runner_of(planned)]
                if row and row.get("race") != text:
                    yield {**row, "race": text}

    def finished(self, rung: int, runners: Collection[Runner], rows: Rows) -> dict[Runner, str]:
        """Return what the rows of the last rung shall say."""
        failed, _ = self.places(rung, runners, rows)
        return dict.fromkeys(runners, FINISHED) | dict.fromkeys(failed, FAILED)


def runner_of(planned: Planned) -> Runner:
    """Return the network of a cell in its field."""
    cell = planned.cell
    return Runner(Field(replace(cell.task, fold=""), cell.setting), planned.names[0])
