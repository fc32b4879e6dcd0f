"""Which trained networks stay on disk, where not all are asked for: of each data set the best.

A run trains many networks, and most are never used: the weights of one that is worse than another
are removed as soon as both have all their trainings, so that a disk holds those of two or three.
"""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from unet_bench.execute.race import Field, Runner, runner_of
from unet_bench.store.run_folder import RunFolder, cell_stem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unet_bench.plan.cells import Plan, Planned


class _Entry(NamedTuple):
    """A network in a rung of a race, 0 outside of races, and the probe that trains it."""

    runner: Runner
    probe: str
    rung: int


class Winners:
    """The best network of each data set and setting so far, whose weights are kept."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._keeps_all, self._folder = plan.suite.keep_weights, folder
        trained = [planned for planned in plan.planned if is_trained(planned)]
        self._due = Counter(_entry(planned) for planned in trained)
        self._dice: dict[_Entry, dict[str, float | None]] = {}  # by the stem of a cell
        self._best: dict[tuple[Field, str], _Entry] = {}

    def note(self, planned: Planned, row: Mapping[str, Any]) -> None:
        """Take note of a training that ended, and let go of weights that are not the best.

        Where all are to be kept, those of a race's earlier rungs are let go of.
        """
        if not is_trained(planned):
            return
        entry, stem = _entry(planned), cell_stem(planned.cell.probe, planned.cell.id)
        self._dice.setdefault(entry, {})[stem] = row.get("dice") if row["status"] == "ok" else None
        if len(self._dice[entry]) < self._due[entry]:
            return
        if self._keeps_all:
            self._let_go(entry._replace(rung=entry.rung - 1))
            return
        best = self._best.setdefault((entry.runner.field, entry.probe), entry)
        if best != entry:
            better, worse = sorted((best, entry), key=self._rank, reverse=True)
            self._best[entry.runner.field, entry.probe] = better
            self._let_go(worse)

    def _let_go(self, entry: _Entry) -> None:
        for stem in self._dice.get(entry, ()):
            self._folder.remove_weights(stem)

    def _rank(self, entry: _Entry) -> tuple[int, float]:
        """Return how good a network is: in a race who was trained for longer is the better one."""
        dice = [value for value in self._dice[entry].values() if value is not None]
        return (entry.rung, fmean(dice)) if len(dice) == self._due[entry] else (-1, 0.0)


def is_trained(planned: Planned) -> bool:
    """Return whether a cell trains a network."""
    probe = planned.probe
    return probe.scores and probe.trains and not planned.cell.variant.trivial and not planned.status


def _entry(planned: Planned) -> _Entry:
    return _Entry(runner_of(planned), planned.cell.probe, planned.cell.rung)
