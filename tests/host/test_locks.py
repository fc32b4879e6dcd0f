"""One timing at a time: the locks, their holders' deaths, turns, and runs that wait for one
another.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from unet_bench import pipeline
from unet_bench.execute import local
from unet_bench.host import locks
from unet_bench.host.locks import DeviceLocks, Held, hold, lock_file, own_folder, waiting_file

TINY = {
    "data": ["cells"],
    "size": "32x32",
    "width_scale": 0.0625,
    "speed_s": 0.1,
    "threads": 1,
    "batch": 1,
}

HOLDER = """
import sys
from unet_bench.host.locks import DeviceLocks
held = DeviceLocks().take("cpu", timed=sys.argv[1] == "timed")
print("held", flush=True)
sys.stdin.read()
"""

no_sharing = pytest.mark.skipif(sys.platform == "win32", reason="has no shared locks of this kind")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The locks lie in a temporary folder that nobody else has."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(locks, "POLL_S", 0.05)
    monkeypatch.setattr(local, "POLL_S", 0.05)
    return tmp_path


@pytest.fixture
def holder():
    """Start a process that holds what a cell of this kind does, until its stdin ends."""
    begun = []

    def start(kind: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, kind]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def free(device: str, *, timed: bool) -> bool:
    """Whether a process that comes new could take a device."""
    try:
        held = DeviceLocks().take(device, timed=timed)
    except Held:
        return False
    for file in held:
        file.close()
    return True


@no_sharing
@pytest.mark.parametrize(
    ("holds", "wants", "gets_it"),
    [("timed", True, False), ("timed", False, False), ("", True, False), ("", False, True)],
)
def test_what_is_timed_is_alone_and_all_else_shares(
    holder, holds: str, wants: bool, gets_it: bool
) -> None:
    process = holder(holds)
    assert free("cpu", timed=wants) == gets_it
    process.communicate("")
    waiting_file(lock_file("cpu")).unlink(missing_ok=True)
    assert free("cpu", timed=wants)


@no_sharing
def test_a_host_has_one_timing_at_a_time_whatever_its_devices(holder) -> None:
    holder("timed")
    assert not free("cuda-1", timed=True)
    assert free("cuda-1", timed=False)


def test_what_cannot_be_had_whole_is_not_kept_in_part(holder) -> None:
    holder("")  # the device, but not the host's timing
    assert not free("cpu", timed=True)
    hold(lock_file(locks.TIMING)).close()


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_the_lock_of_a_killed_holder_is_free_at_once(holder) -> None:
    process = holder("timed")
    with pytest.raises(Held, match=str(process.pid)):
        DeviceLocks().take("cpu", timed=True)
    process.kill()
    process.wait()
    assert free("cpu", timed=True)


def test_who_holds_and_takes_again_gives_way_once_to_one_who_waits() -> None:
    mine, path = DeviceLocks(), lock_file("cpu")
    for file in mine.take("cpu", timed=False):
        file.close()
    waiting_file(path).write_text("12345")
    with pytest.raises(Held, match="12345"):
        mine.take("cpu", timed=False)
    with pytest.raises(Held):
        mine.take("cpu", timed=False)
    time.sleep(3 * locks.POLL_S)
    for file in mine.take("cpu", timed=False):  # nobody came
        file.close()


def test_two_that_wait_for_one_another_do_not_wait_for_ever() -> None:
    """Neither held it before, so neither has to give way."""
    waiting_file(lock_file("cpu")).write_text("12345")
    assert free("cpu", timed=False)


def test_what_cannot_be_locked_is_measured_all_the_same(folder: Path) -> None:
    lock_file("cpu").mkdir()  # as good as another user's file
    assert free("cpu", timed=True)


@no_sharing
@pytest.mark.parametrize(
    ("kind", "probe"),
    [("timed", "cost"), pytest.param("", "speed", marks=pytest.mark.slow)],
)
def test_a_run_waits_for_another_before_it_goes_on(
    holder, tmp_path: Path, kind: str, probe: str
) -> None:
    other = holder(kind)
    events: list[str] = []

    class Progress(pipeline.Quiet):
        def waiting(self, reason: str) -> None:
            assert str(other.pid) in reason
            events.append("waiting")
            other.communicate("")

        def done(self, planned: Any, row: dict[str, Any]) -> None:
            events.append(f"{planned.cell.probe} {row['status']}")

    pipeline.run("unet", out=tmp_path / "runs", probes=[probe], progress=Progress(), **TINY)
    assert events == ["waiting", f"{probe} ok"]


@pytest.mark.parametrize(
    "probe",
    [
        *("cost", "speed"),
        *(
            pytest.param(probe, marks=pytest.mark.slow)
            for probe in ("memory", "accuracy", "training", "batch")
        ),
    ],
)
def test_timed_probes_alone_have_the_host_to_themselves(tmp_path: Path, probe: str) -> None:
    seen: list[bool] = []

    class Progress(pipeline.Quiet):
        def cell(self, planned: Any, seconds_left: float) -> None:
            try:
                hold(lock_file(locks.TIMING)).close()
                seen.append(False)
            except Held as held:
                seen.append(held.holder == str(os.getpid()))

    pipeline.run(
        "unet",
        out=tmp_path / "runs",
        probes=[probe],
        floors=False,
        steps=1,
        progress=Progress(),
        **TINY,
    )
    assert set(seen) == {probe in ("speed", "training", "batch")}


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_the_folder_of_a_killed_process_goes_with_the_next_one_and_a_living_one_s_does_not() -> (
    None
):
    code = "import sys\nfrom unet_bench.host.locks import own_folder\n"
    code += "with own_folder() as folder: print(folder, flush=True); sys.stdin.read()"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    dead, living = (Path(process.stdout.readline().strip()) for process in both if process.stdout)
    both[0].kill()
    both[0].communicate()
    for folder in (dead, living):
        os.utime(folder / locks.OWNED, (0, 0))
    with own_folder() as mine:
        assert [folder.exists() for folder in (dead, living, mine)] == [False, True, True]
    both[1].communicate("")
    assert not living.exists()
    assert not mine.exists()
