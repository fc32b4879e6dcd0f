"""READ FIRST. A run, as the line of steps it is; each step takes a value and returns the next.

    suite ─▶ registry ─▶ variants, tasks ─▶ [Planned cell] ─▶ rows in a store ─▶ tables

`plan` stops before the store; `run` goes on to the end.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from unet_bench import plugins
from unet_bench.cells import Task, digest
from unet_bench.conduct import Conduct
from unet_bench.data.sources import absolute, open_dataset, path_of
from unet_bench.errors import InvalidSize, InvalidSuite, StoreError, UnetBenchError
from unet_bench.execute.jobs import Ended, Job, Started, Waiting, forget
from unet_bench.keys import Keys
from unet_bench.recipe import Recipe, find
from unet_bench.recipe import from_dict as from_recipe
from unet_bench.results.columns import PROBES
from unet_bench.rows import describe, manifest, now, providers, row_id
from unet_bench.suite import Suite, from_dict, from_options

if TYPE_CHECKING:
    import pandas as pd

    from unet_bench.data.dataset import Dataset
    from unet_bench.execute.jobs import Executor
    from unet_bench.plan import LoadedTask, Plan, Planned
    from unet_bench.registry import Registry
    from unet_bench.results.store import Store

CUT_SHORT = "cut-short.txt"  # the jobs that a time limit ended, in a run's folder
TIMED = ("speed", "training", "energy", "batch")  # probes that need the machine to themselves


class Progress(Protocol):
    """What a run tells whoever watches it."""

    def begin(self, planned: list[Planned], path: Path) -> None:
        """The run starts: these cells, into this folder."""

    def cell(self, planned: Planned, seconds_left: float) -> None:
        """A cell starts; the whole run will end in about so many seconds."""

    def done(self, planned: Planned, row: dict[str, Any]) -> None:
        """A cell ended with this row."""

    def waiting(self, reason: str) -> None:
        """The run waits for somebody else."""


@dataclass(frozen=True)
class Finished:
    """A run that has ended: its folder, the statuses of its cells, and how many of them there was no time for."""

    path: Path
    statuses: set[str]
    left: int = 0


class Quiet:
    """Watches and says nothing."""

    def begin(self, planned: list[Planned], path: Path) -> None:
        """Nothing."""

    def cell(self, planned: Planned, seconds_left: float) -> None:
        """Nothing."""

    def done(self, planned: Planned, row: dict[str, Any]) -> None:
        """Nothing."""

    def waiting(self, reason: str) -> None:
        """Nothing."""


def run(
    variants: str | Iterable[str] = (),
    *,
    out: str | Path = "results",
    progress: Progress | None = None,
    conduct: Conduct | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Measure variants and return the results table; the run's folder is in `.attrs["path"]`.

    Without `variants` (and `base` or `models` among the options): all of them.
    `options` are the fields of `Suite`: `run(["unet", "unet-add"], data=["cells"], preset="quick")`; `conduct` says
    where and for how long.
    Raises any UnetBenchError before anything is written; afterwards failures are rows.
    """
    from unet_bench.results.tables import read_results

    chosen = variants.split(",") if isinstance(variants, str) else list(variants)
    conduct = conduct or Conduct()
    with plan(from_options({"variants": chosen, **options}), conduct=conduct) as made:
        path = execute(made, Path(out), progress or Quiet(), conduct=conduct).path
    frame = read_results(path)
    frame.attrs["path"] = str(path)
    return frame


