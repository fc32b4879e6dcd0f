"""READ FIRST. A run, as the line of steps it is; each step takes a value and returns the next.

    suite ─▶ registry ─▶ variants, tasks ─▶ [Planned cell] ─▶ rows in a store ─▶ tables

`plan` stops before the store; `run` goes on to the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_bench.data.sources import absolute
from unet_bench.errors import InvalidSuite, StoreError
from unet_bench.execute.driver import Finished, Progress, Quiet, RunLedger, run_cells
from unet_bench.execute.manifest import manifest
from unet_bench.execute.options import ExecutionOptions
from unet_bench.host.locks import own_folder
from unet_bench.registry import plugins
from unet_bench.spec.option import named
from unet_bench.spec.presets import WHERE_EXPORTED
from unet_bench.spec.recipe import Recipe, find
from unet_bench.spec.recipe import from_dict as from_recipe
from unet_bench.spec.suite import AS_SCORED, Suite, from_dict, from_options, parse_budget

if TYPE_CHECKING:
    import pandas as pd

    from unet_bench.execute.jobs import Executor
    from unet_bench.host.survey import DeviceFacts
    from unet_bench.plan.cells import Plan, Planned
    from unet_bench.plan.tasks import LoadedTask
    from unet_bench.registry.registry import Registry


def run(
    variants: str | Iterable[str] = (),
    *,
    out: str | Path = "results",
    progress: Progress | None = None,
    execution: ExecutionOptions | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Measure variants and return the results table; the run's folder is in `.attrs["path"]`.

    Without `variants` (and `base` or `models` among the options): those of the preset. `options`
    are the fields of `Suite`: `run(["unet", "unet-add"], data=["cells"], preset="quick")`.
    `execution` says where and for how long. Raises any UnetBenchError before anything is written;
    afterwards failures are rows.
    """
    from unet_bench.store.tables import read_results

    chosen = variants.split(",") if isinstance(variants, str) else list(variants)
    execution = execution or ExecutionOptions()
    with plan(from_options({"variants": chosen, **options}), execution=execution) as planned:
        path = execute(planned, Path(out), progress or Quiet(), execution=execution).path
    frame = read_results(path)
    frame.attrs["path"] = str(path)
    return frame


@contextmanager
def plan(
    suite: Suite,
    recipe: Recipe | None = None,
    execution: ExecutionOptions | None = None,
    *,
    dry_run: bool = False,
    watch: Callable[[int, int], None] = lambda examined, total: None,
) -> Iterator[Plan]:
    """Do everything up to the first measurement.

    The data lie in a temporary folder while the context is open.
    `recipe` is for a run that goes on with the one it began with, whatever its file says now.
    `dry_run`: nothing will be measured here, so that the device may be another machine's.
    `watch` is told how many of how many networks are examined.
    """
    loaded = plugins.load(suite.block)
    registry = loaded.checked()

    # These import torch: what can be refused without it has been refused.
    from unet_bench.host.cache import cache_folder
    from unet_bench.host.environment import environment
    from unet_bench.host.survey import facts_of, survey
    from unet_bench.plan.budget import shortly_timed, with_rungs, without_dearest
    from unet_bench.plan.cells import Plan, at_once, make_plan, preloaded
    from unet_bench.plan.examinations import Examinations
    from unet_bench.plan.fingerprint import Sources
    from unet_bench.plan.tasks import read_tasks
    from unet_bench.plan.variants import choose_variants

    executor = executor_of(execution or ExecutionOptions(), registry)
    requested_device, given_rungs, is_resumed = suite.device, suite.rungs, recipe is not None
    suite = replace(suite, device=device_of(executor, suite.device, dry_run=dry_run))
    facts = facts_of(suite.device, here=not executor.remote)
    recipe, suite = with_recipe(suite, registry, on_gpu=suite.device != "cpu", recipe=recipe)
    suite = replace(suite, data=tuple(absolute(registry, name) for name in suite.data))
    # Raises UnknownName before any data are read.
    probes = [registry.probe(probe) for probe in suite.probes]
    for name in suite.runtime:
        registry.runtime(name)
    chosen = choose_variants(suite, registry)
    begun = starting(executor, suite.block, preloaded(probes, chosen.variants), dry_run=dry_run)
    with own_folder() as folder, begun:
        tasks = read_tasks(suite, registry, folder, selects=recipe.select == "best")
        known = Examinations(registry, Sources(loaded), cache_folder())

        def planned_as(suite: Suite) -> list[Planned]:
            return make_plan(suite, recipe, registry, chosen.variants, tasks, facts, known, watch)

        planned = planned_as(suite)
        if suite.time_budget and not is_resumed:  # which goes on as it was cut
            side_by_side = at_once(executor, planned)
            suite = shortly_timed(suite, planned)
            if not given_rungs:
                suite = with_rungs(suite, planned_as(suite), side_by_side)
            planned = without_dearest(suite, planned_as(suite), side_by_side)
        known.save()
        yield Plan(
            suite=suite,
            recipe=recipe,
            loaded=loaded,
            planned=planned,
            data={loaded_task.task.id: loaded_task.data for loaded_task in tasks},
            environment=environment(survey().names()),
            executor=executor,
            requested=chosen.requested,
            notes=tuple(notes_of(suite, requested_device, executor, facts, tasks)),
        )


