"""Who runs tasks: Slurm's queue, or submitit's stand-in for it on this host."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

ASK_S: Final = 60.0  # that a command of Slurm's may take
MOST_REQUEUES: Final = 10  # of a task whose time is over
# States that a task does not come back from. It does from others that sound like it: REQUEUED,
# COMPLETING, STOPPED.
OVER: Final = (
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"),
    *("PREEMPTED", "DEADLINE", "BOOT_FAIL", "REVOKED"),
)


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
    polls_over: int = 0  # in a row that found it over

    def look(self, seen: Seen | None) -> None:
        """Note what the queue shows of it now; None is nothing."""
        if seen and seen.state not in OVER:
            self.polls_over = 0
        else:
            self.polls_over += 1
        self.seen = seen or Seen(self.seen.id, self.seen.state)


class QueueSilent(Exception):
    """The queue did not answer; it may do so later."""


class QueueRefuses(Exception):
    """The queue does not take a submission, and says why."""


class Queue(ABC):
    """Who runs tasks: submitit hands them over, in the words of its `parameters`."""

    at_once = False  # whether all tasks run at once, whatever is asked for

    def __init__(self, cluster: str, parameters: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.parameters = parameters

    def submit(self, name: str, calls: Sequence[Callable[[], None]], folder: Path) -> list[str]:
        """Submit the calls as one array; return the ids of its tasks. Raises QueueRefuses.

        `folder` is for what submitit writes, and for what the tasks print.
        """
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.helpers import clean_env, environment_variables

        logging.getLogger("submitit").setLevel(logging.CRITICAL)
        told = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
        told["PYTHONSAFEPATH"] = "1"  # submitit runs `python -m`, beside files of any name
        refusals = (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError, OSError)
        try:
            executor = submitit.AutoExecutor(
                folder, cluster=self.cluster, slurm_max_num_timeout=MOST_REQUEUES
            )
            executor.update_parameters(name=name, **self.parameters)
            # A driver that is itself a job of Slurm's has variables that its children must not
            # have.
            with clean_env(), environment_variables(**told):
                return [str(job.job_id) for job in executor.submit_array(calls)]
        except refusals as error:
            raise QueueRefuses(last_line_of(str(error))) from error

    @abstractmethod
    def seen(self, names: Iterable[str]) -> dict[tuple[str, int], Seen]:
        """Return the tasks of these submissions, by name and index.

        Raises QueueSilent where nobody could say.
        """

    @abstractmethod
    def cancel(self, tasks: Sequence[Task]) -> None:
        """End these tasks. Raises QueueSilent."""


class SlurmQueue(Queue):
    """The real one. Asks squeue, as sacct needs a data base that many clusters lack."""

    def seen(self, names: Iterable[str]) -> dict[tuple[str, int], Seen]:
        """See `Queue`. Slurm shows tasks for some minutes after their end."""
        options = ("--noheader", "--array", "--states=all", "--format=%j|%i|%T|%r")
        return parse_queue(ask("squeue", *options, f"--name={','.join(names)}"))

    def cancel(self, tasks: Sequence[Task]) -> None:
        """See `Queue`."""
        ask("scancel", *(task.seen.id for task in tasks))


class LocalQueue(Queue):
    """Submitit's local executor: this host alone, for trials. Each task is a process tree."""

    at_once = True

    def seen(self, names: Iterable[str]) -> dict[tuple[str, int], Seen]:
        """See `Queue`."""
        import psutil

        wanted, found = set(names), {}
        for process in psutil.process_iter(["cmdline", "status"]):
            command = process.info["cmdline"] or [""]
            name = Path(command[-1]).name
            is_task = name in wanted and "submitit.local._local" in command
            if is_task and process.info["status"] != "zombie":
                found[name, 0] = Seen(str(process.pid), "RUNNING")
        return found

    def cancel(self, tasks: Sequence[Task]) -> None:
        """See `Queue`."""
        for task in tasks:
            with suppress(ProcessLookupError):
                os.kill(int(task.seen.id), signal.SIGINT)


def ask(*command: str) -> str:
    """Return what a command of Slurm's answers. Raises QueueSilent."""
    try:
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=ASK_S
        ).stdout
    except subprocess.CalledProcessError as error:
        raise QueueSilent(f"{command[0]} fails: {last_line_of(error.stderr)}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QueueSilent(f"{command[0]} fails: {error}") from error


def parse_queue(text: str) -> dict[tuple[str, int], Seen]:
    """Return the tasks in lines such as `NAME|12_3|PENDING|Resources`.

    A job that is no array's, `12`, counts as task 0.
    """
    found = {}
    for line in text.splitlines():
        name, id, state, reason = line.split("|", 3)
        found[name, int(id.partition("_")[2] or 0)] = Seen(id, state, reason)
    return found


def last_line_of(text: str) -> str:
    """Return the last line, where a command says what is wrong."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
