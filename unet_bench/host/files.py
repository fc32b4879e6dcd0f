"""How a file is put where others read it: written beside its place, then renamed into it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
        yield draft
        if durable:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink()
