"""Plain data that can be found again, kept in a folder of the user's until something changes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from unet_bench.host.files import atomic_write, is_private
from unet_bench.limits import MOST_TEXT, read_json

VARIABLE: Final = "UNET_BENCH_CACHE"
KEPT_FILES: Final = 4  # of one kind: those of older software go


def cache_folder() -> Path | None:
    """Return the user's cache folder for this program, made where it is absent.

    `$UNET_BENCH_CACHE` names another, or none where it is empty. `None`, too, where it cannot be
    made, or others can open it.
    """
    named = os.environ.get(VARIABLE)
    if named == "":
        return None
    try:
        folder = Path(named) if named else _usual_folder() / "unet-bench"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if is_private(folder) else None
    except (OSError, RuntimeError):  # no home
        return None


def _usual_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def read_entries(file: Path) -> dict[str, Any]:
    """Return what `add_entries` wrote; nothing where the file is absent or anything else."""
    with suppress(OSError, ValueError, RecursionError):
        if not file.is_symlink() and isinstance(found := read_json(file), dict):
            return found
    return {}


def add_entries(file: Path, entries: Mapping[str, Any]) -> None:
    """Add entries to a file, and remove files like it that were not written for longest.

    Files are alike that have the same name up to the first hyphen. Without a word where nothing
    can be written: it can be found again. Of two that write at once the later one's entries stay.
    """
    text = json.dumps({**read_entries(file), **entries})
    with suppress(OSError):
        with atomic_write(file) as draft:
            draft.write_text(text if len(text) < MOST_TEXT else json.dumps(dict(entries)), "utf-8")
        alike = file.parent.glob(f"{file.name.partition('-')[0]}-*{file.suffix}")
        for old in sorted(alike, key=lambda one: one.stat().st_mtime)[:-KEPT_FILES]:
            old.unlink(missing_ok=True)