@contextmanager
def plan(suite: Suite, recipe: Recipe | None = None, conduct: Conduct | None = None) -> Iterator[Plan]:
    """Everything up to the first measurement. The data lie in a temporary folder while the context is open.

    `recipe` is for a run that goes on with the one it began with, whatever its file says now.
    """
    loaded = plugins.load(suite.block)
    registry = loaded.checked()

    from unet_bench.environment import environment  # these import torch: what can be refused has been refused
    from unet_bench.plan import Plan, choose_variants, make_plan

    executor = executor_of(conduct or Conduct(), registry)
    suite = replace(suite, device=executor.device(suite.device))
    found, suite = with_recipe(suite, registry, on_gpu=suite.device != "cpu", recipe=recipe)
    suite = replace(suite, data=tuple(absolute(registry, name) for name in suite.data))
    check_probes(suite, registry)
    variants = choose_variants(suite, registry)
    with tempfile.TemporaryDirectory(prefix="unet-bench-") as folder:
        tasks = read_tasks(suite, registry, Path(folder))
        planned = make_plan(suite, found, registry, variants, tasks)
        data = {task.task.id: task.data for task in tasks}
        yield Plan(suite, found, loaded, planned, data, environment(), executor, preload(suite, planned))


def executor_of(conduct: Conduct, registry: Registry) -> Executor:
    """What runs the cells. Raises UnknownName, InvalidSuite."""
    entry = registry.find("executor", conduct.executor)
    if entry.absent:
        raise InvalidSuite(f"executor {conduct.executor} {entry.absent}")
    found: Executor = entry.load()(conduct.devices, conduct.options)
    return found


def with_recipe(suite: Suite, registry: Registry, on_gpu: bool, recipe: Recipe | None = None) -> tuple[Recipe, Suite]:
    """The recipe that a suite or its preset names, and the suite resolved; raises UnknownName, InvalidSuite.

    A recipe's batch is the suite's, unless that has its own; a recipe's file is found again from anywhere.
    """
    resolved = suite.resolved(on_gpu)
    recipe = recipe or find(registry, resolved.recipe)
    batch = suite.batch or ((recipe.batch,) if recipe.batch else resolved.batch)
    name = resolved.recipe
    return recipe, replace(resolved, batch=batch, recipe=str(Path(name).resolve()) if name.endswith(".toml") else name)


def check_probes(suite: Suite, registry: Registry) -> None:
    """Raises UnknownName for a probe that nobody registered."""
    for probe in suite.probes:
        registry.find("probe", probe)


def read_tasks(suite: Suite, registry: Registry, folder: Path) -> list[LoadedTask]:
    """Read and check every data set, at every size and fold, into files that workers read. Raises InvalidData."""
    from unet_bench.data.dataset import fit
    from unet_bench.plan import LoadedTask

    tasks = []
    for name in suite.data:
        for size in suite.sizes():
            try:
                whole = open_dataset(registry, name, size=size, classes=class_names(suite.classes))
                whole = fit(whole, size, suite.fit)  # type: ignore[arg-type]
            except MemoryError as error:
                raise InvalidSize(
                    f"data set {name} at {'x'.join(map(str, size))} does not fit into memory; use a smaller size"
                ) from error
            folds = folds_of(suite, registry, whole, name)
            for number, dataset in enumerate(folds):
                task = Task(
                    name=dataset.name,
                    dataset_hash=dataset.hash if len(folds) == 1 else digest([fold.hash for fold in folds]),
                    classes=dataset.classes,
                    in_channels=dataset.channels,
                    scored=size,
                    fit=suite.fit,
                    fold=f"{number}/{len(folds)}" if len(folds) > 1 else "",
                )
                path = folder / f"{task.id}.npz"
                try:
                    dataset.save(path)
                except OSError as error:
                    raise StoreError(
                        f"{folder} cannot hold the data ({error}); free space there, or set TMPDIR"
                    ) from error
                tasks.append(LoadedTask(task, path, len(dataset.train), len(dataset.val)))
    return tasks


def folds_of(suite: Suite, registry: Registry, dataset: Dataset, name: str) -> list[Dataset]:
    """The data set itself, or the folds that the suite asks for. Raises InvalidData, InvalidSuite."""
    from unet_bench.data.folds import given_folds, seeded_folds

    if not suite.folds:
        return [dataset]
    if suite.folds.isdecimal():
        return seeded_folds(dataset, int(suite.folds))
    return given_folds(dataset, path_of(registry, name), suite.folds)


