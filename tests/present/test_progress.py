"""What a person sees of a run while cells of it run side by side."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from unet_bench.present.progress import Watcher


def planned(name: str) -> Any:
    probe = SimpleNamespace(figures_text=lambda row: "fine")
    return SimpleNamespace(
        names=(name,), status="", probe=probe, cell=SimpleNamespace(probe="accuracy")
    )


def test_lines_count_what_has_ended_however_much_has_begun() -> None:
    out = io.StringIO()
    watcher = Watcher(Console(file=out))
    cells = [planned(name) for name in ("unet", "unet-add", "segnet")]
    watcher.begin(cells[:2], Path("runs/one"), 60.0)
    for cell in cells[:2]:
        watcher.cell(cell, 30.0)
    for cell in (cells[1], cells[0], cells[0]):  # the last one at its second attempt
        watcher.done(cell, {"status": "ok"})
    assert out.getvalue().splitlines() == [
        "2 cells, about 60 s, into runs/one",
        "[1/2] accuracy unet-add: ok fine",
        "[2/2] accuracy unet: ok fine",
        "[3/3] accuracy unet: ok fine",
    ]
