"""A job: a cell on its way to a worker process, as plain data, and the files that it reads and
leaves.

A worker leaves its row in the run's `inbox/` by rename; who runs the suite appends it to
`cells.jsonl` and then removes the file. So a row that was finished when everything was killed is
found there by the next `--resume`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, Self

from unet_bench.store.schema import fault

INBOX: Final = "inbox"
ENVIRONMENTS: Final = "environments"
LOGS: Final = "logs"
SAMPLES: Final = "samples"
CHECKPOINTS: Final = "checkpoints"
WEIGHTS: Final = "weights"

DISK_FULL: Final = 74  # a worker's exit code, where it could not write: EX_IOERR of sysexits.h

Result = dict[str, Any]  # status and columns of a cell


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell to measure. Paths are of the host that the worker is on."""

    stem: str  # names the cell's files
    folder: str  # the run's
    cell: dict[str, Any]
    key: str
    data: str | None = None  # the task's images and masks
    block: tuple[str, ...] = ()  # plugins that are left out
    modules: tuple[str, ...] = ("torch",)  # what the process that forks workers imports beforehand
    sources: Mapping[str, str] = field(
        default_factory=dict
    )  # hashes of the source that the cell depends on
    timed: bool = False  # needs its device, and the host's timing, to itself
    fresh: bool = False  # wants an interpreter of its own, not a fork
    keep_weights: bool = False
    remote: bool = False  # on another machine than planned it: what is there has to be looked at
    timeout_s: float = 3600.0
    environ: Mapping[str, str] = field(
        default_factory=dict
    )  # set in the worker before it touches a device

    @property
    def device(self) -> str:
        """As the cell's setting names it."""
        return str(self.cell["setting"]["device"])

    @property
    def result(self) -> Path:
        """Where the worker leaves its row."""
        return Path(self.folder, INBOX, f"{self.stem}.json")

    @property
    def log(self) -> Path:
        """Where what the worker prints goes."""
        return Path(self.folder, LOGS, f"{self.stem}.log")

    @property
    def samples(self) -> Path:
        """Where the probe leaves raw values."""
        return Path(self.folder, SAMPLES, f"{self.stem}.json")

    @property
    def checkpoint(self) -> Path:
        """The folder of a training's state."""
        return Path(self.folder, CHECKPOINTS, self.stem)

    @property
    def weights(self) -> Path | None:
        """Where a trained network is kept, if it is."""
        return Path(self.folder, WEIGHTS, f"{self.stem}.safetensors") if self.keep_weights else None

    def at(self, **changes: Any) -> Job:
        """The same with some fields replaced."""
        return replace(self, **changes)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        data: dict[str, Any] = json.loads(text)
        data |= {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        return cls(**data)

    def leave(self, result: Mapping[str, Any]) -> None:
        """Write the row whole or not at all; numbers that are none become null."""
        plain = {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in result.items()
        }
        self.result.parent.mkdir(parents=True, exist_ok=True)
        draft = self.result.with_suffix(".tmp")
        draft.write_text(json.dumps({"key": self.key, "result": plain}), encoding="utf-8")
        os.replace(draft, self.result)

    def left(self) -> Result | None:
        """The row that a worker left for this very cell, protocol and software; None if there is
        none.
        """
        try:
            found = json.loads(self.result.read_text(encoding="utf-8"))
            result: Result = found["result"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        ours = (
            found.get("key") == self.key
            and isinstance(result, dict)
            and isinstance(result.get("status"), str)
        )
        return result if ours and not fault(result) else None

    def forget(self) -> None:
        """Remove what a worker left, now that it is stored, or is not wanted."""
        forget(self.folder, self.stem)


def forget(folder: str | Path, stem: str) -> None:
    """Remove what a worker left of a job."""
    with suppress(OSError):
        Path(folder, INBOX, f"{stem}.json").unlink(missing_ok=True)


def left_in(folder: str | Path) -> set[str]:
    """The stems of all jobs whose workers left something."""
    return {file.stem for file in Path(folder, INBOX).glob("*.json")}


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
    """Runs jobs somewhere. A context manager: on leaving it, none of its processes is left on this
    host.

    `elsewhere`: not on the driver's host. `ending_s`: how long it may take to end what runs.
    """

    elsewhere: bool
    ending_s: float

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def device(self, wanted: str) -> str:
        """The device that cells state, for what a suite asks: `auto`, `cpu`, `cuda`, …; raises
        InvalidSuite.
        """

    def run(self, jobs: Sequence[Job], until: float = math.inf) -> Iterator[Event]:
        """Run the jobs, in about this order; every one comes back once, as it ends.

        At `until`, of the monotonic clock, what still runs is ended and the rest not begun: these
        do not come back.
        """
