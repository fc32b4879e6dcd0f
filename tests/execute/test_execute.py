"""Worker processes: whatever happens in one becomes a status, and nothing is left running."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from unet_bench.context import MeasurementContext
from unet_bench.execute.jobs import Ended, Job, Started
from unet_bench.execute.local import Local
from unet_bench.execute.worker import measure_shrinking

BODY = """
import os, signal, sys, time, subprocess, unet_bench.errors as errors
def probe(bench):
    {body}
"""

ENOUGH_S = (
    3 if sys.platform == "linux" else 10
)  # for a worker to begin: elsewhere it is no fork, and imports torch
PLUGIN = """
from unet_bench import Probe, hookimpl
@hookimpl
def unet_bench_register(registry):
    registry.probe(Probe("trouble", "trouble:probe", summary="for tests"))
"""


@pytest.fixture(scope="module")
def cell() -> dict:
    from unet_bench.geometry.shapes import InputWindow
    from unet_bench.networks.variants import Variant
    from unet_bench.spec.cell import Cell, Protocol, Setting, Task

    size = (16, 16)
    input_window = InputWindow(input=size, output=size, start=(0, 0), context=(0, 0))
    task = Task(
        name="t", dataset_hash="0", classes=("a", "b"), in_channels=1, scored=size, fit="crop"
    )
    made = Cell(
        variant=Variant(name="unet").with_choices(base_width=4),
        input_window=input_window,
        baseline=Variant(name="unet").with_choices(base_width=4),
        baseline_input_window=input_window,
        task=task,
        setting=Setting(batch=1),
        protocol=Protocol(),
        probe="trouble",
    )
    return made.to_json()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, cell: dict) -> Iterator[Callable[..., dict]]:
    """Run a probe with this body in a worker; the plugin that provides it is on the path as a
    distribution.

    All workers are forked by one server, as in a run: what happened in one must not matter to the
    next.
    """
    path = tmp_path_factory.mktemp("trouble")
    (path / "troubleplugin.py").write_text(PLUGIN)
    info = path / "trouble-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trouble\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[unet_bench]\ntrouble = troubleplugin\n")

    def run(body: str, timeout: float = 60, options: dict | None = None, **changes: object) -> dict:
        options = options or {}
        (path / "trouble.py").write_text(BODY.format(body=body.replace("\n", "\n    ")))
        job = Job(
            stem="trouble-1",
            folder=str(path),
            cell={**cell, **changes},
            key="k",
            timeout_s=timeout,
            **options,
        )
        (path / "logs").mkdir(exist_ok=True)
        events = list(executor.run([job]))
        assert [type(event) for event in events] == [Started, Ended]
        job.remove_result()
        return events[-1].result

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(path))
        patched.setenv(
            "PYTHONDONTWRITEBYTECODE", "1"
        )  # of a file that changes more often than its time does
        patched.setattr(tempfile, "tempdir", str(path))  # nobody else's locks
        with Local() as executor:
            yield run


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("return {}", "ok", None),
        ("raise ValueError('first\\nsecond')", "error", "ValueError: first"),
        ("raise errors.NonFinite('loss is nan')", "nonfinite", "loss is nan"),
        ("raise errors.Unsupported('no such thing')", "unsupported", "no such thing"),
        ("raise MemoryError()", "oom", "MemoryError"),
        ("import torch; torch.empty(2**50)", "oom", "allocate"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
        ("os.abort()", "killed", "SIGABRT"),
        ("os._exit(0)", "error", "left no row"),
        ("os._exit(7)", "error", "code 7"),
        ("sys.exit(3)", "error", "SystemExit"),
        ("print('{garbage' * 9999); return {}", "ok", None),
        ("return {'latency': object()}", "error", None),
    ],
)
def test_every_ending_is_a_status(outcome, body: str, status: str, words: str | None) -> None:
    found = outcome(body)
    assert found["status"] == status, found
    if words:
        assert words in found["error"]


def test_a_worker_that_hangs_is_ended_with_its_children(
    outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unet_bench.execute.local.GRACE_S", 0.5)
    note = tmp_path / "child.pid"
    body = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "time.sleep(600)"
    )
    found = outcome(body, timeout=ENOUGH_S)
    assert found["status"] == "timeout"
    assert f"{ENOUGH_S} s" in found["error"]
    assert gone(int(note.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="process groups are killed on Linux")
def test_children_left_behind_are_ended(outcome, tmp_path: Path) -> None:
    note = tmp_path / "child.pid"
    body = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "return {}"
    )
    assert outcome(body)["status"] == "ok"
    assert gone(int(note.read_text()))


def test_the_next_job_goes_on_after_a_crash(outcome) -> None:
    assert outcome("os.kill(os.getpid(), signal.SIGSEGV)")["status"] == "killed"
    assert outcome("return {}")["status"] == "ok"


NEEDY = "if bench.cell.setting.batch > 3: raise MemoryError()\nreturn {}"


def with_batch(cell: dict, batch: int, shrink: bool) -> dict:
    setting, protocol = (
        {**cell["setting"], "batch": batch},
        {**cell["protocol"], "shrink_batch": shrink},
    )
    return {"setting": setting, "protocol": protocol}


def test_a_batch_that_does_not_fit_is_halved_until_it_does(outcome, cell: dict) -> None:
    found = outcome(NEEDY, **with_batch(cell, 16, shrink=True))
    assert (found["status"], found["batch_effective"]) == ("ok", 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shrink", "fits", "error", "tried"),
    [
        (True, 3, MemoryError(), [8, 4, 2]),
        (True, 0, MemoryError(), [8, 4, 2, 1]),
        (True, 99, MemoryError(), [8]),
        (False, 3, MemoryError(), [8]),
        (True, 3, RuntimeError("DefaultCPUAllocator: can't allocate memory"), [8, 4, 2]),
        (True, 3, ValueError("of another kind"), [8]),
    ],
)
def test_shrinking_is_for_memory_alone_and_ends_at_one_image(
    context_of, shrink, fits, error, tried
) -> None:
    batches: list[int] = []

    def probe(context: MeasurementContext) -> dict[str, int]:
        batches.append(context.cell.setting.batch)
        if batches[-1] > fits:
            raise error
        return {"found": 1}

    context = context_of(batch=8, protocol={"shrink_batch": shrink})
    if tried[-1] <= fits:
        found, cell = measure_shrinking(probe, context)
        assert (found, cell.setting.batch) == ({"found": 1}, tried[-1])
    else:
        with pytest.raises(type(error)):
            measure_shrinking(probe, context)
    assert batches == tried


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    return False
