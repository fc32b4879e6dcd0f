"""The parent: hands cells to worker processes one at a time, waits asleep, and turns every ending into a result."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

GRACE_S = 3.0  # between asking a worker to end and killing it


class Runner:
    """Runs jobs in fresh processes. Use as a context manager: nothing is left running afterwards."""

    def __init__(self, preload: Sequence[str] = ("torch",)) -> None:
        self._preload = preload
        self._server: subprocess.Popen[str] | None = None
        self._answers: SimpleQueue[str] = SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, job: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """The result of a job: what its worker left, or the status that its ending stands for."""
        Path(job["result"]).unlink(missing_ok=True)
        code = self._forked(job, timeout_s) if sys.platform == "linux" else self._fresh(job, timeout_s)
        result = _read(Path(job["result"]))
        if result is not None:
            return result
        if code is None:
            return {"status": "timeout", "error": f"did not end within {timeout_s:g} s; --timeout allows more"}
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
            return {"status": "killed", "error": f"the worker was ended by {name}{hint}{_last_line(job)}"}
        return {"status": "error", "error": f"the worker ended with code {code} and left no row{_last_line(job)}"}

    def _forked(self, job: dict[str, Any], timeout_s: float) -> int | None:
        server = self._started()
        assert server.stdin is not None
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        pid = self._pid_of("started", 120.0)
        if pid is None:  # the fork server itself is gone
            self._stop()
            return 1
        try:
            answer = self._answers.get(timeout=timeout_s)
        except Empty:
            self._end(pid)
            return None
        except BaseException:  # Ctrl-C: the worker is in a group of its own and would live on
            self._end(pid)
            raise
        if not answer:
            self._stop()
            return 1
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # children that the worker left behind
        return int(answer.split()[2])

    def _pid_of(self, word: str, timeout_s: float) -> int | None:
        try:
            answer = self._answers.get(timeout=timeout_s).split()
        except Empty:
            return None
        return int(answer[1]) if answer[:1] == [word] else None

    def _end(self, pid: int) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)
            with contextlib.suppress(Empty):
                self._answers.get(timeout=GRACE_S)
                return

    def _started(self) -> subprocess.Popen[str]:
        if self._server is None or self._server.poll() is not None:
            command = [sys.executable, "-m", "unet_bench.execute.forkserver", *self._preload]
            self._server = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
            self._answers = SimpleQueue()
            threading.Thread(target=_pump, args=(self._server, self._answers), daemon=True).start()
        return self._server

    def _stop(self) -> None:
        if self._server is None:
            return
        if self._server.stdin is not None:
            with contextlib.suppress(OSError):
                self._server.stdin.close()
        try:
            self._server.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    @staticmethod
    def _fresh(job: dict[str, Any], timeout_s: float) -> int | None:
        command = [sys.executable, "-m", "unet_bench.execute.worker"]
        with Path(job["log"]).open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
            try:
                process.communicate(json.dumps(job).encode(), timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return None
            except BaseException:
                process.kill()
                raise
        return process.returncode


def _pump(server: subprocess.Popen[str], answers: SimpleQueue[str]) -> None:
    assert server.stdout is not None
    for line in server.stdout:
        answers.put(line)
    answers.put("")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    path.unlink(missing_ok=True)
    return result


def _last_line(job: dict[str, Any]) -> str:
    """The end of the worker's log, to stand behind a message."""
    try:
        lines = Path(job["log"]).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f": {lines[-1][:300]}" if lines else ""
