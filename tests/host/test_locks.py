"""One timing at a time: the locks, their holders' deaths, turns, and runs that wait for one
another.
"""

from __future__ import annotations

import os
import stat
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
from unet_bench.host.files import atomic_write
from unet_bench.host.locks import (
    DeviceLocks,
    Held,
    hold,
    lock_file,
    own_folder,
    own_lock_file,
    waiting_file,
)

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
    waiting_file(own_lock_file("cpu")).unlink(missing_ok=True)
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


def test_timed_probes_alone_have_the_host_to_themselves(tmp_path: Path) -> None:
    alone: dict[str, bool] = {}

    class Progress(pipeline.Quiet):
        def cell(self, planned: Any, seconds_left: float) -> None:
            try:
                hold(lock_file(locks.TIMING)).close()
                alone[planned.cell.probe] = False
            except Held as held:
                alone[planned.cell.probe] = held.holder == str(os.getpid())

    timed, others = ("speed", "training", "batch"), ("cost", "memory", "accuracy")
    pipeline.run(
        "unet",
        out=tmp_path / "runs",
        probes=[*timed, *others],
        floors=False,
        steps=1,
        progress=Progress(),
        **TINY,
    )
    assert alone == {**dict.fromkeys(timed, True), **dict.fromkeys(others, False)}


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


# --- what another user may do in a shared folder


@pytest.fixture
def for_ever(monkeypatch: pytest.MonkeyPatch):
    """Hold all users' locks of a host and its processor, as somebody else could."""
    monkeypatch.setattr(locks, "LONGEST_S", 0.2)
    code = "import sys\nfrom unet_bench.host.locks import hold, lock_file\n"
    code += "held = [hold(lock_file(name)) for name in ('timing', 'cpu')]\n"
    code += "print(flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def taken(mine: DeviceLocks, *, timed: bool) -> int:
    """Return how many lock files a cell on the processor gets."""
    held = mine.take("cpu", timed=timed)
    for file in held:
        file.close()
    return len(held)


@no_sharing
@pytest.mark.parametrize("timed", [True, False])
def test_another_user_is_waited_for_so_long_and_then_done_without(
    for_ever: subprocess.Popen[str], timed: bool
) -> None:
    mine, names = DeviceLocks(), 1 + timed
    for _ in range(names):  # one lock after the other
        with pytest.raises(Held, match=str(for_ever.pid)) as held:
            taken(mine, timed=timed)
        assert held.value.longest_s == locks.LONGEST_S
        time.sleep(locks.LONGEST_S)
    assert taken(mine, timed=timed) == names
    assert "held by another user" in mine.notice
    mine.notice = ""
    assert taken(mine, timed=timed) == names
    assert not mine.notice, "it is said once"
    for_ever.communicate("")
    assert taken(mine, timed=timed) == 2 * names


