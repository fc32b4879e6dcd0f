"""The driver: takes a plan's open cells to an executor, and what comes back to the store."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from unet_bench.execute.jobs import (
    Ended,
    Executor,
    Job,
    Result,
    Started,
    Waiting,
    now,
    remove_result,
    stems_in_inbox,
)
from unet_bench.execute.logs import tidy
from unet_bench.execute.options import ExecutionOptions
from unet_bench.execute.race import Race
from unet_bench.execute.row import cell_columns, providers, row_id
from unet_bench.execute.winners import Winners, is_trained
from unet_bench.measure.probes import NOT_KEPT
from unet_bench.plan.fingerprint import CellKeys
from unet_bench.store.log import Row, iterate_rows, latest
from unet_bench.store.run_folder import RunFolder, cell_stem
from unet_bench.store.schema import ENVIRONMENT_COLUMNS

if TYPE_CHECKING:
    from unet_bench.plan.cells import Plan, Planned
    from unet_bench.store.log import Store


WORKER_MIB: Final = 400.0
"""Of a worker, beside what its network takes: libraries, images, what torch keeps for later."""


BEFORE_RUNGS: Final = 0.45
"""Of a budget of time, what may go by before the trainings of a race begin."""


class Progress(Protocol):
    """What a run tells whoever watches it."""

    def begin(self, planned: list[Planned], path: Path, seconds: float) -> None:
        """Tell that these cells are to run, into this folder, and about how long they take.

        Called again for the same folder, it adds further cells.
        """

    def cell(self, planned: Planned, seconds_left: float) -> None:
        """Tell that a cell starts, and in about how many seconds the whole run will end."""

    def done(self, planned: Planned, row: dict[str, Any]) -> None:
        """Tell that a cell ended with this row."""

    def waiting(self, reason: str) -> None:
        """Tell that the run waits for somebody else."""


@dataclass(frozen=True)
class Finished:
    """A run that has ended: its folder, and the statuses of its cells.

    `left` are the cells that there was no time for.
    """

    path: Path
    statuses: set[str]
    left: tuple[Planned, ...] = ()
    refused: bool = False  # whether all that was asked for is unsupported


class Quiet:
    """Watches and says nothing."""

    def begin(self, planned: list[Planned], path: Path, seconds: float) -> None:
        """Do nothing."""

    def cell(self, planned: Planned, seconds_left: float) -> None:
        """Do nothing."""

    def done(self, planned: Planned, row: dict[str, Any]) -> None:
        """Do nothing."""

    def waiting(self, reason: str) -> None:
        """Do nothing."""


class Pace:
    """How long cells take beside what was foreseen, learnt as they end.

    It is each probe's own factor, or else that of all cells.
    """

    def __init__(self) -> None:
        self._foreseen: dict[str, float] = {}
        self._took: dict[str, float] = {}

    def learn(self, planned: Planned, wall_s: float) -> None:
        """Take note of a cell that ended with figures."""
        probe = planned.cell.probe
        self._foreseen[probe] = self._foreseen.get(probe, 0.0) + planned.seconds
        self._took[probe] = self._took.get(probe, 0.0) + wall_s

    def factor(self, probe: str) -> float:
        """Return how many times as long a probe's cells take as foreseen."""
        if self._foreseen.get(probe):
            return self._took[probe] / self._foreseen[probe]
        foreseen = sum(self._foreseen.values())
        return sum(self._took.values()) / foreseen if foreseen else 1.0


def run_cells(
    plan: Plan, ledger: RunLedger, progress: Progress, execution: ExecutionOptions
) -> list[Planned]:
    """Run every cell without a result and store its row; return those there was no time for."""
    with plan.executor as executor:
        return Driver(plan, ledger, progress, execution, executor).run()