def class_names(given: tuple[str, ...]) -> int | tuple[str, ...] | None:
    """What `--classes` says: how many, their names, or nothing."""
    counted = len(given) == 1 and given[0].isdecimal()
    return int(given[0]) if counted else given or None


def execute(
    made: Plan, out: Path, progress: Progress, resume: Path | None = None, conduct: Conduct | None = None
) -> Finished:
    """Run every open cell, append each row as it comes, and write the tables. Raises StoreError."""
    from unet_bench.results.store import Store
    from unet_bench.results.tables import write_tables

    conduct = conduct or Conduct()
    with Store.open(resume) if resume else Store.create(out, manifest(made)) as store:
        try:
            run = Run(made, store, conduct)
            left = measure(made, run, progress, conduct)
            write_tables(store)
        except BaseException:
            with contextlib.suppress(StoreError):  # the first error says more: what is kept, how to go on
                write_tables(store)
            raise
        return Finished(store.path, run.statuses(), left)


def measure(made: Plan, run: Run, progress: Progress, conduct: Conduct) -> int:
    """Every cell that has no result yet into the store; how many are left when the time is over.

    Cells that failed before come last, behind them what a time limit cut short: one that is longer than the limit
    must not keep the others from their turn.
    """
    open_cells = run.open_cells()
    progress.begin(open_cells, run.path)
    pending = []
    for planned in open_cells:
        job = run.job(planned)
        if planned.status:
            result = {"status": planned.status, "error": planned.reason, "wall_s": 0.0, "started": now()}
        elif (found := job.left()) is not None:  # by a worker whose parent was killed, or on another machine
            result = found
        else:
            pending.append(job)
            continue
        progress.done(planned, run.settle(job, result))
    seconds_left = sum(run.planned[job.stem].seconds for job in pending)
    begun: dict[str, str] = {}
    left = {job.stem for job in pending}
    with made.executor as executor:
        while pending:
            again = []
            for event in executor.run(pending, conduct.until):
                match event:
                    case Waiting(reason):
                        progress.waiting(reason)
                    case Started(job):
                        begun[job.stem] = now()
                        progress.cell(run.planned[job.stem], seconds_left)
                        seconds_left -= run.planned[job.stem].seconds
                    case Ended(job, result):
                        left.discard(job.stem)
                        row = run.settle(job, {"started": begun.get(job.stem), **result})
                        progress.done(run.planned[job.stem], row)
                        if run.may_retry(job, row):
                            again.append(job)
            if time.monotonic() >= conduct.until:
                run.put_off([stem for stem in begun if stem in left])
                break
            pending = again
    return len(left)


