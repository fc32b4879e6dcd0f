"""What a person sees of a plan, and of a run while it goes on."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from unet_bench.errors import StoreError
from unet_bench.present.best_so_far import BestSoFar
from unet_bench.present.stdout import is_quiet, stdout
from unet_bench.present.terminal import Styled
from unet_bench.store.log import iterate_rows
from unet_bench.text_format import counted, printable

if TYPE_CHECKING:
    from unet_bench.plan.cells import Plan, Planned

WELL: Final = ("ok", "unsupported", "skipped")  # what is no failure
NARROW: Final = 70  # columns; a narrower terminal shows the bar on a line of its own
ECHO: Final = 4  # columns left empty, for the ^C that a terminal writes there
BURST_S: Final = 0.1  # between two redraws while results are found that need no run

CellName = tuple[str, str]


class Watcher:
    """Shows how a run goes on: on a terminal a bar and what runs now, elsewhere a line a cell.

    All of it goes to stderr, so that stdout stays for tables. It redraws when something happens
    and at no other time, so that nothing of it runs beside a timed cell. A context manager:
    afterwards what was drawn is gone from the terminal, and printed lines stay.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or stderr_console()
        self.path: Path | None = None
        self._live: Live | None = None
        self._drawn = 0.0  # of the monotonic clock
        self._examined = ""
        self._told = 0.0  # of the monotonic clock, too: how many are examined
        self._said: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        self.ended = 0
        self.total = 0
        self._end = datetime.now()
        self._seconds = 0.0  # foreseen for all cells
        self._seconds_done = 0.0
        self._foreseen: dict[CellName, float] = {}
        self._running: dict[CellName, tuple[Planned, datetime]] = {}
        self._failed: set[CellName] = set()
        self._best = BestSoFar()
        self._leaders: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def begin(self, planned: Sequence[Planned], path: Path, seconds: float) -> None:
        """Say what will be done, and where it goes; further cells of the same run are added."""
        self._examined = ""
        if path == self.path:
            if planned:
                self._line(f"{counted(len(planned), 'more cell')}, about {span(seconds)}")
        else:
            self._reset()
            self.path = path
            self._line(f"{counted(len(planned), 'cell')}, about {span(seconds)}, into {path}")
            with suppress(StoreError):  # which whoever writes there raises
                for row in iterate_rows(path):
                    self._best.take(row)
            self._new_leaders()
        self.total += len(planned)
        self._end = datetime.now() + timedelta(seconds=seconds)
        self._foresee(planned, seconds)
        self._redraw()

    def cell(self, planned: Planned, seconds_left: float) -> None:
        """Show that a cell runs, and when all will have ended."""
        now = datetime.now()
        self._end = now + timedelta(seconds=seconds_left)
        self._running[name_of(planned)] = planned, now
        self._redraw()

    def done(self, planned: Planned, row: dict[str, Any]) -> None:
        """Say how a cell ended. A second attempt at one counts as another."""
        name, well = name_of(planned), row["status"] in WELL
        self.ended += 1
        if name not in self._foreseen:
            self.total += 1
        self._seconds_done += self._foreseen.pop(name, 0.0)
        has_run = self._running.pop(name, None) is not None
        if well:
            self._failed.discard(name)
        else:
            self._failed.add(name)
        self._best.take(row)
        if not (well and self.console.is_interactive):
            self._line(f"[{self.ended}/{self.total}] {ending(planned, row)}")
        if not self.console.is_interactive:
            for sentence in self._new_leaders():
                self._line(sentence)
        self._redraw(0.0 if has_run else BURST_S)

    def waiting(self, reason: str) -> None:
        """Say what the run waits for; once on a terminal, where it can still be read."""
        if not (self.console.is_interactive and reason in self._said):
            self._line(reason)
        self._said.add(reason)

    def examined(self, examined: int, total: int) -> None:
        """Say how many networks are examined, where that takes more than a second.

        On a terminal twice a second, elsewhere every ten seconds.
        """
        every_s = 0.5 if self.console.is_interactive else 10.0
        if not self._examined:
            self._told = time.monotonic() + 1.0 - every_s
        self._examined = f"examined {examined} of {total} networks"
        if time.monotonic() < self._told + every_s:
            return
        self._told = time.monotonic()
        if self.console.is_interactive:
            self._redraw()
        else:
            self._line(self._examined)

    def share(self) -> float:
        """Return how much has ended, of the seconds that were foreseen for all."""
        return min(1.0, self._seconds_done / self._seconds) if self._seconds > 0 else 0.0

    def _foresee(self, planned: Sequence[Planned], seconds: float) -> None:
        """Share the seconds that all will take among cells: a timed one runs alone."""
        to_run = [p for p in planned if not p.status]
        alone = sum(p.seconds for p in to_run if p.probe.timed)
        side_by_side = sum(p.seconds for p in to_run if not p.probe.timed)
        share = max(0.0, seconds - alone) / side_by_side if side_by_side else 1.0
        self._seconds += seconds
        self._foreseen |= dict.fromkeys(map(name_of, planned), 0.0)
        for p in to_run:
            self._running.pop(name_of(p), None)  # a time limit ended it
            self._foreseen[name_of(p)] = p.seconds if p.probe.timed else p.seconds * share

    def _new_leaders(self) -> list[str]:
        """Return what to say of tasks that another variant leads than at the last call."""
        before = self._leaders
        found = self._best.leaders()
        self._leaders = {task: leader.variant for task, leader in found.items() if leader}
        new = [task for task, name in self._leaders.items() if before.get(task) != name]
        sentences = self._best.sentences() if new else {}
        return [sentences[task] for task in new]

    def _line(self, text: str) -> None:
        self.console.print(Styled(text), soft_wrap=True)

    def _redraw(self, least_s: float = 0.0) -> None:
        """Draw anew, if the last time is so many seconds ago."""
        if not self.console.is_interactive or time.monotonic() < self._drawn + least_s:
            return
        self._drawn = time.monotonic()
        if self._live is None:
            self._live = Live(
                console=self.console,
                auto_refresh=False,
                transient=True,
                get_renderable=self._drawing,
            )
            self._live.start()
            self.console.show_cursor()  # which a kill would leave hidden
        self._live.refresh()

    def _drawing(self) -> RenderableType:
        width = max(1, self.console.width - ECHO)
        if self._examined:
            return Constrain(self._text(self._examined), width)
        sentences = self._best.sentences().values()
        lines = [self._bar(width), *map(self._text, sentences)]
        room = max(1, self.console.height - len(lines) - 4)
        return Constrain(Group(*lines, *self._workers(width, room)), width)

    def _bar(self, width: int) -> RenderableType:
        failed = f", {len(self._failed)} failed" if self._failed else ""
        words = self._text(f"{self.ended}/{self.total} cells{failed}{self._all_by()}")
        bar = ProgressBar(total=1.0, completed=self.share())
        beside = width >= NARROW
        line = Table.grid(padding=(0, 2), expand=True)
        line.add_column(ratio=1)
        if beside:
            line.add_column(no_wrap=True)
            line.add_row(bar, words)
        else:
            line.add_row(bar)
            line.add_row(words)
        return line

    def _all_by(self) -> str:
        """Return when all will have ended, if they have not."""
        if self.ended == self.total:
            return ""
        now = datetime.now()
        end = max(now, self._end)
        day = "" if end.date() == now.date() else f" on {end:%d %b}"
        return f", all by about {end:%H:%M}{day}"

    def _workers(self, width: int, most: int) -> Iterator[RenderableType]:
        """Yield a line for each cell that runs, up to so many."""
        cells = Table.grid(padding=(0, 2))
        narrow = width < NARROW
        cells.add_column(overflow="fold")
        cells.add_column(no_wrap=True)
        for planned, since in list(self._running.values())[:most]:
            cell, name = planned.cell, planned.names[0]
            seed = f" seed {cell.seed}" if planned.probe.scores else ""
            what = self._text(f"{cell.probe} {name}{seed}")
            cells.add_row(what, f"{since:%H:%M:%S}" if narrow else f"since {since:%H:%M:%S}")
        yield cells
        if len(self._running) > most:
            yield self._text(f"and {len(self._running) - most} more")

    def _text(self, text: str) -> Styled:
        """Return text to be drawn, of characters that the terminal has: each takes its place."""
        encoding = self.console.encoding
        return Styled(text.encode(encoding, "replace").decode(encoding))