@dataclass
class Driver:
    """Takes cells to an executor, and its events to the ledger and to whoever watches."""

    plan: Plan
    ledger: RunLedger
    progress: Progress
    execution: ExecutionOptions
    executor: Executor
    pace: Pace = field(default_factory=Pace)

    def run(self) -> list[Planned]:
        """Run all cells, of a race rung by rung; return those there was no time for.

        Where a race has a budget of time, what there was no time to measure before its trainings
        comes after the last rung.
        """
        race, untimed = Race(self.plan), set[str]()
        planned = self.ledger.planned
        last = {stem for stem, one in planned.items() if one.probe.after_training}
        first = {stem for stem, one in planned.items() if one.cell.rung < 2} - last
        if race.is_limited:
            before = {stem for stem in first if not planned[stem].probe.scores}
            execution = self.execution
            soon = execution.begun + BEFORE_RUNGS * execution.time_limit_s
            untimed = set(map(stem_of, self.run_some(before, min(soon, execution.until))))
            first -= before
        left = self.run_some(first) or self.run_rungs(race)
        if untimed:
            left += self.run_some(untimed)
        return left + self.run_some(last)

    def run_rungs(self, race: Race) -> list[Planned]:
        """Run the further rungs of a race, as soon as it is decided who goes on."""
        if not race.rungs:
            return []
        rows = self.ledger.rows()
        runners = race.entered(1, rows)
        for rung in range(1, len(race.rungs)):
            decision = race.decide(rung, runners, rows, self.execution.until, self.pace.factor)
            self.ledger.append_again(race.marked(rung, rows, decision.said))
            self.progress.waiting(f"rung {rung} of {len(race.rungs)}: {decision.summary()}")
            if not (runners := decision.goes_on):
                return []
            left = self.run_some({stem_of(one) for one in race.cells(rung + 1, runners)})
            if left:
                return left
            rows = self.ledger.rows()
        last = len(race.rungs)
        self.ledger.append_again(race.marked(last, rows, race.finished(last, runners, rows)))
        return []

    def run_some(self, stems: Collection[str], until: float = math.inf) -> list[Planned]:
        """Run some cells, those without a result; return those there was no time for.

        Cells that failed before come last, so that one which never ends does not keep the others
        from their turn.
        """
        ledger, plan = self.ledger, self.plan
        open_cells = [planned for planned in ledger.open_cells() if stem_of(planned) in stems]
        self.progress.begin(open_cells, ledger.path, plan.seconds(open_cells, self.pace.factor))
        pending = []
        for planned in open_cells:
            job = ledger.job(planned)
            if planned.probe.after_training and not ledger.keeps_network_of(planned):
                result: Result | None = {"status": "skipped", "error": NOT_KEPT, "wall_s": 0.0}
            else:
                result = known_result(planned, job)
            if result is None:
                pending.append(job)
            else:
                self.progress.done(planned, ledger.store_result(job, result))
        left = self.run_jobs(pending, min(until, self.execution.until))
        return [planned for stem, planned in ledger.planned.items() if stem in left]

    def run_jobs(self, pending: list[Job], until: float) -> set[str]:
        """Run jobs, again where they may be retried; return the stems of those without a row."""
        ledger, plan, pace = self.ledger, self.plan, self.pace
        waits = {job.stem: ledger.planned[job.stem] for job in pending}
        remaining_s = max(0.0, until - time.monotonic())
        until -= min(self.executor.ending_s, remaining_s / 5)
        begun: dict[str, str] = {}
        left = {job.stem for job in pending}
        while pending:
            again = []
            for event in self.executor.run(pending, until):
                match event:
                    case Waiting(reason):
                        self.progress.waiting(reason)
                    case Started(job):
                        begun[job.stem] = now()
                        planned = ledger.planned[job.stem]
                        own_s = planned.seconds * pace.factor(planned.cell.probe)
                        left_s = plan.seconds(waits.values(), pace.factor)
                        self.progress.cell(planned, max(own_s, left_s))
                        waits.pop(job.stem, None)
                    case Ended(job, result):
                        left.discard(job.stem)
                        planned = ledger.planned[job.stem]
                        row = ledger.store_result(job, {"started": begun.get(job.stem), **result})
                        self.progress.done(planned, row)
                        if row["status"] == "ok":
                            pace.learn(planned, row.get("wall_s") or 0.0)
                        if ledger.may_retry(job, row):
                            again.append(job)
                            left.add(job.stem)
            if time.monotonic() >= until:
                break
            pending = again
        return left


def known_result(planned: Planned, job: Job) -> dict[str, Any] | None:
    """Return the result of a cell that needs no run: decided by the plan, or left by a worker.

    A worker leaves one whose parent was killed, or which ran on another machine.
    """
    if planned.status:
        return {
            "status": planned.status,
            "error": planned.reason,
            "wall_s": 0.0,
            "started": now(),
            **planned.figures,
        }
    if (found := job.read_result()) is None:
        return None
    tidy(job.log)
    return {"log": job.log_name, **found}


