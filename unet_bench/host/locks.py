"""Files that processes hold. The system lets go of them when a process ends, however that ends.

A run's folder has one writer. A device has one timing at a time, and nothing of ours runs on it
meanwhile: what is timed holds it alone, all else shares it. A host has one timing at a time, too,
since devices share its processor.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final

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
OWN: Final = "unet-bench-of-"  # what temporary folders are called
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

    Raises Held, OSError.
    """
    # Not to create what is there: systems refuse that for another user's file in a shared folder.
    try:
        file = FileIO(os.open(path, os.O_RDWR), "r+")
    except FileNotFoundError:
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    try:
        _lock(file, shared)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        holder = file.read().decode(errors="replace")
        file.close()
        raise Held(holder, path) from error
    file.truncate(0)
    file.seek(0)
    file.write(str(os.getpid()).encode())
    return file


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
        held: list[FileIO] = []
        try:
            for name in (TIMING, device) if timed else (device,):
                path = lock_file(name)
                self._give_way(path)
                with suppress(OSError):  # another user's file: better unlocked than not at all
                    held.append(hold(path, shared=not timed))
                    os.chmod(path, 0o666)
                self._had.add(path)
        except Held as error:
            for file in held:
                file.close()
            if error.holder != str(os.getpid()):
                with suppress(OSError):
                    waiting_file(error.path).write_text(str(os.getpid()))
            raise
        return held

    def _give_way(self, path: Path) -> None:
        queue = waiting_file(path)
        with suppress(OSError):
            fresh = time.time() - queue.stat().st_mtime < 2 * POLL_S
            if fresh and path in self._had and (other := queue.read_text()) != str(os.getpid()):
                queue.unlink()
                self._had.discard(path)
                self._turn_until[path] = time.monotonic() + 2 * POLL_S
                raise Held(other, path)
        if time.monotonic() < self._turn_until.get(path, 0.0):
            raise Held("", path)


@contextmanager
def own_folder() -> Iterator[Path]:
    """Yield a temporary folder, locked while its process lives.

    The next call removes those that killed processes left.
    """
    for lock in Path(tempfile.gettempdir()).glob(f"{OWN}*/{OWNED}"):
        with suppress(Held, OSError):
            if time.time() - lock.stat().st_mtime > YOUNG_S:
                hold(lock).close()
                shutil.rmtree(lock.parent, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=OWN, ignore_cleanup_errors=True) as name,
        hold(Path(name, OWNED)),
    ):
        yield Path(name)


def lock_file(name: str) -> Path:
    """Return where all processes of this host look for a lock."""
    return Path(tempfile.gettempdir()) / f"unet-bench-{name}.lock"


def waiting_file(path: Path) -> Path:
    """Return where a process that polls for a lock says so."""
    return path.with_suffix(".waiting")
