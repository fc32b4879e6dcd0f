"""Runs jobs on a Ray cluster: each is a task of Ray's, which runs it by `Local` on the node that
Ray chose for it.

Nodes need share no files with this host. What a job reads travels to the node as data, what it
leaves comes back as data, and this host alone writes into the run's folder. The upper half of this
module runs on nodes, the lower half where the run was started.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final, Self

from unet_bench.errors import InvalidSuite, StoreError
from unet_bench.execute.jobs import (
    ENVIRONMENTS,
    INBOX,
    LOGS,
    SAMPLES,
    WEIGHTS,
    Ended,
    Event,
    Job,
    Result,
    Started,
    Waiting,
)
from unet_bench.execute.local import Local
from unet_bench.execute.provenance import now
from unet_bench.execute.worker import describe
from unet_bench.host.locks import own_folder
from unet_bench.host.survey import VISIBILITY
from unet_bench.store.log import resume_command

SENT_BACK: Final = (
    LOGS,
    SAMPLES,
    WEIGHTS,
    ENVIRONMENTS,
)  # folders of a run that a job leaves files in
Left = dict[str, bytes]  # what a job left: files by their path in the run's folder

# On a node
# -----------------------------------------------------------------------------------------------------------

IDLE_S: Final = 10.0  # that a fork server is kept for the next task
NOD_S: Final = 0.5


class OnNode(Local):
    """The device that Ray gave to this task."""

    def __init__(self) -> None:
        super().__init__(
            ["cuda:0"]
        )  # of those that Ray shows it; means nothing to cells on the CPU

    def _patience(self, blocked: bool, until: float) -> float:
        """Briefly: Ray asks a task to end by a flag, which a sleeping thread does not see."""
        return min(super()._patience(blocked, until) or 0.0, NOD_S)


class Kept:
    """Runs the jobs of one process of Ray's, which has many tasks: a fork server takes seconds to
    start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run: tuple[object, ...] = ()  # what the fork server has imported, and for whom
        self._local: OnNode | None = None
        self._idle: threading.Timer | None = None

    @contextmanager
    def lend(self, job: Job) -> Iterator[OnNode]:
        """The same `Local` as before, if that was for the same run."""
        if self._idle:
            self._idle.cancel()
        run = (job.folder, job.block, job.modules)
        with self._lock:
            if run != self._run:
                self._close()
            self._run, self._local = run, self._local or OnNode()
            try:
                yield self._local
            except BaseException:
                self._close()
                raise
        self._idle = threading.Timer(IDLE_S, self.close)
        self._idle.daemon = True
        self._idle.start()

    def close(self) -> None:
        """End the fork server: Ray's process may live on, for a cluster that is not ours to shut
        down.
        """
        with self._lock:
            self._close()

    def _close(self) -> None:
        local, self._local = self._local, None
        if local:
            local.__exit__()


KEPT: Final = Kept()


def carry_out(text: str, data: Sequence[Any]) -> tuple[Result, Left]:
    """Ray's task: run a job, as JSON, in a folder of this node's own; `data` holds a reference to
    its images, if any.

    The reference is in a list so that Ray does not fetch it into a process that then has to hold
    it.
    """
    import ray

    job, started = Job.from_json(text), ""
    with own_folder() as folder:
        for part in (INBOX, *SENT_BACK):
            (folder / part).mkdir()
        # Ray shows each task its own GPUs, but the fork server saw those of the task that it was
        # started in.
        shown = {name: os.environ[name] for name in VISIBILITY if name in os.environ}
        here = job.at(folder=str(folder), data=None, remote=True, environ={**job.environ, **shown})
        try:
            if data:
                here = here.at(data=str(folder / "data.npz"))
                Path(str(here.data)).write_bytes(ray.get(data[0]))
            with KEPT.lend(job) as local:
                for event in local.run([here]):
                    if isinstance(event, Started):
                        started = now()
                    elif isinstance(event, Ended):
                        result = event.result
        except (OSError, StoreError) as error:  # this node's disk: no reason to stop on all others
            result = {
                "status": "error",
                "error": f"{folder} of {socket.gethostname()} cannot be used: {error}",
            }
        return {"host": socket.gethostname(), "started": started or now(), **result}, left_in(
            folder
        )


def left_in(folder: Path) -> Left:
    """The files that are to go back; a training's checkpoints stay, since no other node finds them."""
    files = (file for part in SENT_BACK for file in (folder / part).rglob("*") if file.is_file())
    return {
        file.relative_to(folder).as_posix(): content
        for file in files
        if (content := file.read_bytes())
    }


