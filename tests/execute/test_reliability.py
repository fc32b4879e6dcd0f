"""Runs that are broken in every way we know of end with the right rows, and leave no process, lock
or file behind.

`UNET_BENCH_KILLS=100 pytest tests/execute/test_reliability.py -m ''` kills a hundred times;
`UNET_BENCH_SEED` picks moments.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import JSON, changed, damages, fuzz, ours

from unet_bench import pipeline
from unet_bench.cli import app as cli
from unet_bench.errors import StoreError
from unet_bench.execute import driver
from unet_bench.execute import local as local_module
from unet_bench.execute import processes as processes_module
from unet_bench.execute.jobs import Ended, Job, Started, Waiting
from unet_bench.execute.local import Local
from unet_bench.execute.manifest import manifest
from unet_bench.execute.options import ExecutionOptions
from unet_bench.execute.processes import Processes
from unet_bench.plan.cells import Plan
from unet_bench.registry import plugins
from unet_bench.spec.suite import from_options
from unet_bench.store.log import FOLDERS, Store, iterate_rows
from unet_bench.store.schema import TABLES
from unet_bench.store.tables import read_results, write_tables

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="looks into /proc, and traces what was forked"
)

KILLS = int(os.environ.get("UNET_BENCH_KILLS", "6"))
SEED = int(os.environ.get("UNET_BENCH_SEED", "0"))
TINY = [
    "--width-scale",
    "0.0625",
    "--size",
    "32x32",
    "--batch",
    "2",
    "--steps",
    "2",
    "--threads",
    "1",
    "--out",
    "runs",
]
TINY += ["--seeds", "0", "--data", "cells", "--no-floors"]
FEW = [
    *TINY,
    "-v",
    "unet,unet-add,unet-milesial,unet+bias=false",
    "--probes",
    "cost,memory,accuracy",
]
SAME = [
    "cell_id",
    "key",
    "variant",
    "same_as",
    "probe",
    "status",
    "params",
    "macs",
    "activations",
    "live_memory_mib",
]
SAME += ["train_live_memory_mib", "dice", "iou", "predicted_memory_mib", "batch_effective"]


# --- a run in a place of its own: what it leaves is found by a mark in its environment


class Place:
    """A folder where runs of a fresh interpreter go, with locks and plugins of its own."""

    def __init__(self, path: Path) -> None:
        self.path, self.lib, self.tmp, self.out = path, path / "lib", path / "tmp", path / "runs"
        self.mark = f"mark-{uuid.uuid4()}"
        self.lib.mkdir()
        self.tmp.mkdir()
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *args: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        told = {
            "PYTHONPATH": str(self.lib),
            "TMPDIR": str(self.tmp),
            "RELIABILITY": self.mark,
            "COLUMNS": "160",
        }
        told |= {
            "PYTHONDONTWRITEBYTECODE": "1"
        }  # of plugins that change more often than their time does
        with (
            open(self.path / "out", "ab") as out,
            open(self.path / f"err-{len(self.started)}", "wb") as err,
        ):
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "unet_bench", *args],
                cwd=self.path,
                env={**os.environ, **told, **(env or {})},
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
            )
        self.started.append(process)
        return process

    def run(self, *args: str, timeout: float = 150, env: dict[str, str] | None = None) -> int:
        return self.start(*args, env=env).wait(timeout)

    @property
    def said(self) -> str:
        """On stderr, by what was started last; how far planning is comes by the clock."""
        text = (self.path / f"err-{len(self.started) - 1}").read_text(errors="replace")
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("examined "))

    @property
    def only(self) -> Path:
        [found] = self.out.glob("*/run.json")
        return found.parent

    def plugin(self, name: str, probes: dict[str, str], top: str = "") -> None:
        """Put a distribution on the path whose probes have these bodies."""
        lines = [f"{HEAD}\n{top}"]
        for probe, body in probes.items():
            lines += [f"def {probe}(bench):", *(f"    {line}" for line in body.splitlines())]
        lines += ["@hookimpl", "def unet_bench_register(registry):"]
        lines += [
            f"    registry.probe(Probe({probe!r}, {f'{name}:{probe}'!r}, summary='for tests', "
            f"timed={probe == 'clocked'}))"
            for probe in probes
        ]
        (self.lib / f"{name}.py").write_text("\n".join(lines) + "\n")
        info = self.lib / f"{name}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[unet_bench]\n{name} = {name}\n")

    def freeze(self) -> None:
        """Run a copy of the source: where somebody edits it meanwhile, cells would rightly be
        measured again.
        """
        ours = Path(pipeline.__file__).parent
        for package in (ours, *(ours.parent / "plugins").glob("unet_bench_*")):
            shutil.copytree(package, self.lib / package.name)  # what is compiled, too

    def processes(self) -> list[int]:
        """Ours that live."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if self.mark.encode() in (folder / "environ").read_bytes() and state not in "ZX":
                    found.append(int(folder.name))
        return found

    def nothing_is_left(self, seconds: float = 1.5) -> None:
        wait_for(lambda: not self.processes(), seconds, "processes are left")
        for file in [*self.tmp.glob("*.lock"), *self.path.rglob(".lock")]:
            with file.open() as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        time.sleep(0.3)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


