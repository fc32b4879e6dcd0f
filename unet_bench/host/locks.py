"""Files that processes hold. The system lets go of them when a process ends, however that ends.

A run's folder has one writer. A device has one timing at a time, and nothing of ours runs on it
meanwhile: what is timed holds it alone, all else shares it. A host has one timing at a time, too,
since devices share its processor.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final

from unet_bench.host.files import is_private, open_plain

if sys.platform == "win32":
    import msvcrt

    def _lock(file: FileIO, shared: bool) -> None:
        if shared:  # Windows has no shared locks of this kind: what is not timed goes unlocked
            return
        # Far behind the process id, since Windows lets nobody read what is locked.
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: FileIO, shared: bool) -> None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


POLL_S: Final = 0.5
OWN: Final = "unet-bench-of-"  # what temporary folders are called, before the boot that they are of
OWNED: Final = "owner"  # the file in them that their process holds
YOUNG_S: Final = 60.0  # that nobody looks whether a folder is held: it may be about to be
TIMING: Final = "timing"  # the host's own lock beside its devices'


class Held(Exception):
    """Another process has the lock; `holder` is its id, as far as it said."""

    def __init__(self, holder: str, path: Path) -> None:
        super().__init__(holder)
        self.holder = holder
        self.path = path


def hold(path: Path, *, shared: bool = False) -> FileIO:
    """Lock the file and write this process's id into it; closing it releases the lock.

    Raises Held, and OSError for what is no plain file.
    """
    # Not to create what is there: systems refuse that for another user's file in a shared folder.
    try:
        file = FileIO(open_plain(path, os.O_RDWR), "r+")
    except FileNotFoundError:
        file = FileIO(open_plain(path, os.O_RDWR | os.O_CREAT), "r+")
    try:
        _lock(file, shared)
    except (BlockingIOError, PermissionError) as error:
        with file:
            raise Held(_read_pid(file), path) from error
    except OSError:
        file.close()
        raise
    _write_pid(file)
    return file


def _write_pid(file: FileIO) -> None:
    file.truncate(0)
    file.seek(0)
    file.write(str(os.getpid()).encode())


def _read_pid(file: FileIO) -> str:
    """Return the process id in a file; nothing where it holds anything else."""
    file.seek(0)
    text = file.read(20).decode(errors="replace")
    return text if text.isdecimal() else ""


class DeviceLocks:
    """The locks that cells of this process hold while they run.

    A cell locks its device, shared unless it is timed; then it locks the host's timing, too.
    Processes that see another temporary folder (containers, say) are not kept apart: the guard sees
    what they use.
    """

    def __init__(self) -> None:
        self._had: set[Path] = set()  # since nobody else had a turn
        self._turn_until: dict[Path, float] = {}  # of somebody else

    def take(self, device: str, *, timed: bool) -> list[FileIO]:
        """Return all locks for a cell on a physical device of this host.

        Closing them releases them. Raises Held, and then holds none. Whoever releases and takes
        again while another process polls waits for it once.
        """
        locks: list[FileIO] = []
        try:
            for name in (TIMING, device) if timed else (device,):
                path = lock_file(name)
                self._give_way(path)
                with suppress(OSError):  # what cannot be locked: better unlocked than not at all
                    locks.append(hold(path, shared=not timed))
                    _open_to_all(locks[-1])
                self._had.add(path)
        except Held as error:
            for file in locks:
                file.close()
            if error.holder != str(os.getpid()):
                note_waiting(error.path)
            raise
        return locks

    def _give_way(self, path: Path) -> None:
        waiting = who_waits(path) if path in self._had else ""
        if waiting and waiting != str(os.getpid()):
            with suppress(OSError):
                waiting_file(path).unlink()
            self._had.discard(path)
            self._turn_until[path] = time.monotonic() + 2 * POLL_S
            raise Held(waiting, path)
        if time.monotonic() < self._turn_until.get(path, 0.0):
            raise Held("", path)


def _open_to_all(lock: FileIO) -> None:
    """Let other users hold the lock, too. Raises OSError where the file is another user's."""
    if sys.platform != "win32":
        os.fchmod(lock.fileno(), 0o666)


@contextmanager
def own_folder() -> Iterator[Path]:
    """Yield a temporary folder that nobody else can open, locked while its process lives.

    The next call removes those that killed processes left.
    """
    temporary = Path(tempfile.gettempdir())
    for folder in temporary.glob(f"{OWN}{boot()}-*"):
        with suppress(OSError):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=f"{OWN}{boot()}-", ignore_cleanup_errors=True) as name,
        hold(Path(name, OWNED)),
    ):
        yield Path(name)


def _is_abandoned(folder: Path) -> bool:
    """Return whether this user's process that made a folder since the last boot is dead.

    Only then is its lock free: all processes since the last boot share locks, also on a network
    file system whose locks no other host sees. Raises OSError.
    """
    if not is_private(folder):
        return False
    with FileIO(open_plain(folder / OWNED, os.O_RDWR), "r+") as file:
        age_s = time.time() - os.fstat(file.fileno()).st_mtime
        if age_s > YOUNG_S:
            _lock(file, shared=False)
        return age_s > YOUNG_S


@functools.cache
def boot() -> str:
    """Return what tells the system since its last boot from others; elsewhere the host's name."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        name = platform.node()
    return re.sub(r"[^0-9A-Za-z]", "", name)[:16]


def lock_file(name: str) -> Path:
    """Return where all processes of this host look for a lock."""
    return Path(tempfile.gettempdir()) / f"unet-bench-{name}.lock"


def waiting_file(path: Path) -> Path:
    """Return where a process that polls for a lock says so."""
    return path.with_suffix(".waiting")


def note_waiting(path: Path) -> None:
    """Say that this process polls for a lock; nothing where the file cannot be written."""
    with (
        suppress(OSError),
        FileIO(open_plain(waiting_file(path), os.O_RDWR | os.O_CREAT), "r+") as file,
    ):
        _write_pid(file)


def who_waits(path: Path) -> str:
    """Return the id of a process that polls for a lock now; nothing where none does."""
    with suppress(OSError), FileIO(open_plain(waiting_file(path), os.O_RDONLY)) as file:
        if time.time() - os.fstat(file.fileno()).st_mtime < 2 * POLL_S:
            return _read_pid(file)
    return ""