# Where the run was started
# -------------------------------------------------------------------------------------------

OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "address": str,
    "namespace": str,
    "num_cpus": int,
    "num_gpus": int,
}
RETRIES: Final = 3  # of a task whose node or process was lost; Ray does them
WINDOW: Final = 4  # tasks that Ray has, for each that can run: it knows no more than it needs to keep all nodes busy
LOOK_S: Final = 10.0  # between two looks at how large the cluster is
END_S: Final = 15.0  # for tasks that were asked to end, and then for their workers, who have some seconds themselves


class OnRay:
    """A Ray cluster: the one at `address`, or that Ray finds by its own rules, or else a new one of
    this machine.
    """

    elsewhere = True
    ending_s = 30.0

    def __init__(
        self, devices: Sequence[str] = (), options: Mapping[str, str] | None = None
    ) -> None:
        if devices:
            raise InvalidSuite(
                f"--devices {','.join(devices)}: Ray hands out its devices itself; leave --devices out"
            )
        self._options = read_options(options or {})
        self._shut_down: Callable[[], object] | None = None  # if the connection is ours
        self._carry_out: Any = None
        self._data: dict[str, Any] = {}  # Ray's references, by path
        self._running: dict[Any, Job] = {}  # by Ray's reference; some still wait for their node

    def __enter__(self) -> Self:
        self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for _ended in self._ended(0.0):
                pass  # what is here already is found when the run goes on
            self._end_all()
        finally:
            self._data.clear()
            if self._shut_down:
                self._shut_down()

    def device(self, wanted: str) -> str:
        """See `Executor`. A cluster that has no GPU yet may get one: then cells for `cuda` wait."""
        if wanted not in ("auto", "cpu", "cuda"):
            raise InvalidSuite(
                f"--device {wanted} cannot be asked of a Ray cluster: auto, cpu and cuda can"
            )
        import ray

        self._connect()
        if wanted != "auto":
            return wanted
        return "cuda" if ray.cluster_resources().get("GPU") else "cpu"

    def run(self, jobs: Sequence[Job], until: float = math.inf) -> Iterator[Event]:
        """See `Executor`. A job has `Started` once Ray has it, which may let it wait for its node."""
        waiting = deque(jobs)
        slots, look, told = 0, -math.inf, False
        while (waiting or self._running) and time.monotonic() < until:
            if waiting and time.monotonic() >= look:
                slots, look = self._slots(waiting[0]), time.monotonic() + LOOK_S
            if not slots and not told:
                yield Waiting(
                    f"waiting for a node with a {kind_of(waiting[0])} to join the Ray cluster"
                )
                told = True
            while waiting and len(self._running) < WINDOW * max(1, slots):
                job = waiting.popleft()
                self._submit(job)
                yield Started(job)
            yield from self._ended(max(0.0, min(until - time.monotonic(), LOOK_S)))
        yield from self._ended(0.0)
        self._end_all()

    def _connect(self) -> None:
        import ray

        if not ray.is_initialized():
            # A cell that exhausts a node's memory does so again; a cluster that is there already
            # has its own rule.
            os.environ.setdefault("RAY_task_oom_retries", "0")
            with own_signals():
                try:
                    # Nobody is to find Ray's words, and those of its processes, among ours.
                    ray.init(
                        **self._options,
                        log_to_driver=False,
                        configure_logging=False,
                        include_dashboard=False,
                    )
                except (ConnectionError, RuntimeError, ValueError) as error:
                    raise InvalidSuite(
                        f"no Ray cluster to run on: {error}; start one by `ray start --head`, name it by "
                        "--executor-option address=HOST:PORT, or leave address out for one of this machine alone"
                    ) from error
            # A plan is made, and perhaps never run: then the connection ends with this object.
            self._shut_down = weakref.finalize(self, ray.shutdown)
        self._carry_out = self._carry_out or ray.remote(carry_out)

    def _slots(self, job: Job) -> int:
        """How many jobs like this one the cluster can run at once, as it is now."""
        import ray

        kind = kind_of(job)
        return int(ray.cluster_resources().get(kind, 0) // self._needs(job)[f"num_{kind.lower()}s"])

    def _needs(self, job: Job) -> dict[str, int]:
        """What Ray has to reserve for a job, in the words of its options."""
        import ray

        if kind_of(job) == "GPU":
            return {"num_gpus": 1}
        largest = max(
            (int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]),
            default=1,
        )
        return {"num_cpus": max(1, min(job.cell["setting"]["threads"], largest))}

    def _submit(self, job: Job) -> None:
        import ray

        if job.data and job.data not in self._data:
            self._data[job.data] = ray.put(Path(job.data).read_bytes())
        data = [self._data[job.data]] if job.data else []
        # Spread: where two are on one node, what is timed waits for the other.
        task = self._carry_out.options(
            **self._needs(job), max_retries=RETRIES, scheduling_strategy="SPREAD"
        )
        self._running[task.remote(job.to_json(), data)] = job

    def _ended(self, timeout_s: float) -> Iterator[Ended]:
        """Sleep until a task is over, or until the time is; those that are over by then."""
        import ray

        if not self._running:
            return
        ray.wait([*self._running], timeout=timeout_s)
        over, _ = ray.wait([*self._running], num_returns=len(self._running), timeout=0)
        for reference in over:
            job = self._running[reference]
            result = received(job, reference)
            leave(job, result)  # whoever is killed from here on finds it again
            del self._running[reference]
            yield Ended(job, result)

    def _end_all(self) -> None:
        """Ask all tasks to end, so that they tidy up on their nodes, and then make them."""
        import ray

        for reference in self._running:
            ray.cancel(reference)
        if self._running:
            _, living = ray.wait(
                [*self._running], num_returns=len(self._running), timeout=END_S, fetch_local=False
            )
            for reference in living:
                ray.cancel(reference, force=True)
        self._running.clear()


