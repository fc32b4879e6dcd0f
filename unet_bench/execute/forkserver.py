"""A process that has imported torch and touched no device; it forks a worker for each job that it
is sent.

A fork takes tens of milliseconds where a fresh interpreter that imports torch takes seconds. On
stdin come lines of JSON: `["start", JOB]`, `["signal", STEM, NUMBER]`. On stdout go `["ready"]`,
`["ended", STEM, CODE]`. When stdin ends, as it does when the parent is killed, so do all workers,
at once. Linux only: elsewhere forking is not safe.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final, NoReturn

from unet_bench.errors import is_disk_full
from unet_bench.execute.jobs import DISK_FULL, Job
from unet_bench.execute.signals import PR_SET_PDEATHSIG, die_with_parent

PR_SET_CHILD_SUBREAPER: Final = 36  # Linux's prctl.h
# Where memory runs out, the system ends a worker before the parent that keeps its rows.
OOM_SCORE: Final = 500


def main() -> None:
    """Serve jobs until stdin ends."""
    die_with_parent()  # imports take seconds, and nobody reads stdin meanwhile
    if select.select([0], [], [], 0)[0]:
        return  # nothing is asked before the first answer: this is the end of it
    answers = os.dup(1)
    os.dup2(2, 1)  # what imports print must not be taken for an answer
    block, modules = json.loads(sys.argv[1]), sys.argv[2:]
    for module in modules:
        importlib.import_module(module)
    if "torch" in modules and not prepare_to_fork(block):
        print(
            "a plugin starts CUDA when it is imported: what has started it cannot be forked",
            file=sys.stderr,
        )
        return
    Server(answers).serve()


def prepare_to_fork(block: list[str]) -> bool:
    """Do once what every worker would; return whether workers may be forked afterwards.

    Torch imports half of itself again for the first operation on the meta device, about a second of
    it.
    """
    import torch

    import unet_bench.context  # noqa: F401 (every worker needs it)
    from unet_bench.execute.worker import plugins_of

    torch.empty((1, 1, 1, 1), device="meta").normal_()
    plugins_of(tuple(block))
    gc.collect()
    gc.freeze()  # what is here stays: collecting it in a worker would copy its pages
    return not torch.cuda.is_initialized()


class Server:
    """The workers that live, by their process id, which is also their group's."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._ended, self._wake = os.pipe()
        self._workers: dict[int, str] = {}

    def serve(self) -> None:
        """Fork and reap workers until stdin ends."""
        # What workers leave behind becomes this one's child.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        # Stdin ends with the parent, and leaves time to end workers.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)
        os.set_blocking(self._wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._answer("ready")
        rest = b""
        while True:
            readable, _, _ = select.select([0, self._ended], [], [])
            if self._ended in readable:
                os.read(self._ended, 4096)
                self._reap()
            if 0 in readable:
                if not (chunk := os.read(0, 1 << 20)):
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._handle(json.loads(line))
        for pid in self._workers:
            kill_group(pid)
        self._workers.clear()
        end_orphans()

    def _handle(self, order: list[Any]) -> None:
        if order[0] == "signal":
            for pid, stem in self._workers.items():
                if stem == order[1]:
                    kill_group(pid, order[2])
            return
        job, parent = Job.from_json(order[1]), os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # no memory or no process left: the job failed, not the server
            self._answer("failed", job.stem, str(error))
            return
        if pid == 0:
            run_in_child(job, parent, [self._answers, self._ended, self._wake])
        self._workers[pid] = job.stem

    def _reap(self) -> None:
        while self._workers:
            # A worker that is over but not yet waited for keeps its number, so that its group is
            # surely its own.
            try:
                over = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if over is None:
                return
            if stem := self._workers.pop(over.si_pid, None):
                kill_group(over.si_pid)
            _, status = os.waitpid(over.si_pid, 0)
            if not self._workers:
                end_orphans()
            if stem:
                self._answer("ended", stem, os.waitstatus_to_exitcode(status))

    def _answer(self, *words: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._answers, json.dumps(words).encode() + b"\n")


def kill_group(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a worker and the children that it has."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def end_orphans() -> None:
    """Kill the processes that left their worker's group, when no worker is left."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for _ in range(100):  # those that are killed may leave orphans in turn
        with contextlib.suppress(OSError):
            for pid in children.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def run_in_child(job: Job, parent: int, theirs: list[int]) -> NoReturn:
    """Run a job in the child: in a process group of its own, with its output in the log.

    Closes the server's files, `theirs`.
    """
    code = 1
    try:
        os.setpgid(0, 0)
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for file in theirs:
            os.close(file)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
        from unet_bench.execute import worker

        worker.main(job)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        traceback.print_exc()
        code = DISK_FULL if is_disk_full(error) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