class Lenient:
    """A text file that may be closed, full or gone: what it does not take is lost in silence."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write the text if the file takes it."""
        with suppress(OSError, ValueError):
            if self._file:
                self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the file if it is there."""
        with suppress(OSError, ValueError):
            if self._file:
                self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def stderr_console() -> Console:
    """Return where progress goes: it is drawn on terminals alone, though FORCE_COLOR is set."""
    try:
        drawn = None if sys.stderr.isatty() else False
    except (AttributeError, ValueError):  # closed
        drawn = False
    file = cast(TextIO, Lenient(sys.stderr))
    return Console(file=file, force_interactive=drawn, highlight=False, quiet=is_quiet())


def name_of(planned: Planned) -> CellName:
    """Return what tells a cell from the others of its run."""
    return planned.cell.probe, planned.cell.id


def ending(planned: Planned, row: Mapping[str, Any]) -> str:
    """Return how a cell ended, on one line."""
    note = f": {row['error']}" if row.get("error") else f" {planned.probe.figures_text(row)}"
    names = ", ".join(planned.names)
    return printable(f"{planned.cell.probe} {names}: {row['status']}{note}")


@contextmanager
def examining() -> Iterator[Callable[[int, int], None]]:
    """Yield what tells on stderr how many networks are examined, if that takes a while."""
    with Watcher() as watcher:
        yield watcher.examined


def console() -> Console:
    """Return where tables go, as wide as the terminal.

    Where there is no terminal, it is wide enough for tables to be read.
    """
    screen = Console(file=stdout())
    return screen if screen.is_terminal else Console(file=stdout(), width=160)


def print_answer(shown: RenderableType) -> None:
    """Print an answer; lines that are wider than the terminal are not cut."""
    console().print(shown, crop=False)


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
    total = span(plan.foreseen_s)
    suite = plan.suite
    batches = ", ".join(map(str, suite.batch))
    width = f"width × {suite.width_scale:g}"
    if suite.match:
        width += f", scaled to the baseline's {suite.match}"
    side_by_side = f", {plan.at_once} side by side" if plan.at_once > 1 else ""
    race = ", if a third goes on at each rung" if suite.rungs else ""
    screen.print(
        f"{len(open_cells)} cells to run{side_by_side}, about {total}{race}; "
        f"preset {suite.preset}, {width}, {suite.size} scored, {suite.budget} of training, "
        f"batch {batches}; memory as predicted, at its highest over the settings",
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