class Run:
    """The cells of a plan, and what the store has of them."""

    def __init__(self, made: Plan, store: Store, conduct: Conduct) -> None:
        self.path = store.path
        self.planned = {stem_of(planned): planned for planned in made.planned}
        self._made = made
        self._store = store
        self._conduct = conduct
        self._keys = Keys(made)
        self._attempts = store.attempts()
        self._tried: Counter[tuple[str, str]] = Counter()  # in this go, by job and status
        self._fresh = made.loaded.registry.wants_fresh()

    def open_cells(self) -> list[Planned]:
        """Those without a result: first what was never tried, in the order of the plan."""
        found = []
        for stem, planned in self.planned.items():
            if self._is_kept(planned):
                forget(self._store.path, stem)  # a kill may have come between storing a row and this
            else:
                found.append(planned)
        cut = {stem: number for number, stem in enumerate(self._cut(), 1)}
        tried = self._attempts
        return sorted(found, key=lambda p: (cut.get(stem_of(p), 0), row_id(p, p.names[0]) in tried))

    def put_off(self, stems: list[str]) -> None:
        """Note what a time limit cut short: when the run goes on, these wait for all others, the last one longest."""
        from unet_bench.results.store import write_atomic

        if stems:
            lines = [*(stem for stem in self._cut() if stem not in stems), *stems]
            write_atomic(self.path / CUT_SHORT, "".join(f"{line}\n" for line in lines))

    def _cut(self) -> list[str]:
        with contextlib.suppress(OSError):
            return (self.path / CUT_SHORT).read_text(encoding="utf-8", errors="replace").splitlines()
        return []

    def statuses(self) -> set[str]:
        """How the store's cells ended, each at its last attempt."""
        return {attempt.status for attempt in self._attempts.values()}

    def _is_kept(self, planned: Planned) -> bool:
        """Whether the store holds this cell, for all its names, measured by this very software, and well enough."""
        attempts = [self._attempts.get(row_id(planned, name)) for name in planned.names]
        key = self._keys.key(planned.cell)
        return all(
            attempt is not None
            and attempt.key == key
            and self._conduct.keeps(attempt.status)
            and attempt.quality not in self._conduct.rerun
            for attempt in attempts
        )

    def job(self, planned: Planned) -> Job:
        """A cell as it travels to a worker."""
        cell, made = planned.cell, self._made
        data = made.data[cell.task.id]
        return Job(
            stem=stem_of(planned),
            folder=str(self._store.path.resolve()),
            cell=cell.to_json(),
            key=self._keys.key(cell),
            data=str(data) if data else None,
            block=made.suite.block,
            modules=made.modules,
            sources=self._keys.sources(cell),
            timed=cell.probe in TIMED,
            fresh=not self._fresh.isdisjoint(providers(made, planned)),
            keep_weights=cell.probe == "accuracy" and cell.protocol.keep_weights,
            timeout_s=made.suite.timeout_s,
        )

    def settle(self, job: Job, result: Mapping[str, Any]) -> dict[str, Any]:
        """Append a cell's rows, one for each of its names, and let go of what its worker left."""
        planned = self.planned[job.stem]
        before = self._attempts.get(row_id(planned, planned.names[0]))
        shared = {"started": now(), "attempt": (before.number if before else 0) + 1, "key": job.key, **result}
        rows = [{**describe(self._made, planned, name), **shared} for name in planned.names]
        self._attempts |= self._store.append(*rows)
        job.forget()
        return rows[0]

    def may_retry(self, job: Job, row: Mapping[str, Any]) -> bool:
        """Whether a failed job gets another attempt in this go."""
        status = str(row["status"])
        self._tried[job.stem, status] += 1
        return self._tried[job.stem, status] <= self._conduct.retries.get(status, 0)


def stem_of(planned: Planned) -> str:
    """What a cell's files are called."""
    return f"{planned.cell.probe}-{planned.cell.id}"


def preload(suite: Suite, planned: Iterable[Planned]) -> tuple[str, ...]:
    """What the fork server imports once, so that no worker has to: torch, and timm where an encoder needs it."""
    modules = ["torch", *(f"unet_bench.measure.{probe}" for probe in suite.probes if probe in PROBES)]
    timm = any(p.cell.variant.choices.encoder.startswith("timm:") for p in planned)
    return (*modules, *["timm"] * timm)


def resumed(path: Path) -> Suite:
    """The suite of a run that is to go on. Raises StoreError."""
    from unet_bench.results.store import read_manifest

    stored = read_manifest(path).get("suite")
    if not isinstance(stored, dict):
        raise UnetBenchError(f"{path}: its run.json holds no suite; start a new run")
    return from_dict(stored)


def recipe_of(path: Path) -> Recipe | None:
    """The recipe that a run began with; None if it is of a version that did not note it. Raises StoreError."""
    from unet_bench.results.store import read_manifest

    stored = read_manifest(path).get("recipe")
    return from_recipe(stored, Recipe()) if isinstance(stored, dict) else None
