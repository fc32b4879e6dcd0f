"""What running cells costs beside the cells: isolation, several devices, planning, rows. Ratios
within one run.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import pytest

from unet_bench import pipeline
from unet_bench.execute.jobs import Ended, Job
from unet_bench.execute.local import Local
from unet_bench.geometry.shapes import InputWindow
from unet_bench.networks.variants import Variant
from unet_bench.present.table import results_document
from unet_bench.spec.cell import Cell, Protocol, Setting, Task
from unet_bench.spec.suite import from_options
from unet_bench.store.log import Store
from unet_bench.store.tables import read_results

NAP_S = 0.05
PLUGIN = """
import time
from unet_bench import Probe, hookimpl
@hookimpl
def unet_bench_register(registry):
    registry.probe(Probe("nap", "napplugin:nap", summary="sleeps as long as the seed says, in ms"))
def nap(bench):
    time.sleep(bench.cell.seed / 1000)
    return {}
"""


@pytest.fixture
def nap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Jobs that sleep, by a probe of a plugin that is on the path as a distribution."""
    (tmp_path / "napplugin.py").write_text(PLUGIN)
    info = tmp_path / "nap-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nap\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[unet_bench]\nnap = napplugin\n")
    (tmp_path / "logs").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    size = (16, 16)
    input_window = InputWindow(input=size, output=size, start=(0, 0), context=(0, 0))
    task = Task(
        name="t", dataset_hash="0", classes=("a", "b"), in_channels=1, scored=size, fit="crop"
    )
    unet = Variant(name="unet").with_choices(base_width=4)

    def jobs(count: int, seconds: float) -> list[Job]:
        cell = Cell(
            variant=unet,
            input_window=input_window,
            baseline=unet,
            baseline_input_window=input_window,
            task=task,
            setting=Setting(batch=1),
            protocol=Protocol(),
            probe="nap",
            seed=round(1000 * seconds),
        )
        made = cell.to_json()
        return [
            Job(stem=f"nap-{number}", folder=str(tmp_path), cell=made, key="k")
            for number in range(count)
        ]

    return jobs


def ends(executor: Local, jobs: Sequence[Job]) -> float:
    """Run them all; seconds."""
    start = time.perf_counter()
    ended = [event for event in executor.run(jobs) if isinstance(event, Ended)]
    assert {event.result["status"] for event in ended} == {"ok"}, ended[0].result
    assert len(ended) == len(jobs)
    for job in jobs:
        job.remove_result()
    return time.perf_counter() - start


def test_a_process_for_each_cell_costs_a_tenth_of_a_fresh_interpreter(benchmark, nap) -> None:
    """Against a plain loop of fresh interpreters that import torch, in turns."""
    fresh, ours = [], []
    with Local() as executor:
        ends(executor, nap(1, 0.0))  # the fork server starts
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import torch"], check=True)
            fresh.append(time.perf_counter() - start)
            ours.append(ends(executor, nap(20, 0.0)) / 20)
    ratio = median(fresh) / median(ours)
    benchmark.extra_info |= {
        "isolation, ms a cell": round(1000 * median(ours), 1),
        "Popen / ours": round(ratio, 1),
    }
    benchmark.pedantic(lambda: None)
    print(
        f"\nisolation: {1000 * median(ours):.0f} ms a cell; a fresh interpreter with torch takes "
        f"{ratio:.0f} × as long"
    )
    assert ratio > 10


def test_four_devices_are_kept_busy(benchmark, nap) -> None:
    with Local(["cpu"] * 4) as executor:
        ends(executor, nap(4, 0.0))
        taken = ends(executor, nap(200, NAP_S))
    ratio = taken / (200 * NAP_S / 4)
    benchmark.extra_info |= {"makespan / ideal, 200 cells of 50 ms on 4 places": round(ratio, 2)}
    benchmark.pedantic(lambda: None)
    print(
        f"\nmakespan of 200 cells of 50 ms on 4 pretended devices: {ratio:.2f} × the ideal, on "
        f"{os.cpu_count()} cores"
    )
    assert ratio <= 1.25


def answered(self: Local, jobs: Sequence[Job], until: float) -> Iterator[Ended]:
    figures = {f"figure_{number}": number / 7 for number in range(20)}
    for job in jobs:
        yield Ended(
            job, {"status": "ok", "quality": "clean", "wall_s": 0.01, "dice": 0.5, **figures}
        )


def wide(count: int) -> dict[str, object]:
    options = {
        "data": ["cells"],
        "probes": ["accuracy"],
        "size": "32x32",
        "width_scale": 0.0625,
        "steps": 2,
    }
    return {
        "variants": ["unet", "unet-add"],
        "seeds": list(range(count // 2)),
        "floors": False,
        **options,
    }


def test_a_hundred_thousand_cells_are_planned_and_resumed(
    benchmark, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(Local, "run", answered)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what is measured is resuming, not the disk
    monkeypatch.setattr("unet_bench.store.tables.write_tables", lambda _: None)
    suite = from_options(wide(100_000))
    with pipeline.plan(suite) as made:
        path = pipeline.execute(made, tmp_path, pipeline.Quiet()).path
    start = time.perf_counter()
    with pipeline.plan(pipeline.suite_of_run(path), pipeline.recipe_of_run(path)) as made:
        planned = time.perf_counter() - start
        done = pipeline.execute(made, tmp_path, pipeline.Quiet(), path)
    taken = time.perf_counter() - start
    assert done.statuses == {"ok"}
    assert (path / "cells.jsonl").read_bytes().count(b"\n") == 100_000
    benchmark.extra_info |= {
        "10⁵ cells planned, s": round(planned, 1),
        "and resumed, s": round(taken - planned, 1),
    }
    benchmark.pedantic(lambda: None)
    print(f"\n10⁵ cells: planned in {planned:.1f} s, found done in {taken - planned:.1f} s more")
    assert taken < 10


def test_rows_cost_the_same_however_many_there_are(benchmark, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Local, "run", answered)
    suite = from_options({**wide(10_000), "variants": ["unet", "unet-add"]})
    with monkeypatch.context() as patched, pipeline.plan(suite) as made:
        patched.setattr(os, "fsync", lambda _: None)
        path = pipeline.execute(made, tmp_path, pipeline.Quiet()).path
    row = json.loads((path / "cells.jsonl").read_text().partition("\n")[0])

    def appends(store: Store) -> float:
        start = time.perf_counter()
        for number in range(100):
            store.append({**row, "cell_id": f"new-{number}"})
        return time.perf_counter() - start

    few, many = [], []
    with Store.create(tmp_path, {"run_id": "few"}) as empty, Store.open(path) as full:
        for _ in range(5):
            few.append(appends(empty))
            many.append(appends(full))
    start = time.perf_counter()
    input_window = read_results(path)
    loaded = time.perf_counter() - start
    results_document(input_window).rendered()
    shown = time.perf_counter() - start - loaded
    ratio = median(many) / median(few)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    benchmark.extra_info |= {
        "append with 10⁴ rows / with none": round(ratio, 2),
        "10⁴ rows loaded, s": round(loaded, 2),
    }
    benchmark.pedantic(lambda: None)
    print(
        f"\nappending beside 10⁴ rows takes {ratio:.2f} × as long as beside none; "
        f"10⁴ rows are loaded in {loaded:.1f} s and shown in {shown:.1f} s; the process' peak is "
        f"{peak:.0f} MiB"
    )
    assert ratio < 1.2
    assert loaded + shown < 5