def read_options(given: Mapping[str, str]) -> dict[str, Any]:
    """What `--executor-option` says, as `ray.init` takes it. Raises InvalidSuite."""
    for name, value in given.items():
        if name not in OPTIONS:
            raise InvalidSuite(
                f"executor ray takes no option {name}; it takes {', '.join(OPTIONS)}"
            )
        if OPTIONS[name] is int and not value.isdecimal():
            raise InvalidSuite(f"executor option {name}={value} is not valid: write a whole number")
    return {name: OPTIONS[name](value) for name, value in given.items()}


@contextmanager
def own_signals() -> Iterator[None]:
    """Ray takes SIGTERM over when it connects: give it back to who had it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def kind_of(job: Job) -> str:
    """What a job needs of a node, as Ray calls it."""
    return "GPU" if job.device.startswith("cuda") else "CPU"


def received(job: Job, reference: Any) -> Result:
    """The result of a task that is over, once the files that it left are in the run's folder.
    Raises StoreError.
    """
    import ray

    try:
        result, files = ray.get(reference)
        write(Path(job.folder), files)
    except ray.exceptions.RayError as error:
        return verdict(error)
    except ValueError as error:
        return {"status": "error", "error": describe(error)}
    except OSError as error:
        raise StoreError(f"cannot write what a node sent into {job.folder}: {error}") from error
    found: Result = result
    return found


def leave(job: Job, result: Result) -> None:
    """Into the run's inbox. Raises StoreError."""
    try:
        job.leave(result)
    except OSError as error:
        raise StoreError(
            f"cannot write a row into {job.folder}: {error}; {resume_command(Path(job.folder))}"
        ) from error


def verdict(error: Exception) -> Result:
    """The status of a task that gave nothing back."""
    from ray import exceptions as known

    lost = (
        known.WorkerCrashedError,
        known.NodeDiedError,
        known.ObjectLostError,
        known.LocalRayletDiedError,
    )
    if isinstance(error, known.OutOfMemoryError):
        return {
            "status": "oom",
            "error": f"Ray ended the task for want of memory: {describe(error)}",
        }
    if isinstance(error, lost):
        return {
            "status": "killed",
            "error": f"Ray gave up after {RETRIES + 1} attempts: {describe(error)}",
        }
    cause = getattr(error, "cause", None)  # what the task raised, without Ray's traceback around it
    return {"status": "error", "error": describe(cause if isinstance(cause, Exception) else error)}


def write(folder: Path, files: Left) -> None:
    """Files below the folder, each whole or not at all. Raises ValueError for a path that leads
    elsewhere, OSError.
    """
    for name, content in files.items():
        path = PurePosixPath(name)
        if (
            path.parts[:1] not in [(part,) for part in SENT_BACK]
            or ".." in path.parts
            or "\\" in name
            or ":" in name
        ):
            raise ValueError(f"a node sent a file that is none of a run's: {name!r}")
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"{file.name}.tmp")
        draft.write_bytes(content)
        os.replace(draft, file)
