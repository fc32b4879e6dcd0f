"""What is made once however many processes run tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def once(folder: Path, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder `name` that `make` fills, made by the first process to ask for it.

    `folder` is pytest's temporary folder; that of all workers of pytest-xdist is its parent.
    """
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    made, draft = shared / name, shared / f"{name}.draft"
    with FileLock(shared / f"{name}.lock"):
        if not made.exists():
            draft.mkdir()
            make(draft)
            draft.rename(made)
    return made
