"""A run watched from elsewhere: its rows as they come, without a hand in it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from unet_bench.errors import UnknownName
from unet_bench.host.locks import is_held
from unet_bench.registry.registry import Registry
from unet_bench.store.log import Row, iterate_rows, read_manifest
from unet_bench.store.run_folder import RunFolder
from unet_bench.text_format import first_line, printable

POLL_S: Final = 2.0


def endings(
    path: Path, registry: Registry, sleep: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Yield a line for each row of a run, those that are there first, until nobody writes to it.

    Raises StoreError where there is no run.
    """
    read_manifest(path)
    told = 0
    while True:
        is_written = is_held(RunFolder(path).lock)  # before the rows are read: none is missed
        for row in itertools.islice(iterate_rows(path), told, None):
            told += 1
            yield ending(row, registry)
        if not is_written:
            return
        sleep(POLL_S)


def ending(row: Row, registry: Registry) -> str:
    """Return how a cell ended, in a line."""
    seed = f" seed {row['seed']}" if row.get("dice") is not None else ""
    text = f"{row['probe']} {row['variant']}{seed}: {row['status']}"
    if why := first_line(row.get("error") or ""):
        return printable(f"{text}: {why}")
    try:
        figures = registry.probe(row["probe"]).figures_text(row)
    except UnknownName:  # of a plugin that is not installed here
        figures = ""
    return printable(f"{text} {figures}".rstrip())
