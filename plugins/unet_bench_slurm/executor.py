"""Runs jobs on a Slurm cluster: arrays of tasks, by submitit, each with a share of the jobs.

The run's folder lies where this host and all nodes see it, and files there are the only results. In
`RUN/slurm`, `submissions.json` says which cells are with which task: tasks outlive who submitted
them, and the next driver waits for those that still live. A task may be ended and begun anew at any
moment; it notes in a file what it has finished, since the driver takes rows away as they come.
"""

from __future__ import annotations

import json
import math
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from unet_bench.errors import InvalidSuite, StoreError, command_line
from unet_bench.execute.jobs import Ended, Event, Job, Result, Started, Waiting, stems_in_inbox
from unet_bench.execute.logs import last_line, without_secrets
from unet_bench.host.files import atomic_write
from unet_bench.store.run_folder import RunFolder, write_text
from unet_bench_slurm.on_node import Share, is_final, read_done
from unet_bench_slurm.options import read_options, submitit_parameters
from unet_bench_slurm.queue import (
    LocalQueue,
    Queue,
    QueueRefuses,
    QueueSilent,
    Seen,
    SlurmQueue,
    Task,
)

MOST_TASKS: Final = 1000  # of an array: Slurm's own limit, unless it is told another
MARGIN_S: Final = 30.0  # of a task's time, beyond what one cell may take
# In a row that must find a task over: shared file systems may show its last rows late.
POLLS: Final = 2


class Folder:
    """What of a run's folder is the executor's: `slurm/` and `data/`."""

    def __init__(self, path: Path) -> None:
        self.run = RunFolder(path)
        self.data = path / "data"  # for nodes: the driver's own copy is in its temporary folder
        self.submissions = path / "slurm" / "submissions.json"

    def submission(self, name: str) -> Path:
        """Return the folder of an array: what its tasks print, and what they have done."""
        return self.submissions.parent / name

    def done(self, name: str, index: int) -> Path:
        """Return the file where a task notes what it has finished."""
        return self.submission(name) / f"{index}.done"


