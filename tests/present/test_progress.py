"""What a person sees of a run while it goes on, on a terminal and without one."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from unet_bench.present.best_so_far import BestSoFar
from unet_bench.present.progress import Lenient, Watcher, stderr_console
from unet_bench.store.run_folder import RunFolder
from unet_bench.store.schema import SCHEMA_VERSION

RUN = Path("runs/one")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def planned(name: str, *, seed: int = 0, seconds: float = 10.0, timed: bool = False) -> Any:
    """Return a cell of a plan, as far as it is looked at."""
    kind = "speed" if timed else "accuracy"
    probe = SimpleNamespace(figures_text=lambda row: "fine", timed=timed, scores=not timed)
    cell = SimpleNamespace(probe=kind, id=f"{name}-{seed}", seed=seed)
    return SimpleNamespace(names=(name,), status="", seconds=seconds, probe=probe, cell=cell)


def row(of: Any, dice: float | None = None, **changes: Any) -> dict[str, Any]:
    """Return the row that a cell ended with."""
    columns = {
        "cell_id": of.cell.id,
        "status": "ok",
        "task": "cells",
        "budget": "100 steps",
        "variant": of.names[0],
        "trivial": of.names[0].startswith("floor"),
        "seed": of.cell.seed,
        "dice": dice,
    }
    return columns | changes


class Terminal:
    """A terminal without colours; `drawn` is what it shows since the last redraw."""

    def __init__(self, width: int = 100, *, encoding: str = "utf-8", **options: Any) -> None:
        self.bytes = io.BytesIO()
        file = io.TextIOWrapper(self.bytes, encoding, "backslashreplace", newline="")
        # Wherever the tests run, dumb terminals too.
        environ = {"TERM": "xterm", "COLUMNS": str(width), "LINES": "24", "NO_COLOR": "1"}
        self.console = Console(file=file, force_terminal=True, _environ=environ, **options)

    def written(self) -> str:
        return self.bytes.getvalue().decode(self.console.encoding)

    def drawn(self) -> list[str]:
        return CONTROL.sub("", self.written().rpartition("\x1b[2K")[2]).split("\n")


def plain() -> tuple[Watcher, io.StringIO]:
    """Return a watcher that writes where no terminal is, and what it writes."""
    out = io.StringIO()
    return Watcher(Console(file=out, force_terminal=False)), out


def test_lines_count_what_has_ended_however_much_has_begun() -> None:
    watcher, out = plain()
    cells = [planned(name) for name in ("unet", "unet-add", "segnet")]
    watcher.begin(cells[:2], RUN, 60.0)
    for cell in cells[:2]:
        watcher.cell(cell, 30.0)
    for cell in (cells[1], cells[0], cells[0]):  # the last one at its second attempt
        watcher.done(cell, row(cell))
    watcher.begin([], RUN, 0.0)
    watcher.begin(cells[2:], RUN, 30.0)
    watcher.done(cells[2], row(cells[2], status="unsupported", error="no\nway"))
    assert out.getvalue().splitlines() == [
        "2 cells, about 60 s, into runs/one",
        "[1/2] accuracy unet-add: ok fine",
        "[2/2] accuracy unet: ok fine",
        "[3/3] accuracy unet: ok fine",
        "1 more cell, about 30 s",
        "[4/4] accuracy segnet: unsupported: no way",
    ]


def test_lines_name_the_best_only_when_another_leads() -> None:
    watcher, out = plain()
    cells = [planned("floor-otsu"), planned("unet"), planned("unet-add"), planned("unet", seed=1)]
    watcher.begin(cells, RUN, 60.0)
    for cell, dice in zip(cells, (0.9, 0.8, 0.7, 0.82), strict=True):
        watcher.done(cell, row(cell, dice))
    watcher.done(cells[2], row(cells[2], 0.85))
    told = [line for line in out.getvalue().splitlines() if line.startswith("best")]
    otsu = "without training: floor-otsu 0.900"
    assert told == [
        f"best so far: unet, Dice 0.800 (1 seed); {otsu}",
        f"best so far: unet-add, Dice 0.850 (1 seed); {otsu}",
    ]


def test_a_terminal_shows_bar_best_failed_and_what_runs() -> None:
    terminal = Terminal()
    with Watcher(terminal.console) as watcher:
        cells = [planned(name, seed=seed) for seed in (0, 1) for name in ("unet", "unet-add")]
        watcher.begin(cells, RUN, 20.0)
        watcher.cell(cells[0], 20.0)
        watcher.cell(cells[1], 20.0)
        watcher.done(cells[0], row(cells[0], 0.8))
        watcher.cell(cells[2], 10.0)
        watcher.done(cells[1], row(cells[1], status="error", error="out of\nluck"))
        bar, best, *running = terminal.drawn()
        assert re.fullmatch(r"━+╸? +2/4 cells, 1 failed, all by about \d\d:\d\d *", bar)
        assert 0.45 < bar.count("━") / bar.index("2/4") < 0.55
        assert best == "best so far: unet, Dice 0.800 (1 seed)"
        (runs,) = running
        assert re.fullmatch(r"accuracy unet seed 1 +since \d\d:\d\d:\d\d", runs)
        watcher.cell(cells[3], 3e5)
        assert re.search(r"all by about \d\d:\d\d on \d\d \w{3} *$", terminal.drawn()[0])
        for cell in cells[2:]:
            watcher.done(cell, row(cell))
        assert terminal.drawn()[0].rstrip().endswith("4/4 cells, 1 failed")
        assert "\n[2/4] accuracy unet-add: error: out of luck\n" in CONTROL.sub(
            "\n", terminal.written()
        )
        assert "accuracy unet: ok" not in terminal.written()
    assert not terminal.drawn()[0].strip()


def test_the_bar_is_of_foreseen_seconds_in_which_some_cells_run_side_by_side() -> None:
    terminal = Terminal()
    watcher = Watcher(terminal.console)
    timed = planned("unet", timed=True, seconds=30.0)
    trainings = [planned("unet", seed=seed, seconds=70.0) for seed in (0, 1)]
    watcher.begin([timed, *trainings], RUN, 100.0)  # 30 s, and two times 70 s at once
    watcher.cell(timed, 100.0)
    watcher.done(timed, row(timed))
    assert watcher.share() == pytest.approx(0.3)
    watcher.done(trainings[0], row(trainings[0], status="killed"))
    watcher.done(trainings[0], row(trainings[0]))
    assert watcher.share() == pytest.approx(0.65)
    watcher.begin([planned("segnet", seconds=100.0)], RUN, 100.0)
    assert watcher.share() == pytest.approx(0.325)
    assert "0 failed" not in terminal.drawn()[0]
    assert "3/5 cells, all by" in terminal.drawn()[0]
    watcher.begin([timed], Path("runs/two"), 30.0)
    assert (watcher.ended, watcher.total, watcher.share()) == (0, 1, 0.0)


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_drawn_line_is_so_long_that_a_terminal_breaks_it(width: int) -> None:
    terminal = Terminal(width)
    watcher = Watcher(terminal.console)
    cells = [planned(f"{name}-network-of-a-long-name") for name in ("one", "two")]
    watcher.begin(cells, RUN, 20.0)
    watcher.done(cells[1], row(cells[1], 0.5))
    watcher.cell(cells[0], 10.0)
    drawn = terminal.drawn()
    assert max(map(len, drawn)) <= width - 4
    assert "one-network-of-a-long-name" in re.sub(r"\s|since|[\d:]{5,}", "", "".join(drawn))


def test_more_workers_than_lines_are_counted() -> None:
    terminal = Terminal()
    watcher = Watcher(terminal.console)
    cells = [planned("unet", seed=seed) for seed in range(64)]
    watcher.begin(cells, RUN, 20.0)
    for cell in cells:
        watcher.cell(cell, 10.0)
    shown = terminal.drawn()
    assert len(shown) < 24
    assert shown[-1] == f"and {64 - (len(shown) - 2)} more"


def test_the_cursor_is_never_left_hidden_and_stderr_is_given_back() -> None:
    before, threads = (sys.stdout, sys.stderr), threading.active_count()
    terminal = Terminal()
    with Watcher(terminal.console) as watcher:
        watcher.begin([planned("unet")], RUN, 20.0)
        shows, hides = (terminal.written().rfind(f"\x1b[?25{end}") for end in "hl")
        assert shows > hides  # so that it is there after kill -9, too
        assert sys.stderr is not before[1]  # what is printed there comes above the bar
        assert threading.active_count() == threads  # none that redraws beside a timed cell
    assert (sys.stdout, sys.stderr) == before


def test_a_terminal_without_unicode_gets_what_it_has_in_as_many_columns() -> None:
    terminal = Terminal(encoding="ascii")
    watcher = Watcher(terminal.console)
    cells = [planned("unet-µ×"), planned("segnet")]
    watcher.begin(cells, RUN, 20.0)
    watcher.done(cells[1], row(cells[1]))
    watcher.cell(cells[0], 10.0)
    assert terminal.drawn()[0].startswith("--")
    assert terminal.drawn()[-1].startswith("accuracy unet-?? seed 0")


def test_what_a_run_had_before_counts_for_the_best(tmp_path: Path) -> None:
    kept = row(planned("segnet"), 0.9, schema_version=SCHEMA_VERSION, probe="accuracy")
    del kept["budget"], kept["trivial"]  # as rows of the first runs
    RunFolder(tmp_path).cells.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    terminal = Terminal()
    Watcher(terminal.console).begin([planned("unet")], tmp_path, 20.0)
    assert "best so far: segnet, Dice 0.900 (1 seed)" in terminal.drawn()


def test_trainings_are_compared_with_those_of_their_length() -> None:
    best = BestSoFar()
    short, long = planned("unet"), planned("unet-add", seed=1)
    best.take(row(short, 0.9))
    best.take(row(long, 0.8, budget="300 steps"))
    assert best.sentences() == {"cells": "best so far: unet-add, Dice 0.800 (1 seed)"}
    best.take(row(long, status="nonfinite", budget="300 steps"))
    assert best.sentences() == {"cells": "best so far: unet, Dice 0.900 (1 seed)"}
    best.take(row(planned("floor-otsu"), 0.5, task="brain"))
    assert best.sentences() == {
        "cells": "best so far on cells: unet, Dice 0.900 (1 seed)",
        "brain": "best so far on brain: nothing trained yet; without training: floor-otsu 0.500",
    }


class Gone(io.StringIO):
    """A file whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise OSError(5, "no terminal any more")


def closed() -> io.StringIO:
    """Return a file that is closed."""
    file = io.StringIO()
    file.close()
    return file


@pytest.mark.parametrize("file", [None, Gone(), closed()], ids=["none", "gone", "closed"])
@pytest.mark.parametrize("drawn", [True, False])
def test_a_print_that_fails_ends_no_run(file: Any, drawn: bool, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", file)
    console = Console(file=Lenient(file), force_terminal=True) if drawn else stderr_console()  # type: ignore[arg-type]
    with Watcher(console) as watcher:
        watcher.begin([planned("unet")], RUN, 20.0)
        watcher.done(planned("unet"), row(planned("unet"), status="error"))
    assert watcher.ended == 1


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_it_is_drawn_on_terminals_alone_whatever_colours_are_asked_for(
    variable: str, monkeypatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not stderr_console().is_interactive
    ends = os.openpty()
    with os.fdopen(ends[0], "rb"), os.fdopen(ends[1], "w") as screen:
        monkeypatch.setattr(sys, "stderr", screen)
        assert stderr_console().is_interactive
        monkeypatch.setenv("TERM", "dumb")
        assert not stderr_console().is_interactive