def executor_of(execution: ExecutionOptions, registry: Registry) -> Executor:
    """Return what runs the cells. Raises UnknownName, InvalidSuite."""
    entry = registry.find("executor", execution.executor)
    if entry.absent:
        raise InvalidSuite(f"executor {execution.executor} {entry.absent}")
    options = dict(execution.options)
    if execution.jobs:
        options["jobs"] = str(execution.jobs)
    found: Executor = entry.load()(execution.devices, options)
    return found


def starting(
    executor: Executor, block: Sequence[str], modules: Sequence[str], *, dry_run: bool
) -> AbstractContextManager[None]:
    """Return a context in which an executor that can begins what will run cells."""
    begin = getattr(executor, "starting", None)
    if dry_run or begin is None:
        return contextlib.nullcontext()
    begun: AbstractContextManager[None] = begin(block, modules)
    return begun


def device_of(executor: Executor, name: str, *, dry_run: bool) -> str:
    """Return the device that a suite is measured on. Raises InvalidSuite.

    A dry run takes any device by its name, whether this machine has it or not.
    """
    from unet_bench.host.device import indexed

    try:
        return executor.device(name)
    except InvalidSuite:
        if dry_run and name != "auto":
            indexed(name)  # raises for what is a device nowhere
            return name
        raise


def with_recipe(
    suite: Suite, registry: Registry, on_gpu: bool, recipe: Recipe | None = None
) -> tuple[Recipe, Suite]:
    """Return the recipe that a suite or its preset names, and the suite resolved.

    A recipe's batch is the suite's, unless that has its own; a recipe's file is found again from
    anywhere. Raises UnknownName, InvalidSuite.
    """
    resolved = suite.resolved(on_gpu)
    if not suite.probes and is_exported(resolved, registry):
        resolved = replace(resolved, probes=(*resolved.probes, *WHERE_EXPORTED))
    recipe = recipe or find(registry, resolved.recipe)
    batch = suite.batch or ((recipe.batch,) if recipe.batch else resolved.batch)
    name = resolved.recipe
    return recipe, replace(
        resolved, batch=batch, recipe=str(Path(name).resolve()) if name.endswith(".toml") else name
    )


def is_exported(suite: Suite, registry: Registry) -> bool:
    """Return whether a runtime other than torch is to run networks. Raises UnknownName."""
    return any(not registry.runtime(name).in_torch for name in suite.runtime)


def notes_of(
    suite: Suite,
    requested_device: str,
    executor: Executor,
    facts: DeviceFacts,
    tasks: Iterable[LoadedTask],
) -> Iterator[str]:
    """Yield what whoever runs a plan should know of its modules, its device and its data."""
    from unet_bench.host.survey import survey

    if suite.models:
        yield f"--model: modules are imported from {Path.cwd()} or, if not there, as installed"
    if not executor.remote:
        if requested_device == "auto":
            yield from survey().problems()  # such as a GPU that is left unused
        if not facts.name and suite.device != "cpu":
            yield (
                f"{suite.device} is not on this machine: seconds are guesses, "
                "and its number formats are not known"
            )
    yield from dict.fromkeys(text for task in tasks for text in task.remarks)


def execute(
    plan: Plan,
    out: Path,
    progress: Progress,
    resume: Path | None = None,
    execution: ExecutionOptions | None = None,
) -> Finished:
    """Run every open cell, append each row as it comes, and write the tables. Raises StoreError."""
    from unet_bench.store.log import Store
    from unet_bench.store.tables import write_tables

    execution = within_budget(plan.suite, execution or ExecutionOptions())
    with Store.open(resume) if resume else Store.create(out, manifest(plan, execution)) as store:
        try:
            ledger = RunLedger(plan, store, execution)
            left = tuple(run_cells(plan, ledger, progress, execution))
            write_tables(store)
        except BaseException:
            # The first error says more: what is kept, how to go on.
            with contextlib.suppress(StoreError):
                write_tables(store)
            raise
        return Finished(store.path, ledger.statuses(), left, ledger.refused())


def within_budget(suite: Suite, execution: ExecutionOptions) -> ExecutionOptions:
    """Return how cells are run by a suite: no longer than its budget of time."""
    if not suite.time_budget:
        return execution
    limit_s = min(execution.time_limit_s, parse_budget(suite.time_budget))
    return replace(execution, time_limit_s=limit_s)


def suite_of_run(path: Path) -> Suite:
    """Return the suite that a run began with. Raises StoreError."""
    from unet_bench.store.log import read_manifest

    stored = read_manifest(path).get("suite")
    if stored is None:
        raise StoreError(f"{path}: its run.json holds no suite; start a new run")
    if "window" not in stored:  # a run of an older version, whose presets left these open
        from torch import get_num_threads

        threads = stored.get("threads") or [get_num_threads()]
        stored = {**stored, "window": AS_SCORED, "eval_images": 0, "threads": threads}
    with named(f"{path}: its run.json"):
        return from_dict(stored)


def executor_of_run(path: Path) -> Mapping[str, Any]:
    """Return name, devices and options of the executor that a run began with. Raises StoreError."""
    from unet_bench.store.log import read_manifest

    found: Mapping[str, Any] = read_manifest(path).get("executor", {})
    return {name: value for name, value in found.items() if value is not None}


def recipe_of_run(path: Path) -> Recipe | None:
    """Return the recipe that a run began with; None if its version did not note it.

    Raises StoreError.
    """
    from unet_bench.store.log import read_manifest

    stored = read_manifest(path).get("recipe")
    if stored is None:
        return None
    if "looks" in stored:  # what runs made before called evaluations
        stored = {**stored, "evaluations": stored["looks"]}
        del stored["looks"]
    with named(f"{path}: its run.json"):
        return from_recipe(stored, Recipe())