@no_sharing
def test_ones_own_processes_are_waited_for_however_long_it_takes(
    holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LONGEST_S", 0.0)
    holder("timed")
    mine = DeviceLocks()
    for _ in range(3):
        with pytest.raises(Held) as held:
            taken(mine, timed=True)
        assert held.value.longest_s == float("inf")


@no_sharing
def test_a_run_says_how_long_it_waits_for_another_user_and_goes_on(
    for_ever: subprocess.Popen[str], tmp_path: Path
) -> None:
    said: list[str] = []

    class Progress(pipeline.Quiet):
        def waiting(self, reason: str) -> None:
            said.append(reason)

        def done(self, planned: Any, row: dict[str, Any]) -> None:
            said.append(row["status"])

    pipeline.run("unet", out=tmp_path / "runs", probes=["cost"], progress=Progress(), **TINY)
    assert "for at most" in said[0]
    assert "measuring goes on without it" in said[1]
    assert said[2:] == ["ok"]


@no_sharing
def test_a_folder_that_others_can_open_holds_no_lock_of_ours(folder: Path) -> None:
    (folder / f"unet-bench-locks-of-{os.getuid()}").mkdir(mode=0o777)
    (folder / f"unet-bench-locks-of-{os.getuid()}").chmod(0o777)
    with pytest.raises(OSError, match="not this user's alone"):
        own_lock_file("cpu")
    assert taken(DeviceLocks(), timed=False) == 1


class Planted:
    """Something under a name of ours that leads to a victim's file, which must stay as it is."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "victim" / "precious"
        self.file.parent.mkdir()
        self.file.write_text("precious")
        self.file.chmod(0o600)
        os.utime(self.file, (0, 0))

    def put(self, kind: str, place: Path) -> None:
        match kind:
            case "link":
                place.symlink_to(self.file)
            case "dangling":
                place.symlink_to(self.file.with_name("new"))
            case "folder":
                place.symlink_to(self.file.parent, target_is_directory=True)
            case "second name":
                os.link(self.file, place)
            case "fifo":
                os.mkfifo(place)

    def is_untouched(self) -> bool:
        about = self.file.stat()
        same = (self.file.read_text(), stat.S_IMODE(about.st_mode), about.st_mtime)
        return same == ("precious", 0o600, 0) and os.listdir(self.file.parent) == ["precious"]


PLANTED = ("link", "dangling", "folder", "second name", "fifo")
no_links = pytest.mark.skipif(sys.platform == "win32", reason="has no such links")


@no_links
@pytest.mark.parametrize("kind", PLANTED)
def test_nothing_is_written_through_what_stands_where_a_lock_should(
    folder: Path, kind: str
) -> None:
    planted, path = Planted(folder), lock_file("cpu")
    planted.put(kind, path)
    planted.put(kind, waiting_file(path))
    assert free("cpu", timed=True)  # unlocked, rather than not at all
    locks.note_waiting(path)
    assert locks.who_waits(path) == ""
    with pytest.raises(OSError, match=r"link or no plain file|directory"):
        hold(path)
    assert planted.is_untouched()


@no_links
@pytest.mark.parametrize("kind", PLANTED)
def test_the_sweep_follows_nothing_that_is_planted(folder: Path, kind: str) -> None:
    planted = Planted(folder)
    open_to_all = folder / f"{locks.OWN}{locks.boot()}-open"
    open_to_all.mkdir()
    planted.put(kind, open_to_all / locks.OWNED)
    open_to_all.chmod(0o755)
    own = folder / f"{locks.OWN}{locks.boot()}-own"
    own.mkdir(mode=0o700)
    planted.put(kind, own / locks.OWNED)
    planted.put(kind, folder / f"{locks.OWN}{locks.boot()}-link")
    planted.file.with_name(locks.OWNED).write_text("1")  # the linked folder looks like one of ours
    planted.file.parent.chmod(0o700)
    os.utime(planted.file.with_name(locks.OWNED), (0, 0))
    with own_folder():
        pass
    assert planted.file.with_name(locks.OWNED).read_text() == "1"
    planted.file.with_name(locks.OWNED).unlink()
    assert planted.is_untouched()
    assert open_to_all.exists()


def left_behind(folder: Path) -> Path:
    """A folder as a killed process of this host leaves it."""
    left = folder / f"{locks.OWN}{locks.boot()}-left"
    left.mkdir(mode=0o700)
    (left / locks.OWNED).write_text("1")
    os.utime(left / locks.OWNED, (0, 0))
    return left


def test_the_sweep_leaves_what_may_live_on_another_host(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks may not be seen here: that nobody seems to hold a folder proves nothing."""
    left = left_behind(folder)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(locks, "boot", lambda: "another")
        with own_folder() as mine:
            assert left.exists()
            assert "another" in mine.name
    with own_folder():
        assert not left.exists()


@no_links
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give away")
def test_the_sweep_leaves_what_is_another_user_s(folder: Path) -> None:
    left = left_behind(folder)
    os.chown(left, 65534, 65534)
    with own_folder():
        assert left.exists()


def test_an_own_folder_is_closed_to_all_others() -> None:
    with own_folder() as mine:
        assert sys.platform == "win32" or stat.S_IMODE(mine.stat().st_mode) == 0o700


def test_a_holder_is_a_number_or_nothing(folder: Path) -> None:
    """Whatever another user wrote there: it is shown on a terminal."""
    path = folder / "x.lock"
    with hold(path):
        path.write_bytes(b"\x1b[2J" + b"9" * 10_000)
        with pytest.raises(Held) as held:
            hold(path)
    assert held.value.holder == ""


@no_links
@pytest.mark.parametrize("kind", PLANTED)
def test_a_draft_is_a_new_file(folder: Path, kind: str) -> None:
    planted = Planted(folder)
    planted.put(kind, folder / ".report.html")
    with atomic_write(folder / "report.html") as draft:
        draft.write_text("ours")
    assert (folder / "report.html").read_text() == "ours"
    assert planted.is_untouched()