HEAD = """
import ctypes, json, os, signal, subprocess, sys, time
from pathlib import Path
from unet_bench import Probe, hookimpl
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def wait_for(
    condition: Callable[[], Any], seconds: float = 60, what: str = "waited in vain"
) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def opened_by(process: subprocess.Popen[bytes], place: Place) -> bool:
    """Whether this process holds a run's folder by now, or is over."""
    mine = [file for file in place.out.glob("*/.lock") if file.read_text() == str(process.pid)]
    return bool(mine) or process.poll() is not None


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]


def figures(path: Path) -> pd.DataFrame:
    """What must be the same however often a run was broken."""
    frame = read_results(path, "cells").sort_values("cell_id").reset_index(drop=True)
    return frame[SAME]


def complete_once(path: Path) -> None:
    """Every cell has one good row, and nothing waits to be stored."""
    rows = rows_of(path)
    assert set(Counter(row["cell_id"] for row in rows if row["status"] == "ok").values()) <= {1}
    assert {
        row["status"] for row in iterate_rows(path) if row["cell_id"] not in ok_ids(rows)
    } <= set()
    assert not list((path / "inbox").glob("*"))
    assert all((path / folder).is_dir() for folder in FOLDERS)


def ok_ids(rows: list[dict[str, Any]]) -> set[str]:
    return {row["cell_id"] for row in rows if row["status"] == "ok"}


# --- 1. the parent, killed at any line, with workers that take no time


class Instant:
    """Runs jobs at once and in order, each with a result of its own."""

    remote = False
    ending_s = 1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def at_once(self, device: str, threads: int) -> int:
        return 1

    def run(self, jobs: list[Job], until: float = 0.0) -> Iterator[Started | Ended]:
        for job in jobs:
            yield Started(job)
            job.write_result(
                {
                    "status": "ok",
                    "quality": "clean",
                    "params": int(job.stem[-4:], 16),
                    "wall_s": 0.0,
                }
            )
            result = job.read_result()
            assert result
            yield Ended(job, result)


@pytest.fixture(scope="module")
def made() -> Iterator[Plan]:
    """A plan whose cells take no time; its source counts as the same though somebody edits it
    meanwhile.
    """
    options = {
        "variants": ["unet", "unet-add", "unet-milesial", "unet+bias=false"],
        "data": ["cells"],
    }
    options |= {
        "size": "16x16",
        "width_scale": 0.0625,
        "batch": [1],
        "threads": [1],
        "probes": ["cost"],
    }
    with pytest.MonkeyPatch.context() as patched, pipeline.plan(from_options(options)) as plan:
        patched.setattr(plugins, "source_hash", lambda module: module)
        yield dataclasses.replace(plan, executor=Instant())  # type: ignore[arg-type]


WATCHED = (
    "cli/app.py",
    "pipeline.py",
    "store/log.py",
    "store/tables.py",
    "execute/jobs.py",
    "execute/driver.py",
    "host/locks.py",
)
FILES = {str(Path(pipeline.__file__).parent / name) for name in WATCHED}
assert all(Path(file).is_file() for file in FILES)


def at_lines(acts: dict[int, Callable[[], object]]) -> Callable[[], int]:
    """From now on, do something before a line of ours runs, counted from 0; returns the count so
    far.
    """
    numbers = itertools.count()
    seen = [0]

    def line(frame: Any, event: str, arg: object) -> Any:
        if event == "line":
            seen[0] = next(numbers)
            if act := acts.get(seen[0]):
                act()
        return line

    sys.settrace(lambda frame, event, arg: line if frame.f_code.co_filename in FILES else None)
    return lambda: seen[0]


def forked(work: Callable[[], object], log: Path) -> int:
    """Do it in a child; its exit code, or the signal that ended it, below 0."""
    if pid := os.fork():
        for _ in range(3000):
            over, status = os.waitpid(pid, os.WNOHANG)
            if over:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError(f"no end: {log.read_text()}")
    code = 99
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.settrace(None)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def go_on(made: Plan, out: Path) -> None:
    """Resume the run that is there, or begin one."""
    begun = next((file.parent for file in out.glob("*/run.json")), None)
    pipeline.execute(made, out, pipeline.Quiet(), begun)


def lines_of(work: Callable[[], object], folder: Path) -> int:
    def count() -> None:
        so_far = at_lines({})
        try:
            work()
        finally:
            sys.settrace(None)
            (folder / "count").write_text(str(so_far()))

    forked(count, folder / "log")
    return int((folder / "count").read_text())


@pytest.mark.parametrize("times", [8, pytest.param(24, marks=pytest.mark.slow)])
def test_a_run_killed_before_any_line_loses_and_doubles_nothing(
    made: Plan, tmp_path: Path, times: int
) -> None:
    chance = random.Random(SEED)
    whole = tmp_path / "whole"
    lines = lines_of(lambda: go_on(made, whole), tmp_path)
    assert lines > 500
    [reference] = [file.parent for file in whole.glob("*/run.json")]
    killed = 0
    for number in range(times):
        out = tmp_path / f"{number}"
        moments = [int(lines * (number + chance.random()) / times), chance.randrange(lines)]
        for moment in moments:  # the second one is of the run that goes on
            killed += (
                forked(
                    lambda: (at_lines({moment: lambda: os._exit(9)}), go_on(made, out)),
                    tmp_path / "log",
                )
                == 9
            )
        assert forked(lambda: go_on(made, out), tmp_path / "log") == 0, (
            moments,
            (tmp_path / "log").read_text(),
        )
        [found] = [file.parent for file in out.glob("*/run.json")]
        complete_once(found)
        pd.testing.assert_frame_equal(figures(found), figures(reference))
        assert (found / "results.csv").exists()
        shutil.rmtree(out)
    assert killed > times


