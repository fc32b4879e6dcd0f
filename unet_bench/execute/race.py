"""A race: its first rung trains everybody, and each further one those who may still win.

rows of a rung ─▶ standings ─▶ who goes on, as far as there is time ─▶ cells of the next rung

A rung's trainings are ordinary ones of so many steps, from the start: a row of a race is what the
same training gives outside of one. The column `race` of a rung's rows says what became of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from unet_bench.execute.row import row_id
from unet_bench.spec.cell import Setting
from unet_bench.stats.race import Standing, standings
from unet_bench.store.log import Row
from unet_bench.store.schema import WENT_ON

if TYPE_CHECKING:
    from unet_bench.plan.cells import Plan, Planned

FINISHED: Final = "finished"
FAILED: Final = "stopped: failed"
FEWEST: Final = 2  # networks of a group that a rung is worth while for


class Field(NamedTuple):
    """What networks race against one another on."""

    task: str
    dataset_hash: str
    setting: Setting


class Runner(NamedTuple):
    """A network in a field, by the first of its names."""

    field: Field
    variant: str


@dataclass(frozen=True)
class Decision:
    """Who goes on after a rung, with what the rows of everybody shall say."""

    goes_on: frozenset[Runner]
    said: Mapping[Runner, str]

    def summary(self) -> str:
        """Return how many go on, and why the others do not."""
        reasons = [text for text in self.said.values() if text != WENT_ON]
        clearly = sum(text.startswith("stopped: clearly") for text in reasons)
        failed = reasons.count(FAILED)
        words = {
            "clearly behind": clearly,
            "failed": failed,
            "left out for lack of time": len(reasons) - clearly - failed,
        }
        stopped = [f"{count} {what}" for what, count in words.items() if count]
        ending = f" ({', '.join(stopped)})" if stopped else ""
        return f"{len(self.goes_on)} of {len(self.said)} networks go on{ending}"


class Race:
    """The rungs of a plan, and what is decided between them."""

    def __init__(self, plan: Plan) -> None:
        self.rungs: dict[int, list[Planned]] = {}
        for planned in plan.planned:
            if planned.cell.rung:
                self.rungs.setdefault(planned.cell.rung, []).append(planned)
        self.plan = plan
        self.decisions = max(1, len(self.rungs) - 1)
        self.baselines = {planned.cell.baseline.name for planned in plan.planned}
        self.is_limited = bool(plan.suite.time_budget)

    def cells(self, rung: int, runners: frozenset[Runner]) -> list[Planned]:
        """Return the cells of some networks in a rung."""
        return [p for p in self.rungs[rung] if runner_of(p) in runners and not p.status]

    def decide(self, rung: int, rows: Mapping[str, Row], until: float, factor: float) -> Decision:
        """Return who goes on after a rung, by its rows and the time that is left.

        The baseline does, however far behind: all differences are to it. Trainings take `factor`
        times as long as foreseen. What was decided before stands.
        """
        standing = self.standing(rung, rows)
        entered = [p for p in self.rungs[rung] if not p.status and p.cell.id in rows]
        said = dict.fromkeys(map(runner_of, entered), FAILED)
        said |= {
            runner: f"stopped: clearly behind {leader.variant}, by {of.behind:.3f} "
            f"(at least {of.surely:.3f})"
            if of.is_clear and runner.variant not in self.baselines
            else WENT_ON
            for runner, (of, leader) in standing.items()
        }
        if before := self.said_before(rung, rows):
            said |= before
        elif self.is_limited:
            said |= self.without_time(rung, standing, said, until, factor)
        goes_on = frozenset(runner for runner, text in said.items() if text == WENT_ON)
        return Decision(goes_on, said)

    def standing(self, rung: int, rows: Mapping[str, Row]) -> dict[Runner, tuple[Standing, Runner]]:
        """Return how all stand who did not fail, and the leader of their field."""
        fields: dict[Field, dict[Runner, dict[Any, float]]] = {}
        failed = set()
        for planned in self.rungs[rung]:
            row, cell, runner = rows.get(planned.cell.id), planned.cell, runner_of(planned)
            if row and row["status"] == "ok" and row.get("dice") is not None:
                scores = fields.setdefault(runner.field, {}).setdefault(runner, {})
                scores[cell.task.fold, cell.seed] = row["dice"]
            else:
                failed.add(runner)
        for runner in failed:
            fields.get(runner.field, {}).pop(runner, None)
        found: dict[Runner, tuple[Standing, Runner]] = {}
        for scores_of_field in filter(None, fields.values()):
            in_order = standings(scores_of_field, self.decisions)
            leader = next(iter(in_order))
            found |= {runner: (standing, leader) for runner, standing in in_order.items()}
        return found

    def without_time(
        self,
        rung: int,
        standing: Mapping[Runner, tuple[Standing, Runner]],
        said: Mapping[Runner, str],
        until: float,
        factor: float,
    ) -> dict[Runner, str]:
        """Return those for whom there is no time: the next rung has its share of what is left.

        The baseline, which all are compared with, has a place; then the best have one each.
        """
        rungs_left = len(self.rungs) - rung
        share_s = max(0.0, until - time.monotonic()) / rungs_left
        in_order = sorted(
            (runner for runner in standing if said[runner] == WENT_ON),
            key=lambda runner: (runner.variant not in self.baselines, standing[runner][0].behind),
        )
        found, places = {}, 0
        for runner in in_order:
            cells = self.cells(rung + 1, frozenset([runner]))
            share_s -= factor * sum(p.seconds for p in cells) / self.plan.at_once
            if share_s >= 0:
                places += 1
                continue
            behind, leader = standing[runner][0].behind, standing[runner][1].variant
            of = f"{behind:.3f} behind {leader}, not clearly" if behind > 0 else "it led"
            found[runner] = f"stopped: no time left for it; {of}"
        if places < FEWEST:  # a rung of one says nothing
            found |= {runner: "stopped: no time left" for runner in in_order if runner not in found}
        return found

    def said_before(self, rung: int, rows: Mapping[str, Row]) -> dict[Runner, str]:
        """Return what was decided when this race was run before; of what is measured anew, none."""
        found = ((planned, rows.get(planned.cell.id) or {}) for planned in self.rungs[rung])
        return {runner_of(planned): str(row["race"]) for planned, row in found if row.get("race")}

    def marked(
        self, rung: int, rows: Mapping[str, Row], said: Mapping[Runner, str]
    ) -> Iterator[Row]:
        """Yield the rows of a rung anew, with what became of them, where that is not known."""
        for planned in self.rungs[rung]:
            for name in planned.names:
                row, text = rows.get(row_id(planned, name)), said.get(runner_of(planned))
                if row and text and row.get("race") != text:
                    yield {**row, "race": text}

    def finished(self, rung: int, rows: Mapping[str, Row]) -> dict[Runner, str]:
        """Return what the rows of the last rung shall say."""
        done = [p for p in self.rungs[rung] if p.cell.id in rows]
        ok = {runner_of(p) for p in done} - {
            runner_of(p) for p in done if rows[p.cell.id]["status"] != "ok"
        }
        return {runner_of(p): FINISHED if runner_of(p) in ok else FAILED for p in done}


def runner_of(planned: Planned) -> Runner:
    """Return the network of a cell in its field; folds of a data set are one field."""
    cell = planned.cell
    field = Field(cell.task.name, "" if cell.task.fold else cell.task.dataset_hash, cell.setting)
    return Runner(field, planned.names[0])
