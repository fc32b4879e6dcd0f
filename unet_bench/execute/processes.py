"""Worker processes of this host: started, signalled, waited for asleep; the parent's side of
`forkserver`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from unet_bench.errors import is_disk_full
from unet_bench.execute.jobs import DISK_FULL, Job
from unet_bench.execute.logs import tidy

READY_S: Final = 300.0  # for a fork server to import what workers need
# Else `torch.cuda.is_available()`, which many a plugin calls while it is imported, would start
# CUDA's driver; what has started that cannot be forked, and does not look at CUDA_VISIBLE_DEVICES
# again.
ASKS_NO_DRIVER: Final = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
FORKS: Final = sys.platform == "linux"
KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has but one way


@dataclass(frozen=True)
class Exit:
    """A worker that is over."""

    stem: str
    code: int | None  # as subprocess has it; None where nobody could say
    reason: str = ""  # why it never began


@dataclass
class Forker:
    """A fork server, and the jobs that are with it."""

    process: subprocess.Popen[bytes]
    log: Path
    stems: set[str] = field(default_factory=set)
    over: bool = False  # its answers have ended


class Processes:
    """Workers by the stem of their job; `close` ends them all."""

    def __init__(self) -> None:
        self._exits: SimpleQueue[Exit] = SimpleQueue()
        self._forker: Forker | None = None
        self._forks = FORKS
        self._fresh: dict[str, subprocess.Popen[bytes]] = {}
        self.notice = ""  # what whoever watches should know

    def start(self, job: Job) -> None:
        """Begin a job in a process of its own; whatever happens, `wait` will return it."""
        forker = self._forker_for(job) if self._forks and not job.fresh else None
        if forker is None:
            self._start_fresh(job)
            return
        forker.stems.add(job.stem)
        self._order(forker, ["start", job.to_json()])
        if forker.over:  # its pump may have given up its jobs before this one was among them
            self._give_up(forker)

    def wait(self, timeout_s: float | None) -> list[Exit]:
        """Sleep until a worker is over, or until the time is; return those that are over then."""
        exits: list[Exit] = []
        with contextlib.suppress(Empty):
            exits.append(self._exits.get(timeout=timeout_s))
            while True:
                exits.append(self._exits.get_nowait())
        return exits

    def signal(self, stem: str, number: int) -> None:
        """Signal a worker's process group; nothing where it is over."""
        if process := self._fresh.get(stem):
            _signal_group(process, number)
        elif self._forker and stem in self._forker.stems:
            self._order(self._forker, ["signal", stem, number])

    def close(self) -> None:
        """End every process that is left, at once."""
        for process in list(self._fresh.values()):
            _signal_group(process, KILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        forker, self._forker = self._forker, None
        if forker is None:
            return
        with contextlib.suppress(OSError):
            assert forker.process.stdin is not None
            forker.process.stdin.close()  # which ends its workers, too
        try:
            forker.process.wait(10)
        except subprocess.TimeoutExpired:
            forker.process.kill()
            forker.process.wait()
        tidy(forker.log)

    def _order(self, forker: Forker, order: list[Any]) -> None:
        with contextlib.suppress(OSError):  # it is gone, and its pump says so
            assert forker.process.stdin is not None
            forker.process.stdin.write(json.dumps(order).encode() + b"\n")
            forker.process.stdin.flush()

    def _forker_for(self, job: Job) -> Forker | None:
        """Return the living fork server, or a new one; None if none gets ready, now and later."""
        if self._forker is not None and self._forker.process.poll() is None:
            return self._forker
        module = "unet_bench.execute.forkserver"
        path = job.run_folder.log_of("forkserver")
        with path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, json.dumps(job.block), *job.modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **ASKS_NO_DRIVER},
            )
        forker, ready = Forker(process, path), threading.Event()
        threading.Thread(target=self._pump, args=(forker, ready), daemon=True).start()
        deadline = time.monotonic() + READY_S
        try:
            while not ready.wait(0.2 if process.poll() is None else 0.0):
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    self._forks = False
                    self.notice = (
                        f"workers cannot be forked and take seconds to begin; {path} says why"
                    )
                    return None
        except BaseException:  # Ctrl-C: `close` does not know of it yet
            process.kill()
            process.wait()
            raise
        self._forker = forker
        return forker

    def _pump(self, forker: Forker, ready: threading.Event) -> None:
        """Turn a fork server's answers into exits; when it is gone, so are its workers."""
        assert forker.process.stdout is not None
        for line in forker.process.stdout:
            what, *rest = json.loads(line)
            if what == "ready":
                ready.set()
                continue
            stem, how = rest
            forker.stems.discard(stem)
            self._exits.put(Exit(stem, how) if what == "ended" else Exit(stem, None, how))
        forker.process.stdout.close()
        forker.over = True
        self._give_up(forker)

    def _give_up(self, forker: Forker) -> None:
        """Note that a fork server's jobs are over.

        Two threads may call it: each job goes to one of them.
        """
        reason = "the process that forks workers was ended from outside"
        with contextlib.suppress(KeyError):
            while True:
                self._exits.put(Exit(forker.stems.pop(), None, reason))

    def _start_fresh(self, job: Job) -> None:
        try:
            with job.log.open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "unet_bench.execute.worker"],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env={**os.environ, **job.environ},
                )
        except OSError as error:
            self._exits.put(Exit(job.stem, DISK_FULL if is_disk_full(error) else None, str(error)))
            return
        self._fresh[job.stem] = process
        threading.Thread(target=self._await, args=(job, process), daemon=True).start()

    def _await(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it may be over already
            process.stdin.write(job.to_json().encode())
            process.stdin.close()
        if hasattr(os, "waitid"):
            # Until it is over, but not yet waited for: so its number, and its group, are its own.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            _signal_group(process, KILL)  # children that the worker left behind
        code = process.wait()
        del self._fresh[job.stem]
        self._exits.put(Exit(job.stem, code))


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, number) if sys.platform != "win32" else process.kill()