# --- 6. asked to end, at any line


@pytest.mark.slow
@pytest.mark.parametrize("times", [30])
def test_a_run_asked_to_end_before_any_line_says_how_to_go_on(
    made: Plan, tmp_path: Path, times: int
) -> None:
    """Once, or twice quickly: then tables may be missing, and nothing else."""
    chance = random.Random(SEED)

    def command(out: Path) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        pipeline.plan = lambda *_, **__: contextlib.nullcontext(made)  # type: ignore[assignment]
        sys.argv = ["unet-bench", "run", "--out", str(out)]
        cli.main()

    lines = lines_of(lambda: command(tmp_path / "whole"), tmp_path)
    assert lines > 500
    codes: Counter[int] = Counter()
    for turn, number in zip(
        range(times), itertools.cycle([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    ):
        out = tmp_path / f"{turn}"
        moments = [int(lines * (turn + chance.random()) / times)]
        if turn % 2:
            moments.append(moments[0] + int(1.5 ** chance.uniform(0, 15)))
        acts = {moment: lambda: signal.raise_signal(number) for moment in moments}
        code = forked(lambda: (at_lines(acts), command(out)), tmp_path / "log")
        said = (tmp_path / "log").read_text()
        where = f"{number} before lines {moments} of {lines}: {code}\n{said}"
        assert "Traceback" not in said, where
        assert code in (0, 128 + number, -number), where
        codes[code] += 1
        held = [file.parent for file in out.glob("*/cells.jsonl")]
        if code == 128 + number and held:
            assert said.count("stopped; ") == 1 or len(moments) > 1, where
            assert str(held[0].name) in said.replace("\n", ""), where
            assert (held[0] / "results.csv").exists() or len(moments) > 1, where
        assert forked(lambda: go_on(made, out), tmp_path / "log") == 0, (
            tmp_path / "log"
        ).read_text()
        complete_once(next(file.parent for file in out.glob("*/run.json")))
        shutil.rmtree(out)
    assert {130, 143, 129} <= set(codes), codes


# --- the same for real: fresh interpreters, fork servers, workers


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_if_nothing_had_been(place: Place) -> None:
    chance = random.Random(SEED)
    place.freeze()
    assert place.run("run", *FEW, "--out", "whole") == 0, place.said
    [reference] = [file.parent for file in place.path.glob("whole/*/run.json")]
    kills = 0

    def finish() -> None:
        assert place.run("run", "--resume", "last", "--out", "runs") == 0, place.said
        place.nothing_is_left()
        complete_once(place.only)
        pd.testing.assert_frame_equal(figures(place.only), figures(reference))
        shutil.rmtree(place.out)

    while kills < KILLS:
        begun = list(place.out.glob("*/run.json"))
        process = place.start("run", *(["--resume", "last", "--out", "runs"] if begun else FEW))
        if kills % 4:
            wait_for(lambda: opened_by(process, place))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 8) if kills % 4 else chance.uniform(0, 5))
        process.kill()
        code = process.wait()
        assert code in (0, -signal.SIGKILL), place.said
        place.nothing_is_left()
        kills += code != 0
        if code == 0:
            finish()
    finish()


@pytest.mark.slow
def test_a_run_asked_to_end_at_random_moments_says_how_to_go_on(place: Place) -> None:
    chance = random.Random(SEED)
    for number, twice in ((signal.SIGHUP, False), (signal.SIGINT, True)):
        begun = list(place.out.glob("*/run.json"))
        slow = ["--probes", "cost,memory,accuracy", "--steps", "300", "--limit", "0"]
        process = place.start(
            "run", *(["--resume", "last", "--out", "runs"] if begun else [*FEW, *slow])
        )
        wait_for(lambda: opened_by(process, place))
        time.sleep(chance.uniform(0, 7))
        for _ in range(1 + twice):
            process.send_signal(number)
            time.sleep(chance.uniform(0, 0.4) * twice)
        code = process.wait(20)
        assert code in (128 + number, -number) or not code, (
            place.said
        )  # the last two: when all was done
        if code == 128 + number:
            told = place.said.count(f"--resume {place.only.relative_to(place.path)}")
            assert told == 1 or (twice and not told), place.said
        assert "Traceback" not in place.said
        assert twice or (place.only / "results.csv").exists()
        place.nothing_is_left()
        assert not list(place.tmp.glob("unet-bench-of-*/")), "the data are left"


# --- 2. workers