class SlurmExecutor:
    """A Slurm cluster.

    Tasks need nobody to wait for them. When the time limit is reached, or the driver is ended by a
    signal, they stay in the queue, and `run --resume RUN --executor slurm` collects their rows;
    Ctrl-C cancels them.
    """

    remote = True
    ending_s = 5.0  # tasks stay in the queue

    def __init__(
        self,
        devices: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        queue: Queue | None = None,
    ) -> None:
        if devices:
            raise InvalidSuite(
                f"executor slurm takes no --devices ({','.join(devices)}), since Slurm gives them "
                "out: ask it for some by --executor-option gres=gpu:1, or gpus_per_node=1"
            )
        self._options = read_options(options or {})
        cluster = self._options["cluster"]
        kind = LocalQueue if cluster == "local" else SlurmQueue
        self._queue = queue or kind(cluster, submitit_parameters(self._options))
        if cluster == "slurm" and not shutil.which("sbatch"):
            raise InvalidSuite(
                "executor slurm finds no sbatch here: run where Slurm's commands are, or try it by "
                "--executor-option cluster=local"
            )
        self._folder: Folder | None = None  # in the run's, once there is one
        self._tasks: list[Task] = []  # that live and have cells
        self._told = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        # Terminated, which is a KeyboardInterrupt, too, leaves tasks in the queue.
        if kind is KeyboardInterrupt and self._tasks:
            with suppress(QueueSilent):
                self._look(self._tasks)  # the last ones may have been submitted just now
            self._cancel(self._tasks)
        elif self._folder and not self._tasks:
            shutil.rmtree(self._folder.data, ignore_errors=True)

    def device(self, wanted: str) -> str:
        """See `Executor`. What a node has is known there; what was asked for, here."""
        gpus = "gpu" in self._options.get("gres", "") or "gpus_per_node" in self._options
        found = ("cuda" if gpus else "cpu") if wanted == "auto" else wanted
        if found not in ("cpu", "cuda"):
            raise InvalidSuite(
                f"device {wanted!r} is not available on Slurm: give cpu, or cuda with gres=gpu:1"
            )
        return found

    def at_once(self, device: str, threads: int) -> int:
        """See `Executor`. The cluster decides."""
        return 1

    def run(self, jobs: Sequence[Job], until: float = math.inf) -> Iterator[Event]:
        """See `Executor`. At `until` tasks stay in the queue."""
        if not jobs:
            return
        self._check_time(jobs[0].timeout_s)
        waiting = {job.stem: job for job in jobs}
        if self._folder is None:
            self._folder = Folder(Path(jobs[0].folder))
            self._tasks = self._living_tasks(self._folder)
        self._cancel_stale(waiting)
        submitted = {stem for task in self._tasks for stem in task.cells}
        self._submit([job for job in jobs if job.stem not in submitted], self._folder)
        while True:
            yield from self._collect(waiting, self._folder)
            seconds = min(self._options["poll_s"], until - time.monotonic())
            if not waiting or seconds <= 0:
                return
            time.sleep(seconds)

    def _check_time(self, timeout_s: float) -> None:
        """Raise InvalidSuite where a cell that hangs would end its task."""
        task_s = 60 * self._options["minutes"]
        if timeout_s > task_s - MARGIN_S:
            raise InvalidSuite(
                f"a cell may take {timeout_s:g} s, and a task of Slurm has {task_s} s: one that "
                "hangs would end its neighbours; give --timeout below "
                f"{max(1, task_s - MARGIN_S):g}, or more of option minutes"
            )

    def _living_tasks(self, folder: Folder) -> list[Task]:
        """Return the tasks of the drivers before this one that still live. Raises StoreError."""
        try:
            noted = json.loads(folder.submissions.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        arrived = stems_in_inbox(folder.run)
        found = []
        for name, tasks in noted.items():
            for index, cells in tasks.items():
                collected = read_done(folder.done(name, int(index))) - arrived
                cells = {stem: key for stem, key in cells.items() if stem not in collected}
                found.append(Task(name, int(index), cells))
        try:
            self._look(found)
        except QueueSilent as error:
            raise StoreError(
                f"{error}; whether tasks of this run still live cannot be known: "
                "try again when Slurm answers"
            ) from error
        return [task for task in found if task.cells and not task.polls_over]

    def _cancel_stale(self, waiting: Mapping[str, Job]) -> None:
        """End tasks that measure a wanted cell by other source than ours.

        They would replace its row by theirs.
        """
        wanted = {(stem, job.key) for stem, job in waiting.items()}
        stale = []
        for task in self._tasks:
            shared = {cell for cell in task.cells.items() if cell[0] in waiting}
            if not shared <= wanted:
                stale.append(task)
        self._cancel(stale)
        self._tasks = [task for task in self._tasks if task not in stale]

    def _cancel(self, tasks: Sequence[Task]) -> None:
        if known := [task for task in tasks if task.seen.id]:
            with suppress(QueueSilent):  # it also complains of those that are over
                self._queue.cancel(known)

    def _submit(self, jobs: Sequence[Job], folder: Folder) -> None:
        """Divide the jobs between tasks and submit these: one array, or one by one."""
        most = self._options["workers"] if self._queue.at_once else MOST_TASKS
        size = max(self._options["cells_per_task"], math.ceil(len(jobs) / most))
        shares = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        if self._queue.at_once:
            for share in shares:
                self._submit_array([share], folder)
        elif shares:
            self._submit_array(shares, folder)

    def _submit_array(self, shares: Sequence[Sequence[Job]], folder: Folder) -> None:
        name = f"unet-bench-{secrets.token_hex(4)}"
        tasks, calls = [], []
        for index, share in enumerate(shares):
            texts = tuple(self._remote(job, folder).to_json() for job in share)
            calls.append(Share(texts, str(folder.done(name, index))))
            tasks.append(Task(name, index, {job.stem: job.key for job in share}))
        self._tasks += tasks
        # First: if this process is killed right now, the next one finds the tasks by their name.
        self._note(folder)
        try:
            ids = self._queue.submit(name, calls, folder.submission(name))
        except QueueRefuses as error:
            raise InvalidSuite(
                f"sbatch refuses: {error}; change --executor-option, and go on with "
                f"`{command_line('run', '--resume', folder.run.path, '--executor', 'slurm')}`"
            ) from error
        for task, id in zip(tasks, ids, strict=True):
            task.seen = Seen(id, "submitted")

    def _remote(self, job: Job, folder: Folder) -> Job:
        """Return the job as a node is given it. Raises StoreError.

        It names data that the node sees, and source to be looked at.
        """
        if not job.data:
            return job.at(remote=True)
        shared = folder.data / Path(job.data).name
        if not shared.exists():
            shared.parent.mkdir(exist_ok=True)
            try:
                with atomic_write(shared) as draft:
                    shutil.copyfile(job.data, draft)
            except OSError as error:
                raise StoreError(
                    f"cannot copy the data to {shared} ({error}); free space there"
                ) from error
        return job.at(remote=True, data=str(shared))

    def _note(self, folder: Folder) -> None:
        noted: dict[str, dict[int, dict[str, str]]] = {}
        for task in self._tasks:
            noted.setdefault(task.name, {})[task.index] = task.cells
        folder.submissions.parent.mkdir(exist_ok=True)
        write_text(folder.submissions, json.dumps(noted))

    def _look(self, tasks: Sequence[Task]) -> None:
        """Ask for the tasks' states. Raises QueueSilent."""
        found = self._queue.seen({task.name for task in tasks})
        for task in tasks:
            task.look(found.get((task.name, task.index)))

    def _collect(self, waiting: dict[str, Job], folder: Folder) -> Iterator[Event]:
        """Yield what has ended since the last time, and why nothing runs, if nothing does."""
        reason = ""
        try:
            # Before the inbox: what a task writes there it writes before it ends.
            self._look(self._tasks)
        except QueueSilent as error:
            reason = str(error)
        arrived = stems_in_inbox(folder.run)
        for task in self._tasks:
            is_over = task.polls_over >= POLLS
            for stem in [stem for stem in task.cells if stem in waiting]:
                job = waiting[stem]
                row = job.read_result() if is_over or stem in arrived else None
                if is_over:
                    row = row or killed(task, folder)
                elif row is None or not is_final(row):
                    continue
                del task.cells[stem], waiting[stem]
                yield Started(job)
                yield Ended(job, row)
        self._tasks = [task for task in self._tasks if task.cells and task.polls_over < POLLS]
        if not reason and all(task.seen.state == "PENDING" for task in self._tasks):
            reasons = sorted({task.seen.reason for task in self._tasks})
            reason = f"waiting for Slurm to begin a task: {', '.join(reasons)}"
        if waiting and reason and reason != self._told:
            yield Waiting(reason)
        self._told = reason


def killed(task: Task, folder: Folder) -> Result:
    """Return the row of a job whose task is over and wrote none."""
    log = folder.submission(task.name) / f"{task.seen.id}_0_log.err"
    line = last_line(log)
    tail = f": {without_secrets(line)}" if line else ""
    return {
        "status": "killed",
        "error": f"task {task.seen.id} of Slurm is over ({task.seen.state}) and left no row{tail}",
        "log": log.relative_to(folder.run.path).as_posix() if log.exists() else None,
    }
