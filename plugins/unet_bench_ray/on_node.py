"""What runs on a node: a task of Ray's, which runs one job by `Local` and returns what it wrote."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from unet_bench.execute.jobs import Job, Result
from unet_bench.execute.local import Local
from unet_bench.execute.remote import Files, run_remote

IDLE_S: Final = 10.0  # that a fork server is kept for the next task
# Ray asks a task to end by a flag, which a sleeping thread does not see.
LONGEST_SLEEP_S: Final = 0.5
DEVICES: Final = ("cuda:0",)  # of those that Ray shows a task; means nothing to cells on the CPU


def run_task(text: str, data: list[Any]) -> tuple[Result, Files]:
    """Run a job, given as JSON; `data` holds Ray's reference to its images, if it has any.

    The reference is in a list so that Ray does not fetch it into a process that then has to hold
    it.
    """
    import ray

    job = Job.from_json(text)
    return run_remote(job, LOCAL.lend(job), (lambda: ray.get(data[0])) if data else None)


class KeptLocal:
    """The `Local` of one process of Ray's, which has many tasks.

    It is kept because a fork server takes seconds to start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run: tuple[object, ...] = ()  # what the fork server has imported, and for whom
        self._local: Local | None = None
        self._idle: threading.Timer | None = None

    @contextmanager
    def lend(self, job: Job) -> Iterator[Local]:
        """Yield the same `Local` as before, if that was for the same run."""
        if self._idle:
            self._idle.cancel()
        run = (job.folder, job.block, job.modules)
        with self._lock:
            if run != self._run:
                self._end()
            self._run = run
            self._local = self._local or Local(DEVICES, longest_sleep_s=LONGEST_SLEEP_S)
            try:
                yield self._local
            except BaseException:
                self._end()
                raise
        self._idle = threading.Timer(IDLE_S, self.close)
        self._idle.daemon = True
        self._idle.start()

    def close(self) -> None:
        """End the fork server.

        Ray's process may live on, for a cluster that is not ours to shut down.
        """
        with self._lock:
            self._end()

    def _end(self) -> None:
        local, self._local = self._local, None
        if local:
            local.__exit__()


LOCAL: Final = KeptLocal()
