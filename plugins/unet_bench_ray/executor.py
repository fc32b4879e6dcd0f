"""Runs jobs on a Ray cluster: each is a task of Ray's on the node that Ray chose for it.

Nodes need share no files with this host. What a job reads travels to the node as data, what it
wrote comes back as data, and this host alone writes into the run's folder.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, Final, Self

from unet_bench.errors import InvalidSuite
from unet_bench.execute.jobs import Ended, Event, Job, Result, Started, Waiting
from unet_bench.execute.remote import receive
from unet_bench.execute.worker import error_text
from unet_bench_ray.on_node import run_task

OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "address": str,
    "namespace": str,
    "num_cpus": int,
    "num_gpus": int,
}
RETRIES: Final = 3  # of a task whose node or process was lost; Ray does them
# Tasks that Ray has, for each that can run: no more than it needs to keep all nodes busy.
WINDOW: Final = 4
LOOK_S: Final = 10.0  # between two looks at how large the cluster is
END_S: Final = 15.0  # for tasks that were asked to end: their workers have some seconds themselves


class RayExecutor:
    """A Ray cluster.

    It is the one at `address`, or one that Ray finds by its own rules, or else a new one of this
    machine.
    """

    remote = True
    ending_s = 30.0

    def __init__(
        self, devices: Sequence[str] = (), options: Mapping[str, str] | None = None
    ) -> None:
        if devices:
            raise InvalidSuite(
                f"--devices {','.join(devices)}: Ray hands out its devices itself; "
                "leave --devices out"
            )
        self._options = read_options(options or {})
        self._shut_down: Callable[[], object] | None = None  # if the connection is ours
        self._task: Any = None  # `run_task`, as Ray has it
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
        """See `Executor`. Cells for a GPU wait until the cluster has one."""
        if wanted not in ("auto", "cpu", "cuda"):
            raise InvalidSuite(
                f"--device {wanted} is not available on a Ray cluster: use auto, cpu or cuda"
            )
        import ray

        self._connect()
        if wanted != "auto":
            return wanted
        return "cuda" if ray.cluster_resources().get("GPU") else "cpu"

    def at_once(self, device: str, threads: int) -> int:
        """See `Executor`. The cluster decides."""
        return 1

    def run(self, jobs: Sequence[Job], until: float = math.inf) -> Iterator[Event]:
        """See `Executor`. A job has `Started` once Ray has it, where it may wait for its node."""
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
            # Ray's processes import from the folder that this one is in before what is installed.
            with kept_signals(), chdir("/"):
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
                        f"no Ray cluster to run on: {error}; start one by `ray start --head`, "
                        "name it by --executor-option address=HOST:PORT, or leave address out "
                        "for one of this machine alone"
                    ) from error
            # A plan is made, and perhaps never run: then the connection ends with this object.
            self._shut_down = weakref.finalize(self, ray.shutdown)
        self._task = self._task or ray.remote(run_task)

    def _slots(self, job: Job) -> int:
        """Return how many jobs like this one the cluster can run at once, as it is now."""
        import ray

        kind = kind_of(job)
        return int(ray.cluster_resources().get(kind, 0) // self._needs(job)[f"num_{kind.lower()}s"])

    def _needs(self, job: Job) -> dict[str, int]:
        """Return what Ray has to reserve for a job, in the words of its options."""
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
        task = self._task.options(
            **self._needs(job), max_retries=RETRIES, scheduling_strategy="SPREAD"
        )
        self._running[task.remote(job.to_json(), data)] = job

    def _ended(self, timeout_s: float) -> Iterator[Ended]:
        """Sleep until a task is over, or until the time is; yield those that are over by then."""
        import ray

        if not self._running:
            return
        ray.wait([*self._running], timeout=timeout_s)
        over, _ = ray.wait([*self._running], num_returns=len(self._running), timeout=0)
        for reference in over:
            job = self._running[reference]
            try:
                result, files = ray.get(reference)
            except ray.exceptions.RayError as error:
                result, files = verdict(error), {}
            result = receive(job, result, files)
            del self._running[reference]
            yield Ended(job, result)

    def _end_all(self) -> None:
        """Ask all tasks to end, so that they tidy up on their nodes, and then force them to."""
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
    """Return what `--executor-option` says, as `ray.init` takes it. Raises InvalidSuite."""
    for name, value in given.items():
        if name not in OPTIONS:
            raise InvalidSuite(
                f"executor ray takes no option {name}; it takes {', '.join(OPTIONS)}"
            )
        if OPTIONS[name] is int and not value.isdecimal():
            raise InvalidSuite(f"executor option {name}={value} is not valid: write a whole number")
    return {name: OPTIONS[name](value) for name, value in given.items()}


@contextmanager
def kept_signals() -> Iterator[None]:
    """Give SIGTERM back to who had it: Ray takes it over when it connects."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def kind_of(job: Job) -> str:
    """Return what a job needs of a node, as Ray calls it."""
    return "GPU" if job.device.startswith("cuda") else "CPU"


def verdict(error: Exception) -> Result:
    """Return the status of a task that gave nothing back."""
    from ray import exceptions as known

    if isinstance(error, known.OutOfMemoryError):
        words = f"Ray ended the task for lack of memory: {error_text(error)}"
        return {"status": "oom", "error": words}
    lost = (
        known.WorkerCrashedError,
        known.NodeDiedError,
        known.ObjectLostError,
        known.LocalRayletDiedError,
    )
    if isinstance(error, lost):
        words = f"Ray gave up after {RETRIES + 1} attempts: {error_text(error)}"
        return {"status": "killed", "error": words}
    cause = getattr(error, "cause", None)  # what the task raised, without Ray's traceback around it
    return {
        "status": "error",
        "error": error_text(cause if isinstance(cause, Exception) else error),
    }
