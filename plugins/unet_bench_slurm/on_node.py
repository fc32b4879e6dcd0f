"""What runs on a node: a share of the jobs, one after the other, by `Local`."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unet_bench.execute.jobs import Ended, Job, Result, Started, Waiting, now
from unet_bench.execute.local import Local
from unet_bench.execute.signals import Terminated, terminable

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

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
        jobs = []
        for job in map(Job.from_json, self.jobs):
            if job.stem in done:
                continue
            if (row := job.read_result()) is None:
                jobs.append(job)
            else:  # of a worker that ended just when this task was ended the last time
                self._finish(job, {"place": None, **row})
        started: dict[str, str] = {}
        with Local() as local:
            for event in local.run(jobs):
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
        job.write_result(result)

    def checkpoint(self) -> DelayedSubmission:
        """Return what submitit calls when the task begins anew.

        The task was preempted, or its time was over.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def read_done(path: Path) -> set[str]:
    """Return the stems of what a task has finished."""
    with suppress(FileNotFoundError):
        return set(path.read_text(encoding="utf-8").split())
    return set()


def is_final(row: Result) -> bool:
    """Return whether a task wrote this row.

    A worker's own row, which the task is about to replace, says nothing of its place.
    """
    return "place" in row
