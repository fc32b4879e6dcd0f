"""How files are opened and put in place where others may have put something before."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Links are not followed, and a FIFO that nobody writes to is not waited for. Windows has neither.
_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def open_plain(path: Path, flags: int) -> int:
    """Open a file by its only name, and return its descriptor; nothing in it has changed by then.

    In a folder that others can write to, a name may be a link to any file of this user's. Raises
    OSError for a link, for a file that has a second name, and for what is no file.
    """
    unlike = (
        f"{path.name} is a link or no plain file, perhaps put there by somebody else; remove it"
    )
    try:
        descriptor = os.open(path, flags | _AS_IT_IS, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise OSError(errno.ELOOP, unlike, str(path)) from error
        raise
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
        os.close(descriptor)
        raise OSError(errno.ELOOP, unlike, str(path))
    return descriptor


def is_private(folder: Path) -> bool:
    """Return whether this is a folder of this user's, and nobody else can open it.

    On Windows, where temporary folders are each user's own, every folder is. Raises OSError.
    """
    about = folder.lstat()
    if not hasattr(os, "getuid"):
        return stat.S_ISDIR(about.st_mode)
    closed = not about.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and closed


@contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a draft to write to, which takes the place of `path` when the block ends well.

    Readers see the whole file or what was there before, and so does whoever looks after a kill.
    `durable` waits until the content is on disk, so that this holds after a power cut, too.
    Each draft has a name of its own, since others may write the same file now. The draft begins
    with a dot and keeps the file's ending, by which libraries choose a format. Raises OSError.
    """
    draft = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        # A new file: a link that somebody else put here would lead what is written elsewhere.
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield draft
        if durable:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink()
