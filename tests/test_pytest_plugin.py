"""The fixtures for plugin authors, as their pytest runs them, and what is read of its files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from unet_bench.analysis.compare import compare_runs
from unet_bench.networks.choices import SLOTS
from unet_bench.pytest_plugin import baseline_part, built, inputs_of, place_of, setting_of
from unet_bench.store.tables import read_results

pytestmark = pytest.mark.slow  # each starts a pytest of its own

TESTS = """
def test_part(bench_part):
    output = bench_part("up", "bilinear-conv", in_channels=8, out_channels=4, size=(8, 10), batch=3)
    assert output.shape == (3, 4, 16, 20)

def test_variant(bench_variant):
    output = bench_variant("unet-add", size=(32, 48), width_scale=0.0625, classes=3)
    assert output.shape == (1, 3, 32, 48)

def test_else(benchmark):
    benchmark(sum, [1, 2])
"""


def pytest_in(folder: Path, *args: str, tests: str = TESTS) -> subprocess.CompletedProcess[str]:
    """Run pytest on the tests in a process of its own, without this repository's settings."""
    (folder / "test_them.py").write_text(tests)
    plugin = ("-p", "unet_bench.pytest_plugin") if not registered() else ()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-rs",
        "--rootdir=.",
        "-p",
        "no:cacheprovider",
        *plugin,
        *args,
    ]
    # It is not one of several side by side, of which pytest-benchmark times none.
    alone = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")
    }
    return subprocess.run(
        command, cwd=folder, env=alone, capture_output=True, text=True, timeout=240, check=False
    )


def registered() -> bool:
    from importlib.metadata import entry_points

    return any(
        entry.value == "unet_bench.pytest_plugin" for entry in entry_points(group="pytest11")
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    done = pytest_in(
        folder, "--benchmark-json=b.json", "--benchmark-max-time=0.05", "--benchmark-min-rounds=7"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "b.json"


def test_the_json_says_what_was_measured_where(saved: Path) -> None:
    loaded = json.loads(saved.read_text())
    assert loaded["machine_info"]["python_version"]
    part = loaded["benchmarks"][0]["extra_info"]["unet_bench"]
    assert (part["slot"], part["against"], part["variant"]) == (
        "up",
        "transpose",
        "up=bilinear-conv",
    )
    assert (part["task"], part["batch_requested"], part["scored_height"], part["scored_width"]) == (
        "part",
        3,
        8,
        10,
    )
    assert part["latency_ratio_ci_low"] <= part["latency_ratio"] <= part["latency_ratio_ci_high"]


def test_it_is_read_as_results(saved: Path) -> None:
    frame = read_results(saved).set_index("variant")
    assert list(frame.index) == ["up=bilinear-conv", "unet-add", "test_them.py::test_else"]
    assert frame["latency_ms"].notna().all()
    assert (frame["latency_ci_low_ms"] <= frame["latency_ms"]).all()
    assert list(frame["latency_ratio"].notna()) == [True, True, False]
    assert list(frame["baseline"].dropna()) == ["up=transpose", "unet"]
    assert frame["env_id"].notna().sum() == 2
    assert frame.loc["unet-add", "width_scale"] == 0.0625


def test_a_run_of_a_fixture_is_compared_with_another(saved: Path, tmp_path: Path) -> None:
    slower = json.loads(saved.read_text())
    for name in ("latency_ratio", "latency_ratio_ci_low", "latency_ratio_ci_high"):
        slower["benchmarks"][0]["extra_info"]["unet_bench"][name] *= 100
    after = tmp_path / "after.json"
    after.write_text(json.dumps(slower))
    report = compare_runs(saved, after)
    verdicts = {found.variant: found.verdict for found in report.comparisons}
    assert verdicts["up=bilinear-conv"] == "SLOWER"
    assert verdicts["unet-add"] in ("SAME", "AMBIGUOUS")
    assert len(compare_runs(saved, after, by="latency").comparisons) == 3


def test_intervals_come_from_stretches_of_rounds(tmp_path: Path) -> None:
    def latency(**stats: object) -> pd.Series:
        benchmark = {"fullname": "x", "extra_info": {}, "stats": {"median": 2.0, **stats}}
        (tmp_path / "x.json").write_text(
            json.dumps({"machine_info": {}, "benchmarks": [benchmark]})
        )
        return read_results(tmp_path / "x.json").iloc[0]

    assert latency()["latency_ms"] == 2000
    assert pd.isna(latency()["latency_ci_low_ms"])
    assert pd.isna(latency(data=[2.0] * 5)["latency_ci_low_ms"])
    burst = latency(
        data=[1.0] * 2900 + [9.0] * 2100
    )  # of single rounds, the interval would be [1, 1]
    assert list(burst[["latency_ms", "latency_ci_low_ms", "latency_ci_high_ms"]]) == [
        1000,
        1000,
        9000,
    ]


def test_disabled_benchmarks_still_test_and_take_no_time(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, "--benchmark-disable")
    assert "3 passed" in done.stdout, done.stdout
    done = pytest_in(tmp_path, "--benchmark-skip")
    assert "3 skipped" in done.stdout, done.stdout


def test_without_pytest_benchmark_it_says_so(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, "-p", "no:benchmark", "-k", "not else")
    assert "2 skipped" in done.stdout, done.stdout
    assert "bench_part needs pytest-benchmark" in done.stdout
    assert "pip install pytest-benchmark" in done.stdout


def test_a_wrong_name_is_one_line(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, tests="def test(bench_part):\n    bench_part('up', 'transpos')\n")
    assert "unknown up 'transpos'; did you mean transpose" in done.stdout


@pytest.mark.parametrize("slot", SLOTS)
def test_every_slot_s_baseline_part_can_be_fed(slot: str) -> None:
    place, setting = place_of(slot, 8, None, {}), setting_of("cpu", 3)
    part = built(slot, baseline_part(slot), place, setting)
    output = part(*inputs_of(slot, part, place, (16, 16), setting))
    first = next(iter(output)) if isinstance(output, list | tuple) else output
    assert first.shape[0] == 3


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'pandas', 'numpy', 'rich'}"
    code = f"import sys, unet_bench.pytest_plugin; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
