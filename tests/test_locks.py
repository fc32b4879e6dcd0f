"""One timing at a time: the lock, its holders' deaths, and runs that wait for one another."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unet_bench import locks, pipeline
from unet_bench.locks import Held, hold, timing_lock
from unet_bench.suite import from_dict

TINY = {"data": ["cells"], "size": "32x32", "width_scale": 0.0625, "speed_s": 0.1, "threads": 1, "batch": 1}

HOLDER = """
import sys, time
from unet_bench.locks import timing_lock
with timing_lock("cpu", print):
    print("held", flush=True)
    sys.stdin.read()
    time.sleep(0.3)
"""


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lock for the CPU lies, in a temporary folder that nobody else has."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(locks, "POLL_S", 0.02)
    return tmp_path / "unet-bench-cpu.lock"


@pytest.fixture
def holder(lock: Path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def nobody(reason: str) -> None:
    raise AssertionError(f"waited: {reason}")


def test_a_living_holder_is_waited_for_and_named_once(holder, lock: Path) -> None:
    said: list[str] = []

    def waiting(reason: str) -> None:
        said.append(reason)
        holder.stdin.close()  # it lets go some polls later

    with timing_lock("cpu", waiting), pytest.raises(Held):
        hold(lock)
    [reason] = said
    assert all(word in reason for word in (str(holder.pid), "timing on cpu", str(lock)))
    with timing_lock("cpu", nobody):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_the_lock_of_a_killed_holder_is_free_at_once(holder, lock: Path) -> None:
    with pytest.raises(Held, match=str(holder.pid)):
        hold(lock)
    holder.kill()
    holder.wait()
    with timing_lock("cpu", nobody):
        assert lock.exists()


def test_each_device_has_a_lock_of_its_own(lock: Path) -> None:
    with timing_lock("cpu", nobody), timing_lock("cuda:0", nobody), timing_lock("cuda:1", nobody):
        assert len(list(lock.parent.glob("unet-bench-*.lock"))) == 3


def test_what_cannot_be_locked_is_timed_all_the_same(lock: Path) -> None:
    lock.mkdir()  # as good as another user's file
    with timing_lock("cpu", nobody):
        pass


def test_a_run_waits_for_another_before_it_times(lock: Path, tmp_path: Path) -> None:
    other = hold(lock)
    events: list[str] = []

    class Progress(pipeline.Quiet):
        def waiting(self, reason: str) -> None:
            events.append("waiting")
            other.close()

        def done(self, planned: Any, row: dict[str, Any]) -> None:
            events.append(f"{planned.cell.probe} {row['status']}")

    pipeline.run("unet", out=tmp_path / "runs", probes=["cost", "speed"], progress=Progress(), **TINY)
    assert events == ["cost ok", "waiting", "speed ok"]


@pytest.mark.parametrize("probe", ["cost", "speed", "memory", "accuracy", "training", "batch"])
def test_timed_probes_alone_run_under_the_lock(lock: Path, tmp_path: Path, probe: str) -> None:
    def locked(*_: Any) -> dict[str, bool]:
        try:
            hold(lock).close()
        except Held:
            return {"locked": True}
        return {"locked": False}

    with pipeline.plan(from_dict({"variants": ["unet"], "probes": [probe], **TINY})) as made:
        store: Any = SimpleNamespace(path=tmp_path)
        runner = SimpleNamespace(run=locked)
        found = pipeline.outcome(made, store, runner, made.planned[0], "key", pipeline.Quiet())
    assert found["locked"] == (probe in ("speed", "training", "batch"))
