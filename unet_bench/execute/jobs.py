"""The contract between the driver of a run and an executor: jobs go in, events come back.

The driver gives `Executor.run` jobs, which are plain data. For each the executor yields `Started`
when it begins and `Ended` with its result; a result is the status and the columns of a row. What
runs a job is a worker process, `python -m unet_bench.execute.worker` with the job as JSON on stdin,
which writes its row into the run's `inbox/`: `Job.read_result`. Whatever ends a worker without a
row is for the executor to put into words, as `{"status": "killed", "error": …}`.

An executor that sends jobs to other hosts need not do so by itself: `local.Local` runs a job there
and knows of locks, devices, deadlines and every way to end, and `remote` carries files between
hosts that share none. The driver appends a row to `cells.jsonl` and only then removes it from the
inbox, so a row that was finished when everything was killed is found by the next `--resume`.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, Self

from unet_bench.host.files import atomic_write
from unet_bench.store.run_folder import RunFolder
from unet_bench.store.schema import fault

DISK_FULL: Final = 74  # a worker's exit code, where it could not write: EX_IOERR of sysexits.h

Result = dict[str, Any]  # status and columns of a cell


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell to measure. Paths are of the host that the worker is on."""

    stem: str  # names the cell's files
    folder: str  # the run's
    begun_in: str = ""  # the folder that the run was begun in, where modules of --model may be
    cell: dict[str, Any]
    key: str
    data: str | None = None  # the task's images and masks
    block: tuple[str, ...] = ()  # plugins that are left out
    modules: tuple[str, ...] = ("torch",)  # what the process that forks workers imports beforehand
    sources: Mapping[str, str] = field(default_factory=dict)  # hashes of what the cell depends on
    timed: bool = False  # needs its device, and the host's timing, to itself
    fresh: bool = False  # wants an interpreter of its own, not a fork
    keep_weights: bool = False
    remote: bool = False  # on another machine than planned it: what is there has to be looked at
    timeout_s: float = 3600.0
    memory_mib: float = 0.0  # of the host, as foreseen: for who runs several side by side
    environ: Mapping[str, str] = field(default_factory=dict)  # set before a device is touched

    @property
    def device(self) -> str:
        """The device, as the cell's setting names it."""
        return str(self.cell["setting"]["device"])

    @property
    def threads(self) -> int:
        """How many threads the cell's operators use on a processor."""
        return int(self.cell["setting"]["threads"])

    @property
    def run_folder(self) -> RunFolder:
        """The folder that the job reads and writes in."""
        return RunFolder(Path(self.folder))

    @property
    def log(self) -> Path:
        """The file for what the worker prints."""
        return self.run_folder.log_of(self.stem)

    @property
    def log_name(self) -> str | None:
        """The log by its path in the run's folder, as rows have it; None where there is none."""
        return self.log.relative_to(self.folder).as_posix() if self.log.exists() else None

    @property
    def samples(self) -> Path:
        """Where the probe writes raw values."""
        return self.run_folder.samples_of(self.stem)

    @property
    def checkpoint(self) -> Path:
        """The folder of a training's state."""
        return self.run_folder.checkpoint_of(self.stem)

    @property
    def weights(self) -> Path | None:
        """Where a trained network is kept, if it is."""
        return self.run_folder.weights_of(self.stem) if self.keep_weights else None

    def at(self, **changes: Any) -> Job:
        """Return the same job with some fields replaced."""
        return replace(self, **changes)

    def to_json(self) -> str:
        """Return the job as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the job that `to_json` made the line of."""
        data: dict[str, Any] = json.loads(text)
        data |= {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        return cls(**data)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write the row whole or not at all; NaN and infinity become null. Raises OSError."""
        plain = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in result.items()
        }
        self.run_folder.inbox.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.run_folder.result_of(self.stem)) as draft:
            draft.write_text(json.dumps({"key": self.key, "result": plain}), encoding="utf-8")

    def read_result(self) -> Result | None:
        """Return the row written for this very cell, protocol and software; None without one."""
        try:
            text = self.run_folder.result_of(self.stem).read_text(encoding="utf-8")
            found = json.loads(text)
            result: Result = found["result"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        is_row = isinstance(result, dict) and isinstance(result.get("status"), str)
        return result if is_row and found.get("key") == self.key and not fault(result) else None

    def remove_result(self) -> None:
        """Remove the row, now that it is stored, or is not wanted."""
        remove_result(self.run_folder, self.stem)


def remove_result(folder: RunFolder, stem: str) -> None:
    """Remove the row that a worker wrote of a cell, if there is one."""
    with suppress(OSError):
        folder.result_of(stem).unlink(missing_ok=True)


def stems_in_inbox(folder: RunFolder) -> set[str]:
    """Return the stems of all cells of which a worker wrote a row."""
    return {file.stem for file in folder.inbox.glob("*.json")}


def now() -> str:
    """Return this moment, ISO 8601, UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Started:
    """A job has begun."""

    job: Job


@dataclass(frozen=True)
class Waiting:
    """Nothing can begin now, and why."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """A job is over, well or not."""

    job: Job
    result: Result


Event = Started | Waiting | Ended


class Executor(Protocol):
    """Runs jobs somewhere. A context manager: afterwards none of its processes is on this host.

    `remote`: not on the driver's host. `ending_s`: how long it may take to end what runs.
    A plugin registers a factory of it, which is given `devices`, as `--devices` names them, and
    `options`, the names and values of `--executor-option`. It raises InvalidSuite for what it does
    not understand, with the remedy. It may have `starting(block, modules)`, a context in which a
    run is planned and executed: time to begin what imports these modules, without these plugins.
    """

    remote: bool
    ending_s: float

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def device(self, wanted: str) -> str:
        """Return the device that cells state, for what a suite asks.

        A suite asks for `auto`, `cpu`, `cuda`, … Raises InvalidSuite.
        """

    def at_once(self, device: str, threads: int) -> int:
        """Return how many jobs of so many threads run side by side; 1 where that is not known."""

    def run(self, jobs: Sequence[Job], until: float = math.inf) -> Iterator[Event]:
        """Run the jobs, in about this order; yield each once, as it ends.

        At `until`, of the monotonic clock, what still runs is ended and the rest is not begun:
        these jobs do not come back.
        """
