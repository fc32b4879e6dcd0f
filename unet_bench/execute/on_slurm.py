"""Runs jobs on a Slurm cluster: arrays of tasks, by submitit, each of which runs a share of the
jobs by `Local`.

The run's folder lies where this host and all nodes see it, and files there are the only results. In
`RUN/slurm`, `submissions.json` says which cells are with which task: tasks outlive who submitted
them, and the next driver waits for those that still live. A task may be ended and begun anew at any
moment; it notes in a file what it has finished, since the driver takes rows away as they come. The
upper half of this module runs on nodes, the lower half where the run was started.
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

from unet_bench.errors import InvalidSuite, StoreError
from unet_bench.execute.jobs import INBOX, Ended, Event, Job, Result, Started, Waiting
from unet_bench.execute.local import Local
from unet_bench.execute.logs import last_line, without_secrets
from unet_bench.execute.provenance import now
from unet_bench.execute.signals import Terminated, terminable
from unet_bench.store.log import write_atomic

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

# On a node
# -----------------------------------------------------------------------------------------------------------

SECOND_THOUGHT_S: Final = 2.0
KILL_S: Final = 60.0  # that Slurm may take from SIGTERM to SIGKILL: KillWait, of 30 s


@dataclass(frozen=True)
class Share:
    """What submitit calls in a task: runs those of its jobs that are not done yet."""

    jobs: tuple[str, ...]  # as JSON
    done: str  # a file: stems, one a line

    def __call__(self) -> None:
        # Submitit's handler lets SIGTERM pass, but workers are sent it, too: none that it ended
        # must count as killed.
        with terminable():
            try:
                self._run()
            except Terminated:
                time.sleep(KILL_S)  # whether the task is over or begins anew is for Slurm to say
                raise

    def _run(self) -> None:
        done = read_done(Path(self.done))
        jobs = [job for job in map(Job.from_json, self.jobs) if job.stem not in done]
        left = {job.stem: row for job in jobs if (row := job.left()) is not None}
        started: dict[str, str] = {}
        for job in jobs:
            if job.stem in left:  # by a worker, just when this task was ended the last time
                self._finish(job, {"place": None, **left[job.stem]})
        with Local() as here:
            for event in here.run([job for job in jobs if job.stem not in left]):
                match event:
                    case Waiting(reason):
                        print(reason, flush=True)
                    case Started(job):
                        started[job.stem] = now()
                    case Ended(job, result):
                        if result["status"] == "killed":
                            # Slurm signals workers and us together: if it did, our own signal is
                            # here in a moment, and the job is not done but to be begun anew.
                            time.sleep(SECOND_THOUGHT_S)
                        self._finish(job, {"started": started[job.stem], **result})

    def _finish(self, job: Job, result: Result) -> None:
        # The note first: whoever finds the row may take it away at once.
        with Path(self.done).open("a", encoding="utf-8") as file:
            file.write(f"{job.stem}\n")
        job.leave(result)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit is to call when the task begins anew, after it was preempted or its time
        was over.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def read_done(path: Path) -> set[str]:
    """The stems of what a task has finished."""
    with suppress(FileNotFoundError):
        return set(path.read_text(encoding="utf-8").split())
    return set()


def is_final(row: Result) -> bool:
    """Whether a task left this row; a worker's own, which the task is about to replace, says
    nothing of its place.
    """
    return "place" in row


# Where the run was started
# -------------------------------------------------------------------------------------------

FOLDER: Final = "slurm"
DATA: Final = "data"
SUBMISSIONS: Final = "submissions.json"
MOST_TASKS: Final = 1000  # of an array: Slurm's own limit, unless it is told another
MOST_REQUEUES: Final = 10  # of a task whose time is over
MARGIN_S: Final = 30.0  # of a task's time, beyond what one cell may take
POLLS: Final = (
    2  # in a row that must find a task over: shared file systems may show its last rows late
)
ASK_S: Final = 60.0
# States that a task does not come back from. It does from others that sound like it: REQUEUED,
# COMPLETING, STOPPED.
OVER: Final = (
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"),
    *("PREEMPTED", "DEADLINE", "BOOT_FAIL", "REVOKED"),
)


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    if not 0 < (number := float(text)) < math.inf:
        raise ValueError
    return number


def _yes(text: str) -> bool:
    return {"yes": True, "no": False}[text]


OWN: Final[Mapping[str, Callable[[str], Any]]] = {
    "cluster": str,
    "cells_per_task": _positive,
    "workers": _positive,  # tasks that run at once
    "poll_s": _seconds,
}
# What submitit, or sbatch, is told: how it is called there, and how it is read.
PASSED: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "minutes": ("timeout_min", _positive),
    "mem_gb": ("mem_gb", _seconds),
    "cpus_per_task": ("cpus_per_task", _positive),
    "gpus_per_node": ("gpus_per_node", _positive),
    "partition": ("slurm_partition", str),
    "gres": ("slurm_gres", str),
    "account": ("slurm_account", str),
    "qos": ("slurm_qos", str),
    "constraint": ("slurm_constraint", str),
    "nodelist": ("slurm_nodelist", str),
    "exclude": ("slurm_exclude", str),
    "exclusive": (
        "slurm_exclusive",
        _yes,
    ),  # no other job on the node: timings are the quieter for it
    "setup": (
        "slurm_setup",
        lambda text: [text],
    ),  # a line of shell before Python: module load cuda
}
DEFAULTS: Final[Mapping[str, Any]] = {
    "cluster": "slurm",
    "cells_per_task": 20,
    "workers": 16,
    "poll_s": 10.0,
    "minutes": 120,
}


class Seen(NamedTuple):
    """A task, as the queue shows it."""

    id: str
    state: str
    reason: str = ""  # why it has not begun


NOWHERE: Final = Seen("", "unknown to the queue")


@dataclass
class Task:
    """One task of an array."""

    name: str  # of the submission, for Slurm, and of its folder
    index: int
    cells: dict[str, str]  # which it has not finished, as far as we know: key by stem
    seen: Seen = NOWHERE
    over: int = 0  # polls in a row that found it so


class Queue(Protocol):
    """Who runs tasks."""

    at_once: bool  # all tasks run at once, whatever is asked for

    def seen(self, names: Iterable[str]) -> dict[tuple[str, int], Seen]:
        """The tasks of these submissions, by name and index; raises QueueSilent where nobody could
        say.
        """

    def cancel(self, tasks: Sequence[Task]) -> None:
        """End these tasks."""


class QueueSilent(Exception):
    """The queue did not answer; it may do so later."""


class SlurmQueue:
    """The real one. Asks squeue, as sacct needs a data base that many clusters lack."""

    at_once = False

    def seen(self, names: Iterable[str]) -> dict[tuple[str, int], Seen]:
        """See `Queue`. Slurm shows tasks for some minutes after their end."""
        return parse_queue(
            ask(
                "squeue",
                "--noheader",
                "--array",
                "--states=all",
                f"--name={','.join(names)}",
                "--format=%j|%i|%T|%r",
            )
        )

    def cancel(self, tasks: Sequence[Task]) -> None:
        """See `Queue`."""
        ask("scancel", *(task.seen.id for task in tasks))


class LocalQueue:
    """Submitit's local executor: this host alone, for trials. Each task is a process tree of its
    own.
    """

    at_once = True

    def seen(self, names: Iterable[str]) -> dict[tuple[str, int], Seen]:
        """See `Queue`."""
        import psutil

        wanted, found = set(names), {}
        for process in psutil.process_iter(["cmdline", "status"]):
            command = process.info["cmdline"] or [""]
            name = Path(command[-1]).name
            if (
                name in wanted
                and "submitit.local._local" in command
                and process.info["status"] != "zombie"
            ):
                found[name, 0] = Seen(str(process.pid), "RUNNING")
        return found

    def cancel(self, tasks: Sequence[Task]) -> None:
        """See `Queue`."""
        for task in tasks:
            with suppress(ProcessLookupError):
                os.kill(int(task.seen.id), signal.SIGINT)


def ask(*command: str) -> str:
    """What a command of Slurm's answers. Raises QueueSilent."""
    try:
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=ASK_S
        ).stdout
    except subprocess.CalledProcessError as error:
        raise QueueSilent(f"{command[0]} fails: {_last(error.stderr)}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QueueSilent(f"{command[0]} fails: {error}") from error


def parse_queue(text: str) -> dict[tuple[str, int], Seen]:
    """Lines such as `NAME|12_3|PENDING|Resources`; a job that is no array's, `12`, counts as task
    0.
    """
    found = {}
    for line in text.splitlines():
        name, id, state, reason = line.split("|", 3)
        found[name, int(id.partition("_")[2] or 0)] = Seen(id, state, reason)
    return found


class OnSlurm:
    """A Slurm cluster.

    Tasks need nobody to wait for them. When the time limit is reached, or the driver is ended by a
    signal, they stay in the queue, and `run --resume RUN --executor slurm` collects what they left;
    Ctrl-C cancels them.
    """

    elsewhere = True
    ending_s = 5.0  # tasks stay in the queue

    def __init__(
        self, devices: Sequence[str] = (), options: Mapping[str, str] | None = None
    ) -> None:
        if devices:
            raise InvalidSuite(
                f"executor slurm takes no --devices ({','.join(devices)}), since Slurm gives them out: ask it for some "
                "by --executor-option gres=gpu:1, or gpus_per_node=1"
            )
        self._options = {**DEFAULTS, **read_options(options or {})}
        self._queue: Queue = LocalQueue() if self._options["cluster"] == "local" else SlurmQueue()
        if not (self._queue.at_once or shutil.which("sbatch")):
            raise InvalidSuite(
                "executor slurm finds no sbatch here: run where Slurm's commands are, or try it by --executor-option "
                "cluster=local"
            )
        self._folder: Path | None = None  # the run's
        self._tasks: list[Task] = []  # that live and have cells
        self._told = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        if (
            kind is KeyboardInterrupt and self._tasks
        ):  # not Terminated, which is a KeyboardInterrupt, too
            with suppress(QueueSilent):
                self._look()  # the last ones may have been submitted just now
            self._cancel(self._tasks)
        elif self._folder and not self._tasks:
            shutil.rmtree(self._folder / DATA, ignore_errors=True)

    def device(self, wanted: str) -> str:
        """See `Executor`. What a node has is known there; what was asked for, here."""
        gpus = "gpu" in self._options.get("gres", "") or "gpus_per_node" in self._options
        found = ("cuda" if gpus else "cpu") if wanted == "auto" else wanted
        if found not in ("cpu", "cuda"):
            raise InvalidSuite(
                f"device {wanted!r} cannot be asked of Slurm: give cpu, or cuda with gres=gpu:1"
            )
        return found

    def run(self, jobs: Sequence[Job], until: float = math.inf) -> Iterator[Event]:
        """See `Executor`. At `until` tasks stay in the queue."""
        if not jobs:
            return
        wall_s = 60 * self._options["minutes"]
        if jobs[0].timeout_s > wall_s - MARGIN_S:
            raise InvalidSuite(
                f"a cell may take {jobs[0].timeout_s:g} s, and a task of Slurm has {wall_s} s: one that hangs would "
                f"end its neighbours; give --timeout below {max(1, wall_s - MARGIN_S):g}, or more of option minutes"
            )
        waiting = {job.stem: job for job in jobs}
        self._recall(Path(jobs[0].folder))
        self._cancel_stale(waiting)
        claimed = {stem for task in self._tasks for stem in task.cells}
        self._submit([job for job in jobs if job.stem not in claimed])
        while True:
            yield from self._collect(waiting)
            patience = min(self._options["poll_s"], until - time.monotonic())
            if not waiting or patience <= 0:
                return
            time.sleep(patience)

    def _recall(self, folder: Path) -> None:
        """Find the tasks of the drivers before this one that still live. Raises StoreError."""
        if self._folder:
            return
        self._folder = folder
        try:
            noted = json.loads((folder / FOLDER / SUBMISSIONS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        arrived = self._inbox()
        for name, tasks in noted.items():
            for index, cells in tasks.items():
                done = read_done(self._done(name, int(index)))
                cells = {
                    stem: key
                    for stem, key in cells.items()
                    if stem not in done or f"{stem}.json" in arrived
                }
                self._tasks.append(Task(name, int(index), cells))
        try:
            self._look()
        except QueueSilent as error:
            raise StoreError(
                f"{error}; whether tasks of this run still live cannot be known: try again when Slurm answers"
            ) from error
        self._tasks = [task for task in self._tasks if task.cells and not task.over]

    def _inbox(self) -> set[str]:
        assert self._folder
        try:
            return set(os.listdir(self._folder / INBOX))
        except FileNotFoundError:  # nothing has come yet
            return set()

    def _done(self, name: str, index: int) -> Path:
        assert self._folder
        return self._folder / FOLDER / name / f"{index}.done"

    def _cancel_stale(self, waiting: Mapping[str, Job]) -> None:
        """End tasks that measure a wanted cell by other source than ours: they would replace its
        row by theirs.
        """
        stale = [
            task
            for task in self._tasks
            if any(stem in waiting and waiting[stem].key != key for stem, key in task.cells.items())
        ]
        self._cancel(stale)
        self._tasks = [task for task in self._tasks if task not in stale]

    def _cancel(self, tasks: Sequence[Task]) -> None:
        if known := [task for task in tasks if task.seen.id]:
            with suppress(QueueSilent):  # it also complains of those that are over
                self._queue.cancel(known)

    def _submit(self, jobs: Sequence[Job]) -> None:
        most = self._options["workers"] if self._queue.at_once else MOST_TASKS
        size = max(self._options["cells_per_task"], math.ceil(len(jobs) / most))
        shares = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        for array in (
            [[share] for share in shares] if self._queue.at_once else [shares] if shares else []
        ):
            name = f"unet-bench-{secrets.token_hex(4)}"
            tasks = [
                Task(name, index, {job.stem: job.key for job in share})
                for index, share in enumerate(array)
            ]
            ready = [
                Share(
                    tuple(self._remote(job).to_json() for job in share),
                    str(self._done(name, index)),
                )
                for index, share in enumerate(array)
            ]
            self._tasks += tasks
            self._note()  # first: if this process is killed right now, the next one finds the tasks by their name
            for task, id in zip(tasks, self._send(name, ready), strict=True):
                task.seen = Seen(id, "submitted")

    def _remote(self, job: Job) -> Job:
        """The job as a node is given it: its data lie in the run's folder, and what is there is
        looked at.
        """
        if not job.data:
            return job.at(remote=True)
        assert self._folder
        shared = self._folder / DATA / Path(job.data).name
        if not shared.exists():
            shared.parent.mkdir(exist_ok=True)
            draft = shared.with_suffix(".tmp")
            try:
                shutil.copyfile(job.data, draft)
                os.replace(draft, shared)
            except OSError as error:
                raise StoreError(
                    f"cannot copy the data to {shared} ({error}); free space there"
                ) from error
        return job.at(remote=True, data=str(shared))

    def _note(self) -> None:
        assert self._folder
        noted: dict[str, dict[int, dict[str, str]]] = {}
        for task in self._tasks:
            noted.setdefault(task.name, {})[task.index] = task.cells
        file = self._folder / FOLDER / SUBMISSIONS
        file.parent.mkdir(exist_ok=True)
        write_atomic(file, json.dumps(noted))

    def _send(self, name: str, shares: Sequence[Share]) -> list[str]:
        """Submit the shares as one array; the ids of its tasks. Raises InvalidSuite."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.helpers import clean_env, environment_variables

        logging.getLogger("submitit").setLevel(logging.CRITICAL)
        assert self._folder
        passed = {
            PASSED[option][0]: value for option, value in self._options.items() if option in PASSED
        }
        conf = {"SLURM_CONF": os.environ["SLURM_CONF"]} if "SLURM_CONF" in os.environ else {}
        try:
            executor = submitit.AutoExecutor(
                self._folder / FOLDER / name,
                cluster=self._options["cluster"],
                slurm_max_num_timeout=MOST_REQUEUES,
            )
            executor.update_parameters(
                name=name, slurm_array_parallelism=self._options["workers"], **passed
            )
            # A driver that is a job of Slurm's itself has variables that its children must not
            # have.
            with clean_env(), environment_variables(**conf):
                return [str(job.job_id) for job in executor.submit_array(shares)]
        except (
            FailedJobError,
            FailedSubmissionError,
            subprocess.CalledProcessError,
            OSError,
        ) as error:
            raise InvalidSuite(
                f"sbatch refuses: {_last(str(error))}; change --executor-option, and go on with "
                f"`unet-bench run --resume {self._folder} --executor slurm`"
            ) from error

    def _look(self) -> None:
        """Ask for the tasks' states. Raises QueueSilent."""
        found = self._queue.seen({task.name for task in self._tasks})
        for task in self._tasks:
            seen = found.get((task.name, task.index))
            task.seen = seen or Seen(task.seen.id, task.seen.state)
            task.over = 0 if seen and seen.state not in OVER else task.over + 1

    def _collect(self, waiting: dict[str, Job]) -> Iterator[Event]:
        """What has ended since the last time."""
        silent = ""
        try:
            self._look()  # before the inbox: what a task leaves there it leaves before it ends
        except QueueSilent as error:
            silent = str(error)
        arrived = self._inbox()
        for task in self._tasks:
            over = task.over >= POLLS
            for stem in [
                stem
                for stem in task.cells
                if stem in waiting and (over or f"{stem}.json" in arrived)
            ]:
                job = waiting[stem]
                row = job.left()
                if over:
                    row = row or self._killed(task)
                elif row is None or not is_final(row):
                    continue
                del task.cells[stem], waiting[stem]
                yield Started(job)
                yield Ended(job, row)
        self._tasks = [task for task in self._tasks if task.cells and task.over < POLLS]
        pending = {task.seen.reason for task in self._tasks if task.seen.state == "PENDING"}
        idle = all(task.seen.state == "PENDING" for task in self._tasks)
        reason = silent or (
            f"waiting for Slurm to begin a task: {', '.join(sorted(pending))}" if idle else ""
        )
        if waiting and reason and reason != self._told:
            yield Waiting(reason)
        self._told = reason

    def _killed(self, task: Task) -> Result:
        """The row of a job whose task is over and left none."""
        assert self._folder
        log = self._folder / FOLDER / task.name / f"{task.seen.id}_0_log.err"
        tail = f": {without_secrets(line)}" if (line := last_line(log)) else ""
        return {
            "status": "killed",
            "error": f"task {task.seen.id} of Slurm is over ({task.seen.state}) and left no row{tail}",
            "log": log.relative_to(self._folder).as_posix() if log.exists() else None,
        }


def read_options(given: Mapping[str, str]) -> dict[str, Any]:
    """Options by name, as what they stand for. Raises InvalidSuite."""
    found = {}
    for name, text in given.items():
        if name not in OWN and name not in PASSED:
            raise InvalidSuite(
                f"executor slurm has no option {name!r}; these are: {', '.join([*OWN, *PASSED])}"
            )
        read = OWN[name] if name in OWN else PASSED[name][1]
        try:
            found[name] = read(text)
        except (ValueError, KeyError) as error:
            raise InvalidSuite(
                f"executor option {name}={text} is not valid: {ASKED_FOR[read]}"
            ) from error
    if found.get("cluster", "slurm") not in ("slurm", "local"):
        raise InvalidSuite(
            f"executor option cluster={found['cluster']} is not valid: write slurm or local"
        )
    return found


ASKED_FOR: Final[Mapping[Callable[[str], Any], str]] = {
    _positive: "write a whole number above 0",
    _seconds: "write a number above 0",
    _yes: "write yes or no",
}


def _last(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