CRASHES: dict[str, tuple[str, str, str]] = {  # probe: body, status, words of the error
    "segv": ("os.kill(os.getpid(), signal.SIGSEGV); time.sleep(9)", "killed", "SIGSEGV"),
    "really_segv": ("ctypes.string_at(0)", "killed", "SIGSEGV"),
    "abort": ("os.abort()", "killed", "SIGABRT"),
    "term": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", "killed", "SIGTERM"),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
    "unnamed_signal": ("os.kill(os.getpid(), 40); time.sleep(9)", "killed", "signal 40"),
    "hangs": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(99)",
        "timeout",
        "did not end within",
    ),
    "stops": (
        "os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(99)",
        "timeout",
        "did not end within",
    ),
    "needs_memory": ("import torch\nreturn {'x': len(torch.zeros(2**31))}", "oom", "memory"),
    "needs_objects": ("return {'x': len(bytearray(2**32))}", "oom", "MemoryError"),
    "noise": (
        "for _ in range(50):\n"
        "    os.write(1, os.urandom(2**20)); os.write(2, bytes(range(256)) * 2**12)\nreturn {}",
        "ok",
        "",
    ),
    "leaves": ("os._exit(0)", "error", "left no row"),
    "closes": ("os.closerange(0, 3)\nreturn {'x': 1}", "ok", ""),
    "closes_all": ("os.closerange(0, 4096)\nreturn {'x': 1}", "ok", ""),
    "litters": (
        "for name in ('run.json', '.lock', 'torch.py', 'json.py'):\n"
        "    Path(name).write_text('nonsense(')\nreturn {}",
        "ok",
        "",
    ),
    "tears": (
        "import __main__\nfrom unet_bench.execute import jobs\n"
        "place = lambda job: job.run_folder.result_of(job.stem)\n"
        'jobs.Job.write_result = lambda job, row: place(job).write_text(\'{"key": "\')\nreturn {}',
        "error",
        "left no row",
    ),
    "swaps": (
        "from unet_bench.execute import jobs\nwrite = jobs.Job.write_result\n"
        "jobs.Job.write_result = lambda job, row: write(job.at(key='of another'), row)\nreturn {}",
        "error",
        "left no row",
    ),
    "recurses": (
        "from unet_bench.execute import jobs\n"
        "place = lambda job: job.run_folder.result_of(job.stem)\n"
        "jobs.Job.write_result = lambda job, row: place(job).write_text('[' * 10**6)\nreturn {}",
        "error",
        "left no row",
    ),
    "lies": ("return {'status': 'splendid', 'params': 'many'}", "error", "status"),
    "mistypes": ("return {'params': 'many', 'dice': [1]}", "error", "params does not take"),
    "tells": ("raise ValueError(os.environ['SOMETHING_TOKEN'])", "error", "[SOMETHING_TOKEN]"),
    "tells_all": ("print(os.environ); print(os.environ, file=sys.stderr); return {}", "ok", ""),
    "has_children": ("subprocess.Popen(['sleep', '99'])\nreturn {}", "ok", ""),
    "has_orphans": (
        "subprocess.Popen(['setsid', 'sh', '-c', 'sleep 99 & sleep 99 & wait'])\nreturn {}",
        "ok",
        "",
    ),
    "daemon": (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(99)\n"
        "    os._exit(0)\nreturn {}",
        "ok",
        "",
    ),
    "stubborn_children": (
        "subprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" TERM HUP INT; while :; do sleep 1; "
        "done'])\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(99)",
        "timeout",
        "",
    ),
    "last": ("return {'x': 1}", "ok", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("own_interpreter", [False, True])
def test_whatever_workers_do_is_a_status_and_the_next_one_goes_on(
    place: Place, own_interpreter: bool
) -> None:
    chosen = {name: body for name, (body, _, _) in CRASHES.items()}
    if own_interpreter:
        names = (
            "really_segv",
            "term",
            "hangs",
            "needs_memory",
            "noise",
            "leaves",
            "closes_all",
            "has_children",
            "last",
        )
        chosen = {name: chosen[name] for name in names}
    place.plugin("hostile", chosen)
    if own_interpreter:
        text = (place.lib / "hostile.py").read_text()
        (place.lib / "hostile.py").write_text(text + "    registry.fresh_interpreter()\n")
    limits = [
        "--timeout",
        "15" if own_interpreter else "6",
        "--memory-limit",
        "1G",
        "--retries",
        "0",
    ]
    code = place.run(
        "run",
        *TINY,
        "-v",
        "unet",
        "--probes",
        ",".join(chosen),
        *limits,
        env={"SOMETHING_TOKEN": "hunter2-hunter2"},
    )
    assert code == 1, place.said
    assert "Traceback" not in place.said
    place.nothing_is_left()
    rows = {row["probe"]: row for row in rows_of(place.only)}
    found = {name: (row["status"], row.get("error") or "") for name, row in rows.items()}
    for name in chosen:
        _, status, words = CRASHES[name]
        assert (found[name][0], words in found[name][1]) == (status, True), (name, found[name])
    assert rows["needs_memory"]["oom_asked_mib"] == pytest.approx(2**33 / 2**20)
    assert len(rows) == len(chosen)
    assert read_results(place.only, "cells")["status"].notna().all()
    assert not list((place.only / "inbox").glob("*"))
    for log in (place.only / "logs").iterdir():
        assert log.stat().st_size < 2**22, log
    told = [
        file
        for file in place.only.rglob("*")
        if file.is_file() and b"hunter2-hunter2" in file.read_bytes()
    ]
    assert not told


# --- 3. the process that forks workers


@pytest.fixture
def local(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Local]:
    """An executor with a fork server of its own, whose processes are this place's."""
    monkeypatch.setattr(local_module, "Processes", Processes)
    monkeypatch.setattr(tempfile, "tempdir", str(place.tmp))
    monkeypatch.setenv("RELIABILITY", place.mark)
    monkeypatch.setenv("PYTHONPATH", str(place.lib))
    (place.path / "logs").mkdir()
    with Local() as executor:
        yield executor
    wait_for(lambda: not place.processes(), 3, "processes are left")


def job(place: Place, number: int = 0, **changes: Any) -> Job:
    """One whose cell no worker can read: it is over at once, if its worker lives. Its server
    imports no torch.
    """
    asked = {
        "stem": f"cost-{number}",
        "folder": str(place.path),
        "cell": {"setting": {"device": "cpu", "threads": 1}},
        "key": "k",
    }
    return Job(**{**asked, "modules": ("json",), **changes})


@pytest.mark.slow
def test_a_fork_server_that_is_killed_is_replaced(place: Place, local: Local) -> None:
    for number, delay_s in enumerate((0.0, 0.01, 0.2, 0.0)):  # not yet, or long gone
        [_, ended] = local.run([job(place, number)], time.monotonic() + 60)
        assert ended.result["status"] == "error" or number in (1, 2), (
            ended
        )  # of 3, the server was long gone
        assert local._processes._forker
        os.kill(local._processes._forker.process.pid, signal.SIGKILL)
        time.sleep(delay_s)


def test_a_job_that_a_dying_fork_server_was_given_is_over(place: Place, local: Local) -> None:
    """The pump had given up the jobs that it knew of: nobody else would ever say that this one is
    over.
    """
    list(local.run([job(place)]))
    forker = local._processes._forker
    assert forker
    forker.process.kill()
    forker.process.wait()
    wait_for(lambda: forker.over)
    forker.process.poll = lambda: None  # type: ignore[method-assign]  # as good as not yet known
    [_, ended] = local.run([job(place, 1)], time.monotonic() + 10)
    assert (ended.result["status"], "forks workers" in ended.result["error"]) == ("killed", True)


BEGINNING = """
import sys
from unet_bench.execute.jobs import Job
from unet_bench.execute.processes import Processes
job = Job(stem="a", folder=sys.argv[1], cell={}, key="k", modules=("slow",))
processes = Processes()
try:
    processes.start(job)
except KeyboardInterrupt:
    processes.close()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_fork_server_that_is_still_importing_ends_with_its_parent(
    place: Place, number: int
) -> None:
    (place.path / "logs").mkdir()
    (place.lib / "slow.py").write_text(
        "import os, time; open(os.environ['BEGUN'], 'w').close(); time.sleep(30)"
    )
    begun = place.path / "begun"
    told = {"PYTHONPATH": str(place.lib), "RELIABILITY": place.mark, "BEGUN": str(begun)}
    command = [sys.executable, "-c", BEGINNING, str(place.path)]
    place.started.append(parent := subprocess.Popen(command, env={**os.environ, **told}))
    wait_for(begun.exists)
    parent.send_signal(number)
    parent.wait(10)
    place.nothing_is_left()


@pytest.mark.parametrize(
    "module",
    ["aborts", *(pytest.param(m, marks=pytest.mark.slow) for m in ("no_such_module", "exits"))],
)
def test_workers_begin_without_a_fork_server_if_none_gets_ready(
    place: Place, local: Local, module: str
) -> None:
    (place.lib / "exits.py").write_text("import sys; sys.exit(0)")
    (place.lib / "aborts.py").write_text("import os; os.abort()")
    [_, told, ended] = local.run([job(place, modules=(module,))], time.monotonic() + 60)
    assert "cannot be forked" in told.reason
    assert ended.result["status"] == "error"
    assert local._processes._forker is None


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have those who do not answer given up soon."""
    monkeypatch.setattr(local_module, "GRACE_S", 0.3)
    monkeypatch.setattr(processes_module, "ANSWER_S", 0.5)


@pytest.fixture
def unwakeable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is stopped stay so, as under a debugger, or where its memory is swapped out."""
    monkeypatch.setattr(signal, "SIGCONT", 0)


def hanging(place: Place, number: int, **changes: Any) -> Job:
    """A job whose worker never gets as far as to open its log."""
    os.mkfifo(place.path / "logs" / f"cost-{number}.log")
    return job(place, number, **changes)


def brief(place: Place, number: int, **changes: Any) -> Job:
    """A job whose worker ends before it has imported anything."""
    return job(place, number, environ={"no text": 1}, **changes)


def start_server(place: Place, local: Local) -> None:
    assert local._processes._forker_for(job(place), time.monotonic() + 60)


def stop_server(local: Local) -> int:
    """Stop the fork server as soon as it lives; its process id."""
    forker = local._processes._forker
    assert forker
    os.kill(forker.process.pid, signal.SIGSTOP)
    return forker.process.pid


def test_a_stopped_fork_server_is_woken_by_the_next_job(place: Place, local: Local) -> None:
    start_server(place, local)
    server = stop_server(local)
    [_, ended] = local.run([brief(place, 1)], time.monotonic() + 60)
    assert ended.result["status"] == "error"
    assert local._processes._forker
    assert local._processes._forker.process.pid == server


@pytest.mark.parametrize("number", [1, pytest.param(2, id="that has forked nobody yet")])
def test_a_deadline_holds_though_the_fork_server_is_stopped(
    place: Place, local: Local, hasty: None, unwakeable: None, number: int
) -> None:
    start_server(place, local)
    server = stop_server(local) if number == 2 else 0
    for event in local.run([hanging(place, number, timeout_s=0.5)], time.monotonic() + 60):
        if isinstance(event, Ended):
            assert event.result["status"] == "timeout"
            assert "0.5 s" in event.result["error"]
        elif number == 1:
            threading.Timer(0.2, lambda: stop_server(local)).start()
    assert local._processes._forker is None
    [_, ended] = local.run([brief(place, 3)], time.monotonic() + 60)  # the next one goes on
    assert ended.result["status"] == "error"
    assert server not in place.processes()


def test_a_run_is_left_though_its_fork_server_is_stopped(
    place: Place, local: Local, hasty: None, unwakeable: None
) -> None:
    start_server(place, local)
    with contextlib.suppress(KeyboardInterrupt), local:
        for _ in local.run([hanging(place, 1)]):
            threading.Timer(0.2, lambda: (stop_server(local), interrupt())).start()
    wait_for(lambda: not place.processes(), 3, "processes are left")


def test_a_fork_server_that_reads_nothing_is_given_up(
    place: Place, local: Local, hasty: None, unwakeable: None
) -> None:
    start_server(place, local)
    stop_server(local)
    large = brief(place, 1, sources={"more than a pipe holds": "x" * (1 << 20)})
    [_, ended] = local.run([large], time.monotonic() + 60)
    assert (ended.result["status"], "did not answer" in ended.result["error"]) == ("killed", True)


def test_a_large_job_comes_whole(place: Place, local: Local) -> None:
    [_, ended] = local.run([brief(place, 1, sources={"more than a pipe holds": "x" * (1 << 22)})])
    assert ended.result["status"] == "error"


def test_a_worker_that_cannot_be_ended_is_done_without(
    place: Place, local: Local, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that waits for a driver which hangs."""
    monkeypatch.setattr(processes_module, "_signal_group", lambda process, number: None)
    waits = job(place, 1, fresh=True, timeout_s=0.5)
    monkeypatch.setattr(
        processes_module,
        "module_command",
        lambda module: [sys.executable, "-c", "import time; time.sleep(60)"],
    )
    [_, ended] = local.run([waits], time.monotonic() + 60)
    assert ended.result["status"] == "timeout"
    place.close()


def test_a_fork_server_that_stops_while_it_imports_is_given_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(place.lib))
    (place.path / "logs").mkdir()
    (place.lib / "stops.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    processes = Processes()
    monkeypatch.setattr(Processes, "_start_fresh", lambda self, job: None)
    processes.start(job(place, modules=("stops",)), time.monotonic() + 1.0)
    assert "cannot be forked" in processes.notice


def interrupt() -> None:
    """Do what Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)  # to the main thread


SERVER = "os.getppid()"


@pytest.mark.slow
def test_a_run_ends_though_its_fork_server_is_killed(place: Place) -> None:
    """Under a worker, under its children, just after its row; and though no fork server ever gets
    ready.
    """
    bodies = {
        "during": f"os.kill({SERVER}, 9); time.sleep(99)",
        "children": f"subprocess.Popen(['sleep', '3'])\nos.kill({SERVER}, 9); time.sleep(99)",
        "after": "import threading\n"
        f"threading.Timer(0.05, os.kill, ({SERVER}, 9)).start()\nreturn {{}}",
        "fine": "return {}",
    }
    place.plugin("hostile", bodies)
    code = place.run(
        "run", *TINY, "-v", "unet", "--probes", ",".join(bodies), "--retries", "killed=1"
    )
    assert code == 1, place.said
    found = Counter((row["probe"], row["status"]) for row in rows_of(place.only))
    assert found["during", "killed"] == found["children", "killed"] == 2
    assert found["fine", "ok"] == 1
    assert found["after", "ok"] + found["after", "killed"] >= 1
    assert "Traceback" not in place.said
    place.nothing_is_left(6)
    place.plugin(
        "hostile", {"fine": "return {}"}, "if 'forkserver' in ' '.join(sys.orig_argv): os._exit(3)"
    )
    shutil.rmtree(place.out)
    assert place.run("run", *TINY, "-v", "unet,unet-add", "--probes", "fine") == 0, place.said
    assert [row["status"] for row in rows_of(place.only)] == ["ok", "ok"]
    place.nothing_is_left()


# --- 4. two at once


@pytest.mark.slow
def test_what_another_shares_is_waited_for_though_we_shared_it_last(
    place: Place, local: Local
) -> None:
    """The lock then names us, and nobody of ours runs whose end would wake us."""
    code = (
        "import sys; from unet_bench.host.locks import DeviceLocks; held = "
        "DeviceLocks().take('cpu', timed=False)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code + "; print(1, flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(place.tmp)},
    )
    assert other.stdout
    try:
        assert other.stdout.readline()
        said = []
        for event in local.run([job(place, 0), job(place, 1, timed=True)], time.monotonic() + 20):
            said.append(type(event))
            if isinstance(event, Waiting):
                other.communicate(b"")
        assert said == [Started, Ended, Waiting, Started, Ended]
    finally:
        other.kill()
        other.communicate()


CLOCKED = """
def note(kind, seconds):
    began = time.time(); time.sleep(seconds)
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps([kind, began, time.time()]) + chr(10))
    return {}
