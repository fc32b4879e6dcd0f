"""READ FIRST. A run, as the line of steps it is; each step takes a value and returns the next.

    suite ─▶ registry ─▶ variants, tasks ─▶ [Planned cell] ─▶ rows in a store ─▶ tables

`plan` stops before the store; `run` goes on to the end.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from unet_bench import plugins
from unet_bench.cells import Task, digest
from unet_bench.data.sources import absolute, open_dataset, path_of
from unet_bench.errors import InvalidSize, StoreError, UnetBenchError
from unet_bench.locks import timing_lock
from unet_bench.recipe import Recipe, find
from unet_bench.recipe import from_dict as from_recipe
from unet_bench.results.columns import PROBES
from unet_bench.rows import describe, manifest, now, row_id
from unet_bench.suite import Suite, from_dict, from_options

if TYPE_CHECKING:
    import pandas as pd

    from unet_bench.data.dataset import Dataset
    from unet_bench.plan import LoadedTask, Plan, Planned
    from unet_bench.registry import Registry
    from unet_bench.results.store import Store

TIMED = ("speed", "training", "energy", "batch")  # probes that need the machine to themselves
KEPT = ("ok", "oom", "unsupported")  # statuses that a resumed run does not try again


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
    **options: Any,
) -> pd.DataFrame:
    """Measure variants and return the results table; the run's folder is in `.attrs["path"]`.

    Without `variants` (and `base` or `models` among the options): all of them.
    `options` are the fields of `Suite`: `run(["unet", "unet-add"], data=["cells"], preset="quick")`.
    Raises any UnetBenchError before anything is written; afterwards failures are rows.
    """
    from unet_bench.results.tables import read_results

    chosen = variants.split(",") if isinstance(variants, str) else list(variants)
    with plan(from_options({"variants": chosen, **options})) as made:
        path, _ = execute(made, Path(out), progress or Quiet())
    frame = read_results(path)
    frame.attrs["path"] = str(path)
    return frame


@contextmanager
def plan(suite: Suite, recipe: Recipe | None = None) -> Iterator[Plan]:
    """Everything up to the first measurement. The data lie in a temporary folder while the context is open.

    `recipe` is for a run that goes on with the one it began with, whatever its file says now.
    """
    loaded = plugins.load(suite.block)
    registry = loaded.checked()

    from unet_bench.environment import environment  # these import torch: what can be refused has been refused
    from unet_bench.plan import Plan, choose_device, choose_variants, make_plan

    found, suite = with_recipe(suite, registry, on_gpu=choose_device(suite.device) != "cpu", recipe=recipe)
    suite = replace(suite, data=tuple(absolute(registry, name) for name in suite.data))
    check_probes(suite, registry)
    variants = choose_variants(suite, registry)
    with tempfile.TemporaryDirectory(prefix="unet-bench-") as folder:
        tasks = read_tasks(suite, registry, Path(folder))
        planned = make_plan(suite, found, registry, variants, tasks)
        data = {digest(task.task.__dict__): task.data for task in tasks}
        yield Plan(suite, found, loaded, planned, data, environment())


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
                path = folder / f"{digest(task.__dict__)}.npz"
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
    made: Plan, out: Path, progress: Progress, resume: Path | None = None, rerun: Iterable[str] = ()
) -> tuple[Path, set[str]]:
    """Run every open cell, append each row as it comes, and write the tables.

    Of a resumed run, cells whose quality is in `rerun` are open again. Returns the run's folder and the statuses that
    its cells ended with. Raises StoreError.
    """
    from unet_bench.results.store import Store, latest
    from unet_bench.results.tables import write_tables

    with Store.open(resume) if resume else Store.create(out, manifest(made)) as store:
        try:
            measure(made, store, progress, rerun)
        except BaseException:
            with contextlib.suppress(
                StoreError
            ):  # on a full disk the first error says more: what is kept, how to go on
                write_tables(store)
            raise
        write_tables(store)
        return store.path, {row["status"] for row in latest(store.rows()).values()}


def measure(made: Plan, store: Store, progress: Progress, rerun: Iterable[str] = ()) -> None:
    """Every cell that has no result yet, one after the other, into the store."""
    from unet_bench.execute.runner import Runner
    from unet_bench.results.store import latest

    before = latest(store.rows())
    code = made.code
    open_cells = [p for p in made.planned if not is_kept(before, p, p.cell.key(code), tuple(rerun))]
    progress.begin(open_cells, store.path)
    left = sum(p.seconds for p in open_cells)
    with Runner(preload(made)) as runner:
        for planned in open_cells:
            progress.cell(planned, left)
            left -= planned.seconds
            key = planned.cell.key(code)
            attempt = int(before.get(row_id(planned, planned.names[0]), {}).get("attempt") or 0) + 1
            shared = {
                "started": now(),
                "attempt": attempt,
                "key": key,
                **outcome(made, store, runner, planned, key, progress),
            }
            for name in planned.names:
                row = {**describe(made, planned, name), **shared}
                store.append(row)
            progress.done(planned, row)


def is_kept(before: Mapping[str, Mapping[str, Any]], planned: Planned, key: str, rerun: tuple[str, ...] = ()) -> bool:
    """Whether the store already holds this cell, for all its names, measured by this very software, and well enough."""
    rows = [before.get(row_id(planned, name)) for name in planned.names]
    return all(
        row is not None and row["status"] in KEPT and row.get("key") == key and row.get("quality") not in rerun
        for row in rows
    )


def outcome(made: Plan, store: Store, runner: Any, planned: Planned, key: str, progress: Progress) -> dict[str, Any]:
    """Status and columns of a cell: decided by the plan, or measured by a worker."""
    if planned.status:
        return {"status": planned.status, "error": planned.reason, "wall_s": 0.0}
    cell = planned.cell
    stem = f"{cell.probe}-{cell.id}"
    log = store.path / "logs" / f"{stem}.log"
    network = f"{stem}.safetensors"
    kept = cell.probe == "accuracy" and cell.protocol.keep_weights
    job = {
        "cell": cell.to_json(),
        "block": list(made.suite.block),
        "data": str(made.data[digest(cell.task.__dict__)]),
        "samples": str(store.path / "samples" / f"{stem}.json"),
        "checkpoint": str(store.path / "checkpoints" / stem),
        "weights": str(store.path / "weights" / network) if kept else None,
        "key": key,
        "log": str(log),
        "result": str(store.path / f".{stem}.json"),
    }
    timed = cell.probe in TIMED
    with timing_lock(cell.setting.device, progress.waiting) if timed else contextlib.nullcontext():
        result: dict[str, Any] = runner.run(job, made.suite.timeout_s)
    if log.exists() and not log.stat().st_size:
        log.unlink()
    return result | {"log": f"logs/{log.name}" if log.exists() else None}


def preload(made: Plan) -> list[str]:
    """What the fork server imports once, so that no worker has to: torch, and timm where an encoder needs it."""
    modules = ["torch", *(f"unet_bench.measure.{probe}" for probe in made.suite.probes if probe in PROBES)]
    timm = any(p.cell.variant.choices.encoder.startswith("timm:") for p in made.planned)
    return modules + ["timm"] * timm


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
