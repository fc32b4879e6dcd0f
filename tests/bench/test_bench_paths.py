"""Paths that people wait on. What is asserted are ratios, taken in turns within one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unet_bench.registry import plugins
from unet_bench.store.log import Store


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


def test_listing_two_hundred_variants_takes_little_longer_than_twenty(
    benchmark, tmp_path: Path
) -> None:
    """Of plugins of their own beside those installed; what a variant costs is a line, not an
    import.
    """
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom unet_bench.cli.app import app\n"
        "app(['list', 'variants'])"
    )
    for count in (20, 200):
        folder = tmp_path / str(count)
        (folder / "many-1.0.dist-info").mkdir(parents=True)
        (folder / "many-1.0.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: many\nVersion: 1.0\n"
        )
        (folder / "many-1.0.dist-info" / "entry_points.txt").write_text(
            "[unet_bench]\nmany = many\n"
        )
        (folder / "many.py").write_text(
            "from unet_bench import hookimpl\n@hookimpl\ndef unet_bench_register(registry):\n"
            f"    for i in range({count}): registry.variant(f'unet-many-{{i}}', depth=3, "
            f"summary='many')\n"
        )
    few, many = (("-c", code, str(tmp_path / str(count))) for count in (20, 200))
    seconds(*few), seconds(*many)
    pairs = [(seconds(*many), seconds(*few)) for _ in range(7)]
    ratio = statistics.median(a / b for a, b in pairs)
    benchmark.extra_info["200 variants / 20"] = round(ratio, 2)
    benchmark.pedantic(seconds, args=many, rounds=3)
    print(f"\nlisting 200 more variants / 20 more = {ratio:.2f}")
    assert ratio <= 1.5


@pytest.mark.parametrize("before", [0, 5000])
@pytest.mark.benchmark(group="appending a row to a store of so many")
def test_append(benchmark, tmp_path: Path, before: int) -> None:
    with Store.create(tmp_path, {"run_id": "r"}) as store:
        (store.path / "cells.jsonl").write_text(
            '{"schema_version": 1, "cell_id": "x", "status": "ok"}\n' * before
        )
        benchmark(store.append, {"cell_id": "y", "status": "ok", "latency_ms": 1.0})
