"""What a person sees of a plan, and of a run while it goes on: a plain line a cell in a file."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unet_bench.present.stdout import stdout

if TYPE_CHECKING:
    from unet_bench.plan.cells import Plan, Planned


class Watcher:
    """Prints what runs now and when it will all end.

    It writes only when something happens, so that it does not occupy a core.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.path: Path | None = None
        self.ended = 0
        self.total = 0

    def begin(self, planned: Sequence[Planned], path: Path, seconds: float) -> None:
        """Say what will be done, and where it goes."""
        self.path, self.ended, self.total = path, 0, len(planned)
        self.console.print(
            f"{len(planned)} cells, about {span(seconds)}, into {path}",
            markup=False,
            highlight=False,
        )

    def cell(self, planned: Planned, seconds_left: float) -> None:
        """Say which cell runs, on a terminal only."""
        if self.console.is_terminal and not planned.status:
            end = (datetime.now() + timedelta(seconds=seconds_left)).strftime("%H:%M")
            self._line(
                f"[{self.ended + 1}/{self.total}] {planned.cell.probe} {planned.names[0]} … "
                f"all by about {end}",
                "\r",
            )

    def done(self, planned: Planned, row: dict[str, Any]) -> None:
        """Say how a cell ended. A second attempt at one counts as another."""
        self.ended += 1
        self.total = max(self.ended, self.total)
        if self.console.is_terminal:
            self._line("", "\r")
            if row["status"] in ("ok", "unsupported", "skipped"):
                return
        note = f": {row['error']}" if row.get("error") else f" {planned.probe.figures_text(row)}"
        names = ", ".join(planned.names)
        self._line(
            f"[{self.ended}/{self.total}] {planned.cell.probe} {names}: {row['status']}{note}",
            "\n",
        )

    def waiting(self, reason: str) -> None:
        """Say what the run waits for."""
        self._line(reason, "\n")

    def _line(self, text: str, end: str) -> None:
        width = self.console.width - 1
        shown = text[:width].ljust(width) if self.console.is_terminal and end == "\r" else text
        self.console.file.write(shown + end)
        self.console.file.flush()


@contextmanager
def examining() -> Iterator[Callable[[int, int], None]]:
    """Yield what prints how many networks are examined, where that takes more than a moment.

    A line on stderr that changes, or one every ten seconds where there is no terminal.
    """
    screen = Console(file=sys.stderr)
    every_s = 0.1 if screen.is_terminal else 10.0
    printed = time.monotonic() + 1.0 - every_s

    def watch(examined: int, total: int) -> None:
        nonlocal printed
        if (now := time.monotonic()) >= printed + every_s:
            printed = now
            text, end = f"examined {examined} of {total} networks", "\n"
            if screen.is_terminal:
                text, end = text.ljust(screen.width - 1), "\r"
            screen.file.write(text + end)
            screen.file.flush()

    yield watch
    if screen.is_terminal:
        screen.file.write("\r" + " " * (screen.width - 1) + "\r")


@contextmanager
def watcher() -> Iterator[Watcher]:
    """Return a watcher on stderr, so that stdout stays for tables."""
    console = Console(file=sys.stderr)
    yield Watcher(console)
    if console.is_terminal:
        console.file.write("\r" + " " * (console.width - 1) + "\r")


def console() -> Console:
    """Return where tables go, as wide as the terminal.

    Where there is no terminal, it is wide enough for tables to be read.
    """
    screen = Console(file=stdout())
    return screen if screen.is_terminal else Console(file=stdout(), width=160)


def span(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} hours"


