"""The self-audit: does our timing call identical code identical, and does it find what is slower?

suite ─▶ A/A cells and slowed ones, shuffled ─▶ an ordinary run ─▶ trials ─▶ audit ─▶ selftest.json
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unet_bench import pipeline
from unet_bench.errors import InvalidSuite
from unet_bench.execute.signals import exit_code, terminable
from unet_bench.networks.variants import BASELINE
from unet_bench.spec.cell import Setting
from unet_bench.spec.option import options
from unet_bench.spec.suite import Suite, from_options

if TYPE_CHECKING:
    from unet_bench.analysis.audit import Report
    from unet_bench.execute.options import ExecutionOptions
    from unet_bench.plan.cells import Plan, Planned
    from unet_bench.spec.cell import Cell

PAIRS: Final = 59  # the fewest that, all within X, give 95 % confidence that 95 % of pairs are
SLOWDOWNS: Final = (0.01, 0.02, 0.03, 0.05)
REPEATS: Final = 10  # of each slow-down
QUICK_PAIRS: Final = 20
QUICK_REPEATS: Final = 3
FULL: Final[Mapping[str, Any]] = {"speed_s": 10.0, "interval": 0.01}
# Small, so that there are steps enough in so little time.
QUICK: Final[Mapping[str, Any]] = {"speed_s": 1.2, "size": "64x64", "batch": (1,)}
# What timings depend on, and the audit takes over from a run; of several values the first.
CONDITIONS: Final = (
    *options(Setting),
    "preset",
    "size",
    "width_scale",
    "speed_s",
    "interval",
    "timeout_s",
    "baseline",
    "block",
)


@dataclass(frozen=True)
class Outcome:
    """An audit, where it was left, and what cut it short, if anything did."""

    report: Report
    path: Path
    stopped: KeyboardInterrupt | None = None
    left: int = 0  # cells that there was no time for

    def exit_code(self, fail_above: float | None = None) -> int:
        """Return 130 after Ctrl-C, 143 after SIGTERM; 1 where timing cannot be trusted; else 0.

        That is where it is not repeatable within `fail_above` percent, or most pairs were lost.
        """
        if self.stopped:
            return exit_code(self.stopped)
        unknown = sum(self.report.lost.values()) >= self.report.pairs
        return int(fail_above is not None and (unknown or 100 * self.report.worst > fail_above))


def selftest(
    run: Path | None = None,
    *,
    quick: bool = False,
    pairs: int | None = None,
    repeats: int | None = None,
    variant: str | None = None,
    out: Path = Path("results"),
    resume: Path | None = None,
    execution: ExecutionOptions | None = None,
    **fields: Any,
) -> Outcome:
    """Time a variant against itself, equal and slowed down, and judge the timings.

    They are judged by what is known to be true of them. `pairs` of identical code and `repeats` of
    each slow-down, each in a fresh process, all shuffled. `fields` are those of `Suite`, laid over
    the conditions of `run`, the folder of a run to audit for: the audit is left there, too.
    `resume` is the folder of a self-test of the same arguments that goes on. After
    Ctrl-C, what was measured is audited. Raises any UnetBenchError before anything is measured, and
    afterwards when no pair of identical code gave a ratio or the disk says no.
    """
    pairs = (QUICK_PAIRS if quick else PAIRS) if pairs is None else pairs
    repeats = (QUICK_REPEATS if quick else REPEATS) if repeats is None else repeats
    under = {**(QUICK if quick else FULL), **(conditions(run) if run else {})}
    under |= {name: value for name, value in fields.items() if value is not None}
    wanted = suite_for(variant or under.get("baseline", BASELINE), pairs, under)

    from unet_bench.analysis.audit import audit, trials_of
    from unet_bench.present.progress import Watcher
    from unet_bench.store.log import iterate_rows, latest
    from unet_bench.store.tables import write_tables  # noqa: F401 (whole, before signals raise)

    stopped, left = None, 0
    with pipeline.plan(wanted, execution=execution) as plan, Watcher() as progress:
        if run:
            check_environment(run, plan)
        plan = replace(plan, planned=with_slowed(plan.planned, repeats))
        try:
            with terminable():
                done = pipeline.execute(plan, out, progress, resume, execution)
            left = len(done.left)
        except KeyboardInterrupt as end:
            stopped = end
            if progress.path is None:  # nothing was begun
                raise
    path = progress.path
    assert path is not None
    rows = [*latest(iterate_rows(path)).values()]
    trials, lost = trials_of(rows)
    cell = plan.planned[0].cell
    if stopped and not any(trial.slowdown == 0 for trial in trials):
        raise stopped
    report = audit(trials, budget_s=cell.protocol.speed_s, workload=workload(cell), lost=lost)
    if cell.setting.device != "cpu":
        queued, lost = trials_of(rows, "throughput_ratio")
        report = replace(
            report, throughput=audit(queued, budget_s=cell.protocol.speed_s, lost=lost)
        )
    for folder in filter(None, (path, run)):
        write_report(report, folder, path)
    return Outcome(report, path, stopped, left)


def conditions(run: Path) -> dict[str, Any]:
    """Return what a run was measured under, as a suite's fields. Raises StoreError."""
    suite = pipeline.suite_of_run(run)
    found = {name: getattr(suite, name) for name in CONDITIONS}
    for name in options(Setting):
        if name != "device":
            found[name] = found[name][:1]
    return found | {"size": suite.size.partition(",")[0]}


