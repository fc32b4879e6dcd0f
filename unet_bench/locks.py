"""Files that one process holds at a time. The system lets go of them when the process ends, however that ends."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final

if sys.platform == "win32":
    import msvcrt

    def _lock(file: FileIO) -> None:
        file.seek(1 << 30)  # far behind the process id, since Windows lets nobody read what is locked
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


POLL_S: Final = 0.5


class Held(Exception):
    """Another process has the lock; `holder` is its id, as far as it said."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def hold(path: Path) -> FileIO:
    """Lock the file and write this process's id into it; closing it lets go. Raises Held, OSError."""
    file = FileIO(path, "a+")
    try:
        _lock(file)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        holder = file.read().decode(errors="replace")
        file.close()
        raise Held(holder) from error
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    return file


def physical(device: str) -> str:
    """A device's name for all processes of this host: `cuda` is the first GPU, as CUDA_VISIBLE_DEVICES numbers them."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return kind
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    number = int(index or 0)
    return f"cuda-{visible[number] if number < len(visible) and visible[number] else number}"


@contextmanager
def timing_lock(device: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Time on this device alone: one process a host for the CPU, one for each GPU.

    Waits for a living holder, after saying so once; a dead one's lock is free. Processes that see another temporary
    folder (containers, say) are not kept apart by it: the guard sees what they use.
    """
    path = Path(tempfile.gettempdir()) / f"unet-bench-{physical(device)}.lock"
    queue = path.with_suffix(".waiting")
    with suppress(OSError):  # somebody polls for it: let them have their turn between two of our cells
        if time.time() - queue.stat().st_mtime < 2 * POLL_S:
            queue.unlink()
            time.sleep(2 * POLL_S)
    file, told = None, False
    while file is None:
        try:
            file = hold(path)
        except Held as error:
            if not told:
                waiting(f"waiting for process {error.holder or '?'}, which is timing on {device}: {path}")
            told = True
            with suppress(OSError):
                queue.touch()
            time.sleep(POLL_S)
        except OSError:  # another user's file: better unlocked than not at all
            break
    if file is not None:
        with suppress(OSError):
            os.chmod(path, 0o666)
    try:
        yield
    finally:
        if file is not None:
            file.close()
