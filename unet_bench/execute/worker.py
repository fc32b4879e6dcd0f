"""The child: one cell in a process of its own. Reads a job as JSON, writes its row as JSON."""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_bench.errors import (
    InvalidSize,
    NonFinite,
    PluginFailure,
    Unsupported,
    bytes_asked,
    is_disk_full,
    is_out_of_memory,
)
from unet_bench.execute.jobs import DISK_FULL, Job, now
from unet_bench.execute.logs import without_secrets
from unet_bench.host.files import atomic_write
from unet_bench.registry.plugins import source_hash

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext
    from unet_bench.measure.probe import Probe
    from unet_bench.registry.plugins import Loaded
    from unet_bench.spec.cell import Cell


def main(job: Job) -> None:
    """Measure one cell and write its row; exit with DISK_FULL, which is no fault of the cell's."""
    try:
        result = outcome(job)
        job.write_result(result)
    except Exception as error:
        if is_disk_full(error):
            traceback.print_exc()
            sys.exit(DISK_FULL)
        raise


def outcome(job: Job) -> dict[str, Any]:
    """Return the row; whatever goes wrong becomes a status.

    The traceback goes to stderr, which is the log.
    """
    begun, started = time.perf_counter(), now()
    with suppress(OSError):  # another host may not have it
        os.chdir(job.begun_in)
    os.environ.update(job.environ)  # shows the device that it is to have, before it touches one
    try:
        if job.remote:
            check_sources(job.sources)
        result = run_probe(job)
    except BaseException as error:
        if is_disk_full(error):
            raise
        traceback.print_exc()
        result = failure_columns(error)
    try:
        result |= (
            environment_columns(job) if job.remote else {"device_name": own_device_name(job.device)}
        )
    except Exception as error:  # a row that does not say where it was measured is better than none
        if is_disk_full(error):
            raise
        traceback.print_exc()
    record = {
        "started": started,
        "wall_s": time.perf_counter() - begun,
        "host": socket.gethostname(),
    }
    return result | record


def check_sources(sources: Mapping[str, str]) -> None:
    """Raise PluginFailure where this machine's source is not what the run was planned with."""
    from unet_bench.models.foreign import importing_from_here

    for module, wanted in sources.items():
        found = source_hash(module)
        if not found:
            with importing_from_here():  # the module of --model
                found = source_hash(module)
        if found != wanted:
            here = f"is of another version ({found}, not {wanted})" if found else "is not installed"
            raise PluginFailure(
                f"{module} {here} on {socket.gethostname()}: install the driver's version there"
            )


def environment_columns(job: Job) -> dict[str, Any]:
    """Return where a cell ran, as its row's columns.

    All the facts go into the run's folder, once for each environment.
    """
    from unet_bench.host.environment import environment

    facts = environment(own_gpus(job.device))
    file = job.run_folder.environment(facts["env_id"])
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        with atomic_write(file) as draft:
            draft.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return {
        "env_id": facts["env_id"],
        "device_name": own_device_name(job.device),
        "torch": facts["packages"]["torch"],
        "commit": facts["commit"],
    }


def own_device_name(device: str) -> str:
    """Return the model of this process's device.

    Unlike devices may have the same name in one run.
    """
    from unet_bench.host.device import indexed, is_accelerator, name_of
    from unet_bench.host.environment import cpu_model

    return name_of(indexed(device)) if is_accelerator(indexed(device)) else cpu_model()


def own_gpus(device: str) -> list[str]:
    """Return the models of the accelerators that torch sees here.

    None is started for a cell on the processor.
    """
    import torch

    from unet_bench.host.device import indexed, is_accelerator, names_of_all
    from unet_bench.host.nvml import gpu_names

    if is_accelerator(indexed(device)):
        return names_of_all(indexed(device).type)
    return gpu_names() if torch.cuda.device_count() else []