class RunLedger:
    """The cells of a plan, and what the store has of them."""

    def __init__(self, plan: Plan, store: Store, execution: ExecutionOptions) -> None:
        self.path = store.path
        self.planned = {stem_of(planned): planned for planned in plan.planned}
        self._positions = {stem: position for position, stem in enumerate(self.planned, 1)}
        self._plan = plan
        self._store = store
        self._execution = execution
        self._keys = CellKeys(plan)
        self._attempts = store.attempts()
        self._winners = Winners(plan, store.folder)
        rows = self.rows()
        for planned in self.planned.values():
            if row := rows.get(planned.cell.id):
                self._winners.note(planned, row)
        self._failures: Counter[tuple[str, str]] = Counter()  # in this go, by job and status
        self._fresh = plan.loaded.registry.wants_fresh()

    def open_cells(self) -> list[Planned]:
        """Return the cells without a result: first the untried ones, in the order of the plan."""
        found = [planned for planned in self.planned.values() if not self._is_kept(planned)]
        folder = RunFolder(self.path)
        for stem in stems_in_inbox(folder) & (self.planned.keys() - map(stem_of, found)):
            remove_result(folder, stem)  # a kill may have come between storing a row and this
        return sorted(
            found, key=lambda planned: row_id(planned, planned.names[0]) in self._attempts
        )

    def rows(self) -> dict[str, Row]:
        """Return the last row of each cell of the plan, as it is measured now, by its id."""
        rows, found = latest(iterate_rows(self.path)), {}
        for planned in self.planned.values():
            key = self._keys.key(planned.cell)
            for id in (row_id(planned, name) for name in planned.names):
                if id in rows and rows[id].get("key") == key:
                    found[id] = rows[id]
        return found

    def append_again(self, rows: Iterable[Row]) -> None:
        """Append rows that say more than when their cells ended."""
        if again := tuple(rows):
            self._attempts |= self._store.append(*again)

    def statuses(self) -> set[str]:
        """Return how the store's cells ended, each at its last attempt."""
        return {attempt.status for attempt in self._attempts.values()}

    def refused(self) -> bool:
        """Return whether all cells of the variants that were asked for are unsupported."""
        ids = [
            row_id(planned, name)
            for planned in self.planned.values()
            for name in self._plan.requested.intersection(planned.names)
        ]
        return {self._attempts[id].status for id in ids if id in self._attempts} == {"unsupported"}

    def _is_kept(self, planned: Planned) -> bool:
        """Return whether the store holds this cell, so that it need not be measured again.

        It must be there for all its names, measured by this very software, and well enough.
        """
        attempts = [self._attempts.get(row_id(planned, name)) for name in planned.names]
        key, suite = self._keys.key(planned.cell), self._plan.suite
        return all(
            attempt is not None
            and attempt.key == key
            and (
                self._execution.keeps(attempt.status)
                or attempt.status == planned.status
                # Whom a budget had no time for takes no part when its race goes on.
                or (attempt.status == "skipped" and planned.cell.rung and suite.time_budget)
            )
            and attempt.quality not in self._execution.rerun
            for attempt in attempts
        )

    def job(self, planned: Planned) -> Job:
        """Return a cell as it travels to a worker."""
        cell, plan = planned.cell, self._plan
        data = plan.data[cell.task.id]
        return Job(
            stem=stem_of(planned),
            folder=str(self._store.path.resolve()),
            begun_in=str(Path.cwd()) if plan.suite.models else "",
            cell=cell.to_json(),
            key=self._keys.key(cell),
            data=str(data) if data else None,
            block=plan.suite.block,
            modules=plan.modules,
            sources=self._keys.sources(cell),
            timed=planned.probe.timed,
            fresh=not self._fresh.isdisjoint(providers(plan, planned)),
            keep_weights=self._keeps_weights(planned),
            timeout_s=plan.suite.timeout_s,
            memory_mib=WORKER_MIB + (planned.predicted_train_mib or planned.predicted_mib or 0.0),
        )

    def keeps_network_of(self, planned: Planned) -> bool:
        """Return whether the run's folder has the weights of a cell's network."""
        from unet_bench.train.trained import kept_of

        return kept_of(RunFolder(self.path).weights, planned.cell) is not None

    def _keeps_weights(self, planned: Planned) -> bool:
        """Return whether a training's weights are written: the best stay, or all as asked for.

        From another host only those that are asked for are fetched.
        """
        asked = planned.cell.protocol.keep_weights
        return is_trained(planned) and (asked or not self._plan.executor.remote)

    def store_result(self, job: Job, result: Mapping[str, Any]) -> dict[str, Any]:
        """Append a cell's rows, one for each of its names, and let go of what its worker left."""
        planned = self.planned[job.stem]
        before = self._attempts.get(row_id(planned, planned.names[0]))
        shared = {
            "started": now(),
            "position": self._positions[job.stem],
            "attempt": (before.number if before else 0) + 1,
            "key": job.key,
            **result,
        }
        # Its worker says where it ran, if it could.
        if self._plan.executor.remote and not planned.status:
            shared = dict.fromkeys(ENVIRONMENT_COLUMNS) | shared
        rows = [{**cell_columns(self._plan, planned, name), **shared} for name in planned.names]
        self._attempts |= self._store.append(*rows)
        job.remove_result()
        self._winners.note(planned, rows[0])
        return rows[0]

    def may_retry(self, job: Job, row: Mapping[str, Any]) -> bool:
        """Return whether a failed job gets another attempt in this go."""
        status = str(row["status"])
        self._failures[job.stem, status] += 1
        return self._failures[job.stem, status] <= self._execution.retries.get(status, 0)


def stem_of(planned: Planned) -> str:
    """Return what a cell's files are called."""
    return cell_stem(planned.cell.probe, planned.cell.id)
