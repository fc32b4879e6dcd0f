"""READ FIRST. A run, as the line of steps it is; each step takes a value and returns the next.

    suite ─▶ registry ─▶ variants, tasks ─▶ [Planned cell] ─▶ rows in a store ─▶ tables

`plan` stops before the store; `run` goes on to the end.
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from unet_bench import plugins
from unet_bench.cells import Task, digest
from unet_bench.choices import SLOTS
from unet_bench.errors import InvalidSuite, UnetBenchError
from unet_bench.suite import Suite, from_dict, from_options

if TYPE_CHECKING:
    import pandas as pd

    from unet_bench.plan import LoadedTask, Planned
    from unet_bench.registry import Registry
    from unet_bench.results.store import Store

KEPT = ("ok", "oom", "unsupported")  # statuses that a resumed run does not try again


class Progress(Protocol):
    """What a run tells whoever watches it."""

    def begin(self, planned: list[Planned], path: Path) -> None:
        """The run starts: these cells, into this folder."""

    def cell(self, planned: Planned, seconds_left: float) -> None:
        """A cell starts; the whole run will end in about so many seconds."""

    def done(self, planned: Planned, row: dict[str, Any]) -> None:
        """A cell ended with this row."""


class Quiet:
    """Watches and says nothing."""

    def begin(self, planned: list[Planned], path: Path) -> None:
        """Nothing."""

    def cell(self, planned: Planned, seconds_left: float) -> None:
        """Nothing."""

    def done(self, planned: Planned, row: dict[str, Any]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Plan:
    """What a suite comes to on this machine: everything that a run needs, and nothing run yet."""

    suite: Suite
    loaded: plugins.Loaded
    planned: list[Planned]
    data: dict[str, Path | None]
    environment: dict[str, Any]

    @property
    def code(self) -> str:
        """Hash of the software that results depend on: our source, every plugin's, torch's version, the device."""
        sources = {p.module: plugins.source_hash(p.module) for p in self.loaded.plugins if p.status == "ok"}
        return digest([sources, plugins.source_hash("unet_bench"), self.environment["env_id"]])


def run(
    variants: str | Iterable[str] = "all",
    *,
    out: str | Path = "results",
    progress: Progress | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Measure variants and return the results table; the run's folder is in `.attrs["path"]`.

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
def plan(suite: Suite) -> Iterator[Plan]:
    """Everything up to the first measurement. The data lie in a temporary folder while the context is open."""
    loaded = plugins.load(suite.block)
    registry = loaded.checked()

    from unet_bench.environment import environment  # these import torch: what can be refused has been refused
    from unet_bench.plan import choose_device, choose_variants, make_plan

    on_gpu = choose_device(suite.device) != "cpu"
    suite = suite.resolved(on_gpu)
    check_probes(suite, registry)
    variants = choose_variants(suite, registry)
    with tempfile.TemporaryDirectory(prefix="unet-bench-") as folder:
        tasks = read_tasks(suite, registry, Path(folder))
        planned = make_plan(suite, registry, variants, tasks)
        data = {digest(task.task.__dict__): task.data for task in tasks}
        yield Plan(suite, loaded, planned, data, environment())


def check_probes(suite: Suite, registry: Registry) -> None:
    """Raises UnknownName for a probe that nobody registered."""
    for probe in suite.probes:
        registry.find("probe", probe)


def read_tasks(suite: Suite, registry: Registry, folder: Path) -> list[LoadedTask]:
    """Read and check every data set, at every scored size, into files that workers read. Raises InvalidData."""
    from unet_bench.data.dataset import fit
    from unet_bench.plan import LoadedTask

    tasks = []
    for name in suite.data:
        for size in suite.sizes():
            dataset = fit(read_dataset(suite, registry, name, size), size, suite.fit)  # type: ignore[arg-type]
            task = Task(
                name=dataset.name,
                dataset_hash=dataset.hash,
                classes=dataset.classes,
                in_channels=dataset.channels,
                scored=size,
                fit=suite.fit,
            )
            path = folder / f"{digest(task.__dict__)}.npz"
            dataset.save(path)
            tasks.append(LoadedTask(task, path))
    return tasks


def read_dataset(suite: Suite, registry: Registry, name: str, size: tuple[int, int]) -> Any:
    """A data set by registered name, or a folder by path. Raises UnknownName, InvalidData."""
    from unet_bench.data.folder import read_folder

    known = {entry.name for entry in registry.entries("dataset")}
    if name not in known and (Path(name).exists() or any(mark in name for mark in "/\\~.")):
        classes = int(suite.classes[0]) if len(suite.classes) == 1 and suite.classes[0].isdigit() else suite.classes
        return read_folder(Path(name).expanduser(), classes=classes or None)
    entry = registry.find("dataset", name)
    if suite.classes:
        raise InvalidSuite(f"--classes belongs to a folder of images; data set {name!r} knows its own")
    return entry.load()(size=size, seed=0)


def execute(made: Plan, out: Path, progress: Progress, resume: Path | None = None) -> tuple[Path, set[str]]:
    """Run every open cell, append each row as it comes, and write the tables.

    Returns the run's folder and the statuses that its cells ended with. Raises StoreError.
    """
    from unet_bench.results.store import Store, latest
    from unet_bench.results.tables import write_tables

    with Store.open(resume) if resume else Store.create(out, manifest(made)) as store:
        try:
            measure(made, store, progress)
        finally:
            write_tables(store)
        return store.path, {row["status"] for row in latest(store.rows()).values()}


def measure(made: Plan, store: Store, progress: Progress) -> None:
    """Every cell that has no result yet, one after the other, into the store."""
    from unet_bench.execute.runner import Runner
    from unet_bench.results.store import latest

    before = latest(store.rows())
    code = made.code
    open_cells = [p for p in made.planned if not is_kept(before, p, p.cell.key(code))]
    progress.begin(open_cells, store.path)
    left = sum(p.seconds for p in open_cells)
    with Runner(preload(made)) as runner:
        for planned in open_cells:
            progress.cell(planned, left)
            left -= planned.seconds
            key = planned.cell.key(code)
            attempt = int(before.get(row_id(planned, planned.names[0]), {}).get("attempt") or 0) + 1
            shared = {"started": now(), "attempt": attempt, "key": key, **outcome(made, store, runner, planned)}
            for name in planned.names:
                row = {**describe(made, planned, name), **shared}
                store.append(row)
            progress.done(planned, row)


def is_kept(before: dict[str, dict[str, Any]], planned: Planned, key: str) -> bool:
    """Whether the store already holds this cell, for all its names, measured by this very software."""
    rows = [before.get(row_id(planned, name)) for name in planned.names]
    return all(row is not None and row["status"] in KEPT and row.get("key") == key for row in rows)


def row_id(planned: Planned, name: str) -> str:
    """A cell's id for one of its variants: the first one's is the cell's own."""
    return planned.cell.id if name == planned.names[0] else f"{planned.cell.id}-{digest(name)[:6]}"