@functools.cache
def plugins_of(block: tuple[str, ...]) -> Loaded:
    """Load all plugins but these.

    The process that forks workers has loaded them for all of them.
    """
    from unet_bench.registry.plugins import load

    return load(block)


def run_probe(job: Job) -> dict[str, Any]:
    """Return the columns that the cell's probe measured, with its status."""
    from unet_bench.context import MeasurementContext, prepare_process
    from unet_bench.spec.cell import Cell

    cell = Cell.from_json(job.cell)
    registry = plugins_of(job.block).checked()
    entry, probe = registry.find("probe", cell.probe), registry.probe(cell.probe)
    prepare_process(cell, probe)
    data = Path(job.data) if job.data else None
    context = MeasurementContext(
        cell,
        registry,
        data,
        job.samples,
        job.checkpoint,
        job.weights,
        job.run_folder.weights,
        key=job.key,
    )
    measured, cell = measure_shrinking(entry.load(), context)
    check_columns(probe, measured)
    quality = measured.pop("quality", None) or "clean"
    return {"status": "ok", "quality": quality, "batch_effective": cell.setting.batch, **measured}


def check_columns(probe: Probe, measured: Mapping[str, Any]) -> None:
    """Raise TypeError for columns that tables cannot hold, or that are not this probe's.

    A plugin's probe may also fill our columns, such as those that say how quiet the machine was. A
    probe that declares no columns may bring any, without a type or unit.
    """
    from unet_bench.store.schema import BY_NAME, NOT_MEASURED, PER_CLASS, PROBE_COLUMNS, fault

    own = {column.name: column for column in probe.columns}
    ours = PROBE_COLUMNS.get(probe.name)
    if reserved := measured.keys() & NOT_MEASURED:
        names = ", ".join(sorted(reserved))
        raise TypeError(f"probe {probe.name} returned {names}: a probe cannot set these columns")
    known = {"quality", "evidence", PER_CLASS, *own, *(ours or BY_NAME)}
    if (own or ours) and (unknown := measured.keys() - known):
        names = ", ".join(sorted(unknown))
        raise TypeError(f"probe {probe.name} returned columns that it does not declare: {names}")
    if wrong := fault(measured, {**BY_NAME, **own}):
        raise TypeError(f"probe {probe.name} returned what results do not hold: {wrong}")


def measure_shrinking(
    probe: Callable[[MeasurementContext], Mapping[str, Any]], context: MeasurementContext
) -> tuple[dict[str, Any], Cell]:
    """Return what the probe measured, and the cell that it measured.

    The cell has a smaller batch if memory runs out and the protocol allows it.
    """
    while True:
        try:
            return dict(probe(context)), context.cell
        except BaseException as error:
            batch = context.cell.setting.batch
            if status_of(error) != "oom" or not context.cell.protocol.shrink_batch or batch == 1:
                raise
        # Outside of the handler, which holds on to the memory.
        context = context.with_batch(batch // 2)


def failure_columns(error: BaseException) -> dict[str, Any]:
    """Return the row of a cell that raised."""
    asked = bytes_asked(error)
    return {
        "status": status_of(error),
        "error": error_text(error),
        "oom_asked_mib": None if asked is None else asked / 2**20,
    }


def status_of(error: BaseException) -> str:
    """Return the status that an exception stands for."""
    if isinstance(error, (Unsupported, InvalidSize)):
        return "unsupported"
    if isinstance(error, NonFinite):
        return "nonfinite"
    if "does not have a deterministic implementation" in str(error):
        return "unsupported"
    return "oom" if is_out_of_memory(error) else "error"


def error_text(error: BaseException) -> str:
    """Return an exception's type and first line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return without_secrets(f"{type(error).__name__}: {first}")[:500]


if __name__ == "__main__":
    if sys.platform == "linux":
        from unet_bench.execute.signals import die_with_parent

        die_with_parent()
    main(Job.from_json(sys.stdin.read()))
