"""Worker processes of this host: started, signalled, waited for asleep; the parent's side of
`forkserver`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from unet_bench.errors import is_disk_full
from unet_bench.execute.jobs import DISK_FULL, Job
from unet_bench.execute.logs import tidy
from unet_bench.host.interpreter import module_command

READY_S: Final = 300.0  # for a fork server to import what workers need
ANSWER_S: Final = 5.0  # for a process to take an order, or to end
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
    reason: str = ""  # why nobody could


@dataclass
class Forker:
    """A fork server, and the jobs that are with it."""

    process: subprocess.Popen[bytes]
    log: Path | None  # None until there is a job
    block: list[str]
    modules: list[str]
    printed: int | None = None  # the file of what was printed before there was a log
    ready: threading.Event = field(default_factory=threading.Event)
    stems: set[str] = field(default_factory=set)
    over: bool = False  # its answers have ended

    def keep_log(self) -> None:
        """Put what was printed before there was a log into it."""
        if self.printed is None:
            return
        with open(self.printed, "rb") as printed:
            printed.seek(0)
            text, self.printed = printed.read(), None
        if self.log and text:
            with self.log.open("ab") as log:
                log.write(text)

    def send(self, order: list[Any]) -> bool:
        """Send an order; return whether it was taken, or the server is gone, as its pump says."""
        line = memoryview(json.dumps(order).encode() + b"\n")
        assert self.process.stdin is not None
        pipe, deadline = self.process.stdin.fileno(), time.monotonic() + ANSWER_S
        poll = select.poll()
        poll.register(pipe, select.POLLOUT)
        with contextlib.suppress(OSError):
            self.process.send_signal(signal.SIGCONT)  # it may be stopped, and would hear nothing
            while line:
                if not poll.poll(1000 * max(0.0, deadline - time.monotonic())):
                    return False
                line = line[os.write(pipe, line) :]
        return True


class Processes:
    """Workers by the stem of their job; `close` ends them all.

    A process may be stopped, or hang in a driver: none is waited for without a deadline.
    """

    def __init__(self) -> None:
        self._exits: SimpleQueue[Exit] = SimpleQueue()
        self._forker: Forker | None = None
        self._forks = FORKS
        self._fresh: dict[str, subprocess.Popen[bytes]] = {}
        self.notice = ""  # what whoever watches should know

    def start(self, job: Job, until: float = math.inf) -> None:
        """Begin a job in a process of its own; whatever happens, `wait` will return it.

        At `until`, of the monotonic clock, a fork server that is not ready is given up.
        """
        try:
            forker = self._forker_for(job, until) if self._forks and not job.fresh else None
        except BaseException:  # such as Ctrl-C
            self._exits.put(Exit(job.stem, None, "it never began"))
            raise
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

    def abandon(self, stem: str) -> None:
        """Have `wait` return a job though its worker, which was killed, is not known to be over.

        The fork server that was told to kill it does not answer: it ends, with all its jobs.
        """
        if self._forker and stem in self._forker.stems:
            self._end(self._forker)
        else:
            self._fresh.pop(stem, None)
            self._exits.put(Exit(stem, None, "the worker did not end when it was killed"))

    def close(self) -> None:
        """End every process that is left, at once."""
        left = list(self._fresh.values())
        for process in left:
            _signal_group(process, KILL)
        for process in left:
            _await_end(process)
        forker, self._forker = self._forker, None
        if forker is None:
            return
        with contextlib.suppress(OSError):
            assert forker.process.stdin is not None
            forker.process.stdin.close()  # which ends its workers, too
            forker.process.send_signal(signal.SIGCONT)
        if not forker.ready.is_set():  # it imports, and does not look
            forker.process.kill()
        if not _await_end(forker.process):
            self._end(forker)
        forker.keep_log()
        if forker.log:
            tidy(forker.log)

    def _order(self, forker: Forker, order: list[Any]) -> None:
        if not forker.send(order):
            self._end(forker)

    def _end(self, forker: Forker) -> None:
        """Kill a fork server that does not answer; the kernel ends its workers with it."""
        if self._forker is forker:
            self._forker = None
        forker.process.kill()
        _await_end(forker.process)
        self._give_up(forker)

    def begin_forking(self, block: Sequence[str], modules: Sequence[str]) -> None:
        """Begin a fork server before there is a job: it imports while others plan."""
        if self._forks and self._forker is None:
            self._forker = self._begun(block, modules, None)

    def _forker_for(self, job: Job, until: float) -> Forker | None:
        """Return the living fork server, or a new one; None if none gets ready, now and later."""
        path, forker = job.run_folder.log_of("forkserver"), self._forker
        if forker is not None and forker.log is None:  # it has had no job so far
            forker.log = path
            if forker.block != [*job.block] or not {*job.modules} <= {*forker.modules}:
                self._end(forker)
                forker.keep_log()
                forker = None
        elif forker is not None and forker.process.poll() is not None:
            forker = None
        if forker is None:
            forker = self._begun(job.block, job.modules, path)
        process, deadline = forker.process, min(time.monotonic() + READY_S, until)
        self._forker = None
        try:
            while not forker.ready.wait(0.2 if process.poll() is None else 0.0):
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    self._forks = False
                    forker.keep_log()
                    self.notice = (
                        f"workers cannot be forked and take seconds to begin; {path} says why"
                    )
                    return None
        except BaseException:  # Ctrl-C: `close` does not know of it
            process.kill()
            _await_end(process)
            raise
        self._forker = forker
        return forker

    def _begun(self, block: Sequence[str], modules: Sequence[str], log: Path | None) -> Forker:
        """Begin a fork server; without a log, what it prints is kept for one."""
        with log.open("ab") if log else tempfile.TemporaryFile() as file:
            process = subprocess.Popen(
                module_command("unet_bench.execute.forkserver", json.dumps([*block]), *modules),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                bufsize=0,
                start_new_session=True,
                env={**os.environ, **ASKS_NO_DRIVER},
            )
            printed = None if log else os.dup(file.fileno())
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        forker = Forker(process, log, [*block], [*modules], printed)
        threading.Thread(target=self._pump, args=(forker,), daemon=True).start()
        return forker

    def _pump(self, forker: Forker) -> None:
        """Turn a fork server's answers into exits; when it is gone, so are its workers."""
        assert forker.process.stdout is not None
        for line in forker.process.stdout:
            what, *rest = json.loads(line)
            if what == "ready":
                forker.ready.set()
            elif what == "ended":
                self._note_end(forker, Exit(*rest))
            else:
                stem, reason = rest
                self._note_end(forker, Exit(stem, None, reason))
        forker.process.stdout.close()
        forker.over = True
        self._give_up(forker)

    def _give_up(self, forker: Forker) -> None:
        """Note that a fork server's jobs are over."""
        for stem in list(forker.stems):
            reason = "the process that forks workers was ended from outside, or did not answer"
            self._note_end(forker, Exit(stem, None, reason))

    def _note_end(self, forker: Forker, over: Exit) -> None:
        """Have `wait` return an exit. Several threads may know of a job's: one of them counts."""
        with contextlib.suppress(KeyError):
            forker.stems.remove(over.stem)
            self._exits.put(over)

    def _start_fresh(self, job: Job) -> None:
        try:
            with job.log.open("ab") as log:
                process = subprocess.Popen(
                    module_command("unet_bench.execute.worker"),
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
        if self._fresh.get(job.stem) is process:  # else it was abandoned
            del self._fresh[job.stem]
            self._exits.put(Exit(job.stem, code))


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, number) if sys.platform != "win32" else process.kill()


def _await_end(process: subprocess.Popen[bytes]) -> bool:
    """Wait a moment for a process to end; return whether it did."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ANSWER_S)
    return process.returncode is not None