"""


def overlapping(notes: Path, *kinds: str) -> int:
    spans = [json.loads(line) for line in notes.read_text().splitlines()]
    pairs = itertools.combinations(spans, 2)
    return sum({a[0], b[0]} == set(kinds) and a[1] < b[2] and b[1] < a[2] for a, b in pairs)


@pytest.mark.slow
def test_two_runs_at_once_share_the_device_and_never_time_together(place: Place) -> None:
    going = place.path / "going"  # until it is there, no cell ends, however slow the machine
    wait = f"while not os.path.exists({str(going)!r}): time.sleep(0.1)\n"
    place.plugin(
        "clocks",
        {"clocked": f"{wait}return note('timed', 4)", "free": f"{wait}return note('free', 4)"},
        CLOCKED,
    )
    notes = place.path / "notes"
    some = [*TINY, "-v", "unet,unet-add,unet-milesial", "--probes", "free,clocked"]
    runs = [
        place.start("run", *some, "--out", name, env={"NOTES": str(notes)})
        for name in ("runs", "more")
    ]
    wait_for(lambda: opened_by(runs[0], place))
    before = (place.only / "run.json").read_bytes()
    assert place.run("run", "--resume", str(place.only)) == 2, place.said
    assert place.said.strip().count("\n") == 0, place.said
    assert f"in use by process {runs[0].pid}" in place.said
    going.touch()
    assert [run.wait(150) for run in runs] == [0, 0], place.said
    assert (place.only / "run.json").read_bytes() == before
    assert len(notes.read_text().splitlines()) == 12
    assert overlapping(notes, "timed") == overlapping(notes, "timed", "free") == 0
    notes.unlink()
    some = [*TINY, "-v", "unet,unet-add,unet-milesial,unet-paper", "--probes", "free,clocked"]
    code = place.run(
        "run", *some, "--out", "four", "--devices", "cpu,cpu,cpu,cpu", env={"NOTES": str(notes)}
    )
    assert code == 0, place.said
    assert overlapping(notes, "free") >= 1
    assert overlapping(notes, "timed") == overlapping(notes, "timed", "free") == 0
    place.nothing_is_left()


# --- 5. the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.decode().strip()}")
    yield disk
    for _ in range(20):
        if subprocess.run(["umount", disk], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.3)
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.slow
def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(
    place: Place, small_disk: Path
) -> None:
    fill = "if bench.cell.variant.name == 'unet-add' and not os.environ.get('ROOM'):\n"
    fill += (
        "    with suppress(OSError): Path(DISK, 'filler').write_bytes(bytes(2**23))\n"
        "return {'x': 'y' * 5000}"
    )
    top = f"from contextlib import suppress\nDISK = {str(small_disk)!r}"
    place.plugin("hostile", {"fills": fill, "fine": "return {'x': 1}"}, top)
    out = small_disk / "runs"
    some = [*TINY, "-v", "unet,unet-add,unet-milesial", "--probes", "fills,fine", "--out", str(out)]
    assert place.run("run", *some, "--jobs", "1") == 1, place.said
    last = place.said.strip().splitlines()[-1]
    assert "space" in last, place.said
    assert "--resume" in last
    assert "Traceback" not in place.said
    place.nothing_is_left()
    [run] = out.iterdir()
    kept = rows_of(run)
    assert kept
    assert {row["status"] for row in kept} == {"ok"}
    assert place.run("run", "--resume", str(run)) in (1, 2)
    assert "Traceback" not in place.said
    (small_disk / "filler").unlink()
    assert place.run("run", "--resume", str(run), env={"ROOM": "1"}) == 0, place.said
    assert len(rows_of(run)) == 6
    assert rows_of(run)[: len(kept)] == kept
    complete_once(run)


@pytest.mark.slow
def test_a_disk_that_is_not_to_be_written_to_is_one_line(place: Place, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert place.run("run", *FEW, "--out", str(small_disk / "runs")) == 2
    assert place.said.strip().count("\n") == 0, place.said
    assert "Read-only" in place.said
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert list(small_disk.iterdir()) == []
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(2**23))
    assert place.run("run", *FEW, "--out", str(small_disk / "runs")) == 2, place.said
    assert place.said.strip().count("\n") == 0, place.said
    assert not list(small_disk.glob("runs/*"))


# --- 6. a time limit


@pytest.mark.slow
def test_a_run_with_a_time_limit_ends_in_time_and_gets_to_the_end_step_by_step(
    place: Place,
) -> None:
    body = (
        "while not os.environ.get('UNBLOCK') and bench.cell.variant.name == 'unet': time.sleep(1)\n"
    )
    place.plugin("slow", {"waits": body + "return {}"})
    limit = 24.0
    for turn in range(5):
        more = (
            ["--resume", "last", "--out", "runs"]
            if turn
            else [*TINY, "-v", "unet,unet-add", "--probes", "waits"]
        )
        began = time.monotonic()
        one = ["--jobs", "1", "--time-limit", f"{limit:g}s"]
        assert place.run("run", *more, *one) == 75, place.said
        # Where others use the machine, planning alone takes long; the cell would wait for ever.
        assert time.monotonic() - began < 3 * limit
        assert place.said.count("--resume") == 1
        place.nothing_is_left()
        if ok_ids(rows_of(place.only)):
            break
    assert len(ok_ids(rows_of(place.only))) == 1, (
        "one that does not end keeps the other from its turn"
    )
    assert place.run("run", "--resume", "last", "--out", "runs", env={"UNBLOCK": "1"}) == 0, (
        place.said
    )
    complete_once(place.only)


# --- 7. again, and not again


@pytest.mark.slow
def test_what_is_tried_again_and_measured_again(place: Place) -> None:
    count = "n = len(list(Path(os.environ['NOTES']).glob(f'{bench.cell.probe}*')))\n"
    count += "Path(os.environ['NOTES'], f'{bench.cell.probe}-{n}').touch()\n"
    dies = count + "if n < 2: os.kill(os.getpid(), 9)\nreturn {}"
    fails = count + "if n < 2: raise ValueError('no')\nreturn {}"
    place.plugin("one", {"dies": dies, "fails": fails})
    place.plugin("two", {"fine": count + "return {}"})
    notes = place.path / "notes"
    notes.mkdir()

    def go(code: int, *args: str) -> dict[str, int]:
        assert place.run("run", *args, env={"NOTES": str(notes)}) == code, place.said
        return dict(Counter(file.name.partition("-")[0] for file in notes.iterdir()))

    on = ["--resume", "last", "--out", "runs"]
    first = [*TINY, "-v", "unet", "--probes", "dies,fails,fine", "--retries", "killed=2,error=1"]
    assert go(1, *first) == {"dies": 3, "fails": 2, "fine": 1}
    assert go(1, *on, "--keep-failures") == {"dies": 3, "fails": 2, "fine": 1}
    assert go(0, *on) == {"dies": 3, "fails": 3, "fine": 1}
    with (place.lib / "one.py").open("a") as source:
        source.write("# edited\n")
    assert go(0, *on) == {"dies": 4, "fails": 4, "fine": 1}
    stated = json.loads((place.only / "run.json").read_text())
    stated["suite"]["probes"] = ["fine"]
    stated["suite"]["steps"] = 3
    (place.only / "run.json").write_text(json.dumps(stated))
    assert go(0, *on) == {"dies": 4, "fails": 4, "fine": 2}


# --- 10. files of a run, damaged


@pytest.fixture(scope="module")
def stored(made: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.execute(made, tmp_path_factory.mktemp("stored"), pipeline.Quiet()).path


@contextlib.contextmanager
def damaged(file: Path, content: bytes) -> Iterator[None]:
    whole = file.read_bytes()
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(whole)


def use(path: Path) -> None:
    """All that `show`, `compare` and `run --resume` read of a run: an error of ours, or a right
    result.
    """

    def opened() -> None:
        with Store.open(path) as store:
            store.attempts()
            write_tables(store)

    for table in TABLES:
        (path / f"{table}.csv").unlink(missing_ok=True)
    for table in TABLES:
        ours(lambda: read_results(path, table))
    kept = (path / "cells.jsonl").read_bytes()
    ours(opened)
    for table in TABLES:
        ours(lambda: read_results(path, table))
    ours(lambda: pipeline.suite_of_run(path))
    ours(lambda: pipeline.recipe_of_run(path))
    assert kept.startswith((path / "cells.jsonl").read_bytes()), "more than a torn line is gone"
    assert {file.name for file in path.glob(".*")} == {".lock"}, "a draft is left"


@fuzz(15)
@given(damages(), st.integers(0, 3))
def test_damaged_rows_are_refused_or_right(
    stored: Path, blow: Callable[[bytes], bytes], number: int
) -> None:
    lines = (stored / "cells.jsonl").read_bytes().splitlines(keepends=True)
    lines[number % len(lines)] = blow(lines[number % len(lines)])
    with damaged(stored / "cells.jsonl", b"".join(lines)):
        use(stored)


COLUMNS = (
    "status",
    "quality",
    "params",
    "dice",
    "per_class",
    "error",
    "evidence",
    "wall_s",
    "place",
    "x",
)


@fuzz(25)
@given(st.data())
def test_rows_of_any_type_are_refused_by_line_or_right(stored: Path, data: st.DataObject) -> None:
    first, second, *_ = (stored / "cells.jsonl").read_bytes().splitlines(keepends=True)
    row = json.loads(second)
    some = data.draw(st.lists(st.sampled_from([*row, *COLUMNS, "latency_ratio"])))
    drawn = (
        data.draw(JSON)
        if data.draw(st.booleans())
        else {**row, **{name: data.draw(JSON) for name in some}}
    )
    with damaged(stored / "cells.jsonl", first + json.dumps(drawn).encode() + b"\n" + second):
        use(stored)
        try:
            assert len(list(iterate_rows(stored))) == 3
        except StoreError as error:
            assert "cells.jsonl, line 2" in str(error)


@fuzz(25)
@given(st.data())
def test_any_manifest_is_refused_or_right(stored: Path, data: st.DataObject) -> None:
    whole = (stored / "run.json").read_bytes()
    content = (
        json.dumps(data.draw(changed(json.loads(whole)))).encode()
        if data.draw(st.booleans())
        else whole
    )
    with damaged(
        stored / "run.json", data.draw(damages())(content) if data.draw(st.booleans()) else content
    ):
        use(stored)


@fuzz(15)
@given(st.data())
def test_whatever_lies_in_the_inbox_a_run_goes_on(made: Plan, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Store.create(Path(folder), manifest(made, ExecutionOptions())) as store:
            one = driver.RunLedger(made, store, ExecutionOptions()).job(made.planned[0])
        result = one.run_folder.result_of(one.stem)
        one.write_result({"status": "ok", "quality": "clean", "params": 3, "wall_s": 1.5})
        whole = result.read_bytes()
        some = {name: data.draw(JSON) for name in data.draw(st.lists(st.sampled_from(COLUMNS)))}
        plain = json.dumps({"key": one.key, "result": {"status": "ok", **some}}).encode()
        result.write_bytes(plain if data.draw(st.booleans()) else data.draw(damages())(whole))
        done = pipeline.execute(made, Path(folder), pipeline.Quiet(), store.path)
        assert len(read_results(done.path)) == len(read_results(done.path, "cells")) == 4
        assert max(Counter(row["cell_id"] for row in iterate_rows(done.path)).values()) == 1
        assert not list((done.path / "inbox").iterdir())
