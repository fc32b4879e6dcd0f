"""Runs of three cells: the first is measured at once, the others not before a test says so; they
note what they do.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from unet_bench import pipeline
from unet_bench.execute.options import ExecutionOptions
from unet_bench.pipeline import Finished, Quiet
from unet_bench.spec.suite import Suite, from_options

VARIANTS = "unet,unet-add,unet-bilinear"
TINY = {
    "data": ["cells"],
    "size": "32x32",
    "width_scale": 0.0625,
    "threads": 1,
    "batch": 1,
    "preset": "quick",
    "timeout_s": 120.0,
}
PLUGIN = """
from unet_bench import Probe, hookimpl
@hookimpl
def unet_bench_register(registry):
    registry.probe(Probe("held", "heldprobe:probe", summary="for tests"))
"""
PROBE = """
import os, time
from pathlib import Path
HERE = Path(__file__).parent
def note(*words):
    with (HERE / "notes").open("a") as file:
        file.write(" ".join(words) + "\\n")
def probe(bench):
    name, deadline = bench.cell.variant.name, time.monotonic() + 120
    note(name, "begun", str(os.getpid()))
    while name != "unet" and not (HERE / "go").exists():
        assert time.monotonic() < deadline, "nobody said go"
        time.sleep(0.05)
    note(name, "done")
    return {}
"""


class Held:
    """The plugin's folder, and what its cells noted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "heldplugin.py").write_text(PLUGIN)
        (path / "heldprobe.py").write_text(PROBE)
        info = path / "held-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: held\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[unet_bench]\nheld = heldplugin\n")

    def begun(self, name: str) -> list[int]:
        """The processes that have begun to measure this variant."""
        return [int(line[2]) for line in self._notes() if line[:2] == [name, "begun"]]

    def times(self, what: str) -> dict[str, int]:
        """How often each variant was `begun`, or `done`."""
        return {
            name: sum(line[:2] == [name, what] for line in self._notes())
            for name in VARIANTS.split(",")
        }

    def _notes(self) -> list[list[str]]:
        notes = self.path / "notes"
        return [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []

    def go(self) -> None:
        """Let the other cells end."""
        (self.path / "go").touch()

    def suite(self) -> Suite:
        return from_options({"variants": VARIANTS.split(","), "probes": ["held"], **TINY})

    def run(
        self, out: Path, execution: ExecutionOptions, at_first: Callable[[], None] = lambda: None
    ) -> Watch:
        """A new run, in this process; `at_first` is called when the first row has come."""
        watch = Watch(at_first)
        with pipeline.plan(self.suite(), execution=execution) as made:
            watch.finished = pipeline.execute(made, out, watch, None, execution)
        return watch

    def resume(self, run: Path, execution: ExecutionOptions) -> Watch:
        """Go on with one."""
        watch = Watch()
        with pipeline.plan(
            pipeline.suite_of_run(run), pipeline.recipe_of_run(run), execution
        ) as made:
            watch.finished = pipeline.execute(made, run.parent, watch, run, execution)
        return watch


class Watch(Quiet):
    """Keeps the rows: variant and status of each."""

    def __init__(self, at_first: Callable[[], None] = lambda: None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.reasons: list[str] = []
        self.finished: Finished | None = None
        self._at_first = at_first

    def done(self, planned: object, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if len(self.rows) == 1:
            self._at_first()

    def waiting(self, reason: str) -> None:
        self.reasons.append(reason)

    @property
    def statuses(self) -> list[tuple[str, str]]:
        return [(row["variant"], row["status"]) for row in self.rows]


ONCE = dict.fromkeys(VARIANTS.split(","), 1)
ALL_OK = [(name, "ok") for name in VARIANTS.split(",")]


@contextmanager
def held_in(path: Path) -> Iterator[Held]:
    """The plugin installed, here and in new processes, which look for locks where no other run's
    are.
    """
    temporary = path / "tmp"
    temporary.mkdir()
    held = Held(path)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(path)
        patched.setenv("PYTHONPATH", str(path))
        patched.setenv("TMPDIR", str(temporary))
        patched.setenv("OMP_NUM_THREADS", "1")
        try:
            yield held
        finally:
            held.go()
            sys.modules.pop("heldplugin", None)


def until(found: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """What `found` returns, as soon as there is something."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return result


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def tasks_below(folder: Path) -> list[psutil.Process]:
    """Submitit's processes that run a share of a run below this folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "submitit.core._submit" in (command := process.info["cmdline"] or [])
        and Path(command[-1]).is_relative_to(folder)
        and process.pid != os.getpid()
    ]


def submissions(folder: Path) -> list[str]:
    """Names of all arrays that runs below this folder have submitted."""
    return sorted(path.name for path in folder.glob("*/slurm/unet-bench-*"))
