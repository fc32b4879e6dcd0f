"""A process that has imported torch and touched nothing else; it forks a worker for each job it is sent.

A fork takes tens of milliseconds where a fresh interpreter that imports torch takes seconds. Jobs come as JSON
lines on stdin; `started PID` and `ended PID CODE` go out on stdout. Linux only: elsewhere forking is not safe.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any


def main() -> None:
    """Serve jobs until stdin ends."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what imports print must not be taken for an answer
    for module in sys.argv[1:]:
        importlib.import_module(module)
    warm()
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            work(job)
        print(f"started {pid}", file=answers)
        _, status = os.waitpid(pid, 0)
        print(f"ended {pid} {os.waitstatus_to_exitcode(status)}", file=answers)


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however that ends: nothing may time beside a new run."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def warm() -> None:
    """One operation on the meta device: torch imports half of itself again for the first one (about a second)."""
    import torch

    torch.empty((1, 1, 1, 1), device="meta").normal_()


def work(job: dict[str, Any]) -> None:
    """In the child: a process group of its own, stderr to the log, then the cell. Does not return."""
    code = 1
    try:
        die_with_parent()
        os.setpgid(0, 0)
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        from unet_bench.execute import worker

        worker.main(job)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
