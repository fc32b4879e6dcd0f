"""What the end of a worker says of its cell, where it wrote no row."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

from unet_bench.errors import StoreError
from unet_bench.execute.jobs import DISK_FULL, Job, Result
from unet_bench.execute.logs import last_line
from unet_bench.execute.processes import Exit
from unet_bench.store.log import resume_command


def verdict(job: Job, end: Exit, *, ended_by: str, oom_kills_before: int) -> Result:
    """Return the status of a worker that wrote no row, and why.

    `ended_by` is why we ended it, if we did; `oom_kills_before` is what `oom_kills` was when it
    began. Raises StoreError where its disk is full.
    """
    if ended_by:
        return {"status": "timeout", "error": ended_by}
    if end.code is None:
        return {"status": "killed", "error": end.reason}
    if end.code == DISK_FULL:
        raise StoreError(
            f"a worker could not write into {job.folder} or the temporary folder: no space left; "
            f"free some; what was finished is kept: `{resume_command(Path(job.folder))}`"
        )
    line = last_line(job.log)
    tail = f": {line}" if line else ""
    if end.code >= 0:
        error = f"the worker ended with code {end.code} and left no row{tail}"
        return {"status": "error", "error": error}
    name = signal_name(-end.code)
    if name == "SIGKILL" and oom_kills() > oom_kills_before:
        error = f"the system ran out of memory and ended the worker by {name}{tail}"
        return {"status": "oom", "error": error}
    return {"status": "killed", "error": f"the worker was ended by {name}{tail}"}


def signal_name(number: int) -> str:
    """Return a signal's name, as `kill -l` has it; most real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def oom_kills() -> int:
    """Return how many processes this host's kernel has ended for want of memory, if it says so."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
