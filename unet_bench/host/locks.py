"""Files that processes hold. The system lets go of them when a process ends, however that ends.

A run's folder has one writer. A device has one timing at a time, and nothing of ours runs on it
meanwhile: what is timed holds it alone, all else shares it. A host has one timing at a time, too,
since devices share its processor.

Each such lock is two files. One lies in a folder that nobody but this user can open: between one
user's own processes it is kept, however long that takes. The other is for all users of the host,
any of whom could keep it for ever: it is waited for so long, and then done without.
"""

from __future__ import annotations

import functools
import math
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
LONGEST_S: Final = 1800.0  # that other users are waited for


class Held(Exception):
    """Another process has the lock; `holder` is its id, as far as it said.

    It is waited for no longer than `longest_s`.
    """

    def __init__(self, holder: str, path: Path) -> None:
        super().__init__(holder)
        self.holder = holder
        self.path = path
        self.longest_s = math.inf


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


def is_held(path: Path) -> bool:
    """Return whether a process holds a lock alone. Nothing is written; Windows does not tell."""
    try:
        file = FileIO(open_plain(path, os.O_RDONLY), "r")
    except OSError:
        return False
    with file:
        try:
            _lock(file, shared=True)
        except (BlockingIOError, PermissionError):
            return True
        except OSError:
            return False
    return False


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
        self.notice = ""  # what was done without, for whoever takes to tell and to empty
        self._had: set[Path] = set()  # since nobody else had a turn
        self._turn_until: dict[Path, float] = {}  # of somebody else
        self._held_since: dict[Path, float] = {}  # by another user, without a moment in which not
        self._done_without: set[Path] = set()

    def take(self, device: str, *, timed: bool) -> list[FileIO]:
        """Return all locks for a cell on a physical device of this host.

        Closing them releases them. Raises Held, and then holds none. Whoever releases and takes
        again while another process polls waits for it once.
        """
        locks: list[FileIO] = []
        try:
            for name in (TIMING, device) if timed else (device,):
                # What cannot be locked: better unlocked than not at all.
                with suppress(OSError):
                    locks += self._take(own_lock_file(name), timed)
                with suppress(OSError):
                    locks += self._take_of_all(lock_file(name), timed)
        except Held as error:
            for file in locks:
                file.close()
            if error.holder != str(os.getpid()):
                note_waiting(error.path)
            raise
        return locks

    def _take(self, path: Path, timed: bool) -> list[FileIO]:
        self._give_way(path)
        lock = hold(path, shared=not timed)
        self._had.add(path)
        return [lock]

    def _take_of_all(self, path: Path, timed: bool) -> list[FileIO]:
        """Return the lock of all users; nothing where others held it for `LONGEST_S`."""
        try:
            locks = self._take(path, timed)
        except Held as error:
            error.longest_s = LONGEST_S
            since = self._held_since.setdefault(path, time.monotonic())
            if time.monotonic() < since + LONGEST_S:
                raise
            if path not in self._done_without:
                self._done_without.add(path)
                self.notice = (
                    f"{path}: held by another user for {LONGEST_S / 60:g} minutes: measuring goes "
                    "on without it, and what is timed may be slowed down by what they run"
                )
            return []
        self._held_since.pop(path, None)
        self._done_without.discard(path)
        with suppress(OSError):  # another user's file, which is open to all already
            _open_to_all(locks[0])
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


def own_lock_file(name: str) -> Path:
    """Return where this user's processes look for a lock that nobody else can hold.

    Raises OSError where somebody else put something in the way.
    """
    user = os.getuid() if hasattr(os, "getuid") else "me"
    folder = Path(tempfile.gettempdir()) / f"unet-bench-locks-of-{user}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not is_private(folder):
        raise OSError(f"{folder} is not this user's alone; remove it")
    return folder / f"{name}.lock"


def is_of(path: Path, name: str) -> bool:
    """Return whether a path is one of the two files of a lock."""
    return path.name in (f"{name}.lock", lock_file(name).name)


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
