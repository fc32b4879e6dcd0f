"""Paths that people wait on. What is asserted are ratios, taken in turns within one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unet_bench import plugins
from unet_bench.results.store import Store


def seconds(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True, check=True)
    return time.perf_counter() - start


def test_help_starts_fifteen_times_as_fast_as_importing_timm(benchmark) -> None:
    help_, timm = ("-m", "unet_bench", "--help"), ("-c", "import timm")
    seconds(*help_), seconds(*timm)  # fill the disk's cache
    pairs = [(seconds(*timm), seconds(*help_)) for _ in range(5)]
    ratio = statistics.median(a / b for a, b in pairs)
    benchmark.extra_info["import timm / unet-bench --help"] = round(ratio, 1)
    benchmark.pedantic(seconds, args=help_, rounds=3)
    print(f"\nimport timm / unet-bench --help = {ratio:.1f}")
    assert ratio >= 15


def test_loading_plugins(benchmark) -> None:
    loaded = benchmark(plugins.load)
    assert len(loaded.registry.variants()) >= 24


@pytest.mark.parametrize("before", [0, 5000])
@pytest.mark.benchmark(group="appending a row to a store of so many")
def test_append(benchmark, tmp_path: Path, before: int) -> None:
    with Store.create(tmp_path, {"run_id": "r"}) as store:
        (store.path / "cells.jsonl").write_text('{"schema_version": 1, "cell_id": "x", "status": "ok"}\n' * before)
        benchmark(store.append, {"cell_id": "y", "status": "ok", "latency_ms": 1.0})