def check_environment(run: Path, plan: Plan) -> None:
    """Raise InvalidSuite where the run was measured on another machine or by other software."""
    from unet_bench.store.log import read_manifest

    if read_manifest(run).get("environment", {}).get("env_id") != plan.environment["env_id"]:
        raise InvalidSuite(
            f"{run} was measured in another environment, and a self-test here says nothing about "
            "timings there: run it there, or without naming the run"
        )


def suite_for(variant: str, pairs: int, fields: Mapping[str, Any]) -> Suite:
    """Return the suite of so many pairs of a variant and itself, whatever they cost.

    Raises InvalidSuite, UnknownName.
    """
    fixed = {
        "variants": variant,
        "baseline": variant,
        "probes": "speed",
        "replicates": pairs,
        "limit_tmac": 0,
    }
    suite = from_options({**fields, **fixed})
    for name in options(Setting):
        if name != "device" and len(values := getattr(suite, name)) > 1:
            several = ",".join(map(str, values))
            raise InvalidSuite(f"{name}={several}: the self-test times one setting; give one value")
    return suite


def with_slowed(planned: list[Planned], repeats: int) -> list[Planned]:
    """Return the cells of identical code and some of each slow-down, mixed.

    The order is the same every time.
    """
    pattern, free = planned[0], max(p.cell.replicate for p in planned) + 1
    slowdowns = [slowdown for slowdown in SLOWDOWNS for _ in range(repeats)]
    mixed = [
        *planned,
        *(slowed(pattern, slowdown, free + n) for n, slowdown in enumerate(slowdowns)),
    ]
    random.Random(0).shuffle(mixed)
    return mixed


def slowed(planned: Planned, slowdown: float, replicate: int) -> Planned:
    """Return the cell with its variant slowed down, under a name of its own.

    Tables must not pool it with the others. It has a replicate of its own, too, since a cell's id
    says nothing of the protocol.
    """
    protocol = replace(planned.cell.protocol, slowdown=slowdown)
    cell = replace(planned.cell, protocol=protocol, replicate=replicate)
    return replace(
        planned, cell=cell, names=(f"{planned.names[0]} slowed by {100 * slowdown:g} %",)
    )


def workload(cell: Cell) -> str:
    """Return what was timed and how, as words."""
    setting, size = cell.setting, "×".join(map(str, cell.input_window.input))
    scale = f"width × {cell.variant.choices.width_scale:g}"
    settings = (
        setting.device,
        setting.precision,
        setting.memory_format,
        setting.runtime,
        f"threads {setting.threads}",
    )
    return " · ".join((cell.variant.name, scale, f"batch {setting.batch} of {size}", *settings))


def write_report(report: Report, folder: Path, path: Path) -> None:
    """Write selftest.json and selftest.txt into a folder. Raises StoreError.

    `path` is the run they come from.
    """
    from unet_bench.present.audit import report_text
    from unet_bench.store.run_folder import RunFolder, write_text

    content = {"run": path.name, **report.to_json()}
    file = RunFolder(folder).selftest
    write_text(file, json.dumps(content, indent=2, allow_nan=False) + "\n")
    write_text(file.with_suffix(".txt"), report_text(report))