def outcome(made: Plan, store: Store, runner: Any, planned: Planned) -> dict[str, Any]:
    """Status and columns of a cell: decided by the plan, or measured by a worker."""
    if planned.status:
        return {"status": planned.status, "error": planned.reason, "wall_s": 0.0}
    cell = planned.cell
    stem = f"{cell.probe}-{cell.id}"
    log = store.path / "logs" / f"{stem}.log"
    job = {
        "cell": cell.to_json(),
        "block": list(made.suite.block),
        "data": str(made.data[digest(cell.task.__dict__)]),
        "samples": str(store.path / "samples" / f"{stem}.json"),
        "log": str(log),
        "result": str(store.path / f".{stem}.json"),
    }
    result: dict[str, Any] = runner.run(job, made.suite.timeout_s)
    if log.exists() and not log.stat().st_size:
        log.unlink()
    return result | {"log": f"logs/{log.name}" if log.exists() else None}


def preload(made: Plan) -> list[str]:
    """What the fork server imports once, so that no worker has to: torch, and timm where an encoder needs it."""
    modules = ["torch", *(f"unet_bench.measure.{probe}" for probe in ("cost", "speed", "memory", "accuracy"))]
    timm = any(p.cell.variant.choices.encoder.startswith("timm:") for p in made.planned)
    return modules + ["timm"] * timm