def plan_table(planned: Sequence[Planned]) -> list[dict[str, Any]]:
    """Return one record a cell: what it is, what it will cost, or why it will not run."""
    return [
        {
            "cell_id": p.cell.id,
            "variant": p.names[0],
            "also": list(p.names[1:]),
            "probe": p.cell.probe,
            "task": p.cell.task.name,
            "seed": p.cell.seed,
            "replicate": p.cell.replicate,
            "input": list(p.cell.input_window.input),
            "output": list(p.cell.input_window.output),
            "width_scale": p.cell.variant.choices.width_scale,
            "params": p.params,
            "macs": p.macs,
            "setting": dataclasses.asdict(p.cell.setting),
            "predicted_memory_mib": p.predicted_mib,
            "predicted_train_memory_mib": p.predicted_train_mib,
            "predicted_s": round(p.seconds, 2),
            "status": p.status or "to run",
            "reason": p.reason or None,
        }
        for p in planned
    ]


def plan_text(plan: Plan) -> None:
    """Print the cells: a line a variant and task, probes side by side."""
    table = Table(box=None, pad_edge=False)
    for heading in (
        "variant",
        "task",
        "input",
        "output",
        "Mparams",
        "GMACs",
        "infer MiB",
        "train MiB",
        "cells",
        "seconds",
        "notes",
    ):
        table.add_column(
            heading,
            justify="left" if heading in ("variant", "task", "notes") else "right",
            no_wrap=heading not in ("variant", "notes"),
            overflow="fold",
            ratio=1 if heading == "notes" else None,
        )
    groups: dict[tuple[Any, ...], list[Planned]] = {}
    for p in plan.planned:
        groups.setdefault((p.names, p.cell.task), []).append(p)
    for (names, task), cells in groups.items():
        first = cells[0]
        infer = max((p.predicted_mib for p in cells if p.predicted_mib), default=None)
        train = max((p.predicted_train_mib for p in cells if p.predicted_train_mib), default=None)
        notes = [*_matching(plan, first), *_decided(cells)]
        table.add_row(
            escape(" = ".join(names)),
            escape(task.name),
            "×".join(map(str, first.cell.input_window.input)),
            "×".join(map(str, first.cell.input_window.output)),
            f"{first.params / 1e6:.2f}" if first.params else "",
            f"{first.macs / 1e9:.2f}" if first.macs else "",
            f"{infer:,.0f}" if infer else "",
            f"{train:,.0f}" if train else "",
            str(sum(not p.status for p in cells)),
            f"{sum(p.seconds for p in cells):.0f}",
            escape("; ".join(notes)),
        )
    screen = console()
    screen.print(table)
    open_cells = [p for p in plan.planned if not p.status]
    total = span(plan.seconds(open_cells))
    suite = plan.suite
    batches = ", ".join(map(str, suite.batch))
    width = f"width × {suite.width_scale:g}"
    if suite.match:
        width += f", scaled to the baseline's {suite.match}"
    side_by_side = f", {plan.at_once} side by side" if plan.at_once > 1 else ""
    screen.print(
        f"{len(open_cells)} cells to run{side_by_side}, about {total}; preset {suite.preset}, "
        f"{width}, {suite.size} scored, {suite.budget} of training, batch {batches}; "
        "memory as predicted, at its highest over the settings",
        markup=False,
        highlight=False,
    )


def _decided(cells: Sequence[Planned]) -> list[str]:
    """Return what will not run, and why: probes with one reason together."""
    probes: dict[tuple[str, str], set[str]] = {}
    for p in cells:
        if p.status not in ("", "ok"):
            probes.setdefault((p.status, p.reason), set()).add(p.cell.probe)
    return sorted(
        f"{status} ({', '.join(sorted(of))}): {reason}" for (status, reason), of in probes.items()
    )


def _matching(plan: Plan, planned: Planned) -> list[str]:
    """Return at which width a variant meets the baseline's cost, and how nearly.

    Such as `width × 0.2466, params -0.3 %`.
    """
    figure = plan.suite.match
    if not figure or planned.status or planned.cell.variant.trivial:
        return []
    cell, reached = planned.cell, getattr(planned, figure)
    of_task = (
        p for p in plan.planned if p.cell.task == cell.task and cell.baseline.name in p.names
    )
    change = reached / getattr(next(of_task), figure) - 1
    return [
        f"width × {cell.variant.choices.width_scale:g}, {figure} {change:+.1%}".replace("%", " %")
    ]