def describe(made: Plan, planned: Planned, name: str) -> dict[str, Any]:
    """The columns that say what a row is about."""
    from unet_bench.environment import device_name

    cell, registry = planned.cell, made.loaded.registry
    variant, task, setting = cell.variant, cell.task, cell.setting
    choices: dict[str, str | None] = dict(variant.choices.text())
    if variant.architecture:
        choices = dict.fromkeys(choices)
        choices["width_scale"] = variant.choices.text()["width_scale"]
    providers = (
        {variant.provider}
        if variant.architecture
        else {registry.find(slot, getattr(variant.choices, slot)).provider.plugin for slot in SLOTS}
    )
    return {
        "cell_id": row_id(planned, name),
        "variant": name,
        "same_as": planned.names[0] if name != planned.names[0] else None,
        "probe": cell.probe,
        "seed": cell.seed,
        "replicate": cell.replicate,
        **typed(choices),
        "architecture": variant.architecture or None,
        "architecture_args": ",".join(f"{k}={v}" for k, v in variant.args) or None,
        "inactive": None if variant.architecture else ",".join(planned.inactive) or None,
        "plugins": ",".join(sorted(providers)),
        "task": task.name,
        "dataset_hash": task.dataset_hash,
        "device": setting.device,
        "device_name": device_name(setting.device),
        "precision": setting.precision,
        "memory_format": setting.memory_format,
        "mode": setting.mode,
        "threads": setting.threads,
        "batch_requested": setting.batch,
        "height": cell.frame.input[0],
        "width": cell.frame.input[1],
        "output_height": cell.frame.output[0],
        "output_width": cell.frame.output[1],
        "scored_height": task.scored[0],
        "scored_width": task.scored[1],
        "in_channels": task.in_channels,
        "classes": len(task.classes),
        "fit": task.fit,
        "pretrained": "none",
        "recipe": cell.protocol.recipe,
        "env_id": made.environment["env_id"],
        "torch": made.environment["packages"]["torch"],
        "commit": commit(),
        "baseline": made.suite.baseline,
    }


def typed(text: Mapping[str, str | None]) -> dict[str, Any]:
    """Choices with numbers as numbers; lists stay text."""
    from unet_bench.choices import parse_value

    plain = {name: None if value is None else parse_value(name, value) for name, value in text.items()}
    return {name: text[name] if isinstance(value, tuple) else value for name, value in plain.items()}


def commit() -> str | None:
    """The commit of this code, with `+dirty` where it was changed since."""
    from unet_bench.environment import git_state

    state = git_state(Path(__file__).parent)
    return f"{state['commit']}{'+dirty' * bool(state['dirty'])}" if state["commit"] else None


def manifest(made: Plan) -> dict[str, Any]:
    """What run.json holds: enough to know what was run, by what, on what, and to run it again."""
    started = dt.datetime.now(dt.UTC)
    return {
        "run_id": f"{started:%Y%m%d-%H%M%S}-{made.suite.preset}-{digest([time.time_ns(), made.suite.to_dict()])[:4]}",
        "started": started.isoformat(timespec="seconds"),
        "argv": sys.argv,
        "suite": made.suite.to_dict(),
        "preset": made.suite.preset,
        "baseline": made.suite.baseline,
        "environment": made.environment,
        "commit": commit(),
        "plugins": [
            {
                "plugin": p.provider.plugin,
                "distribution": p.provider.distribution,
                "version": p.provider.version,
                "module": p.module,
                "status": p.status,
                "source_hash": plugins.source_hash(p.module) if p.status == "ok" else None,
            }
            for p in made.loaded.plugins
        ],
    }


def resumed(path: Path, probes: Iterable[str] = ()) -> Suite:
    """The suite of a run that is to go on. Raises StoreError."""
    from unet_bench.results.store import read_manifest

    stored = read_manifest(path).get("suite")
    if not isinstance(stored, dict):
        raise UnetBenchError(f"{path}: its run.json holds no suite; start a new run")
    suite = from_dict(stored)
    return replace(suite, probes=tuple(probes)) if probes else suite


def now() -> str:
    """This moment, ISO 8601, UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
