"""JSON of pytest-benchmark, and of whatever else may be given in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unet_bench.errors import StoreError
from unet_bench.store.pytest_json import benchmark_rows
from unet_bench.store.tables import read_results

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def saved(path: Path, **changes: Any) -> Path:
    """A file of one benchmark, with some of its entries changed; those that are None left out."""
    stats = {"median": 0.002, "data": [0.002] * 6}
    benchmark = {"fullname": "test_a", "extra_info": {}, "stats": stats, **changes}
    stated = {name: value for name, value in benchmark.items() if value is not None}
    path.write_text(json.dumps({"machine_info": {}, "benchmarks": [stated]}))
    return path


def test_a_benchmark_is_a_row_of_its_time(tmp_path: Path) -> None:
    [row] = benchmark_rows(saved(tmp_path / "x.json"))
    figures = [row[f"latency_{name}"] for name in ("ms", "ci_low_ms", "ci_high_ms")]
    assert figures == [2, 2, 2]
    [bare] = benchmark_rows(saved(tmp_path / "x.json", stats={"median": 1, "data": []}))
    assert bare["latency_ms"] == 1000
    assert list(read_results(tmp_path / "x.json")["latency_ci_low_ms"].isna()) == [True]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "Expecting value"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", r"\[\] is no JSON object"),
        ("{}", "benchmarks is missing: it must be a list"),
        ('{"benchmarks": {}}', "benchmarks is {}: it must be a list"),
        ('{"benchmarks": [1]}', "benchmark 1 of 1: 1 is no JSON object"),
        ('{"benchmarks": [], "machine_info": 3}', "machine_info is 3: it must be an object"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(StoreError, match=f"{words}(?s:.)*--benchmark-json"):
        read_results(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fullname": 3}, "fullname is 3: it must be text"),
        ({"stats": None}, "stats is missing: it must be an object"),
        ({"stats": {"data": []}}, "median is missing: it must be a number"),
        ({"stats": {"median": True}}, "median is True: it must be a number"),
        ({"stats": {"median": float("inf")}}, "median is inf: it must be a number"),
        ({"stats": {"data": [0.1, "a"]}}, "data holds 'a': it must hold numbers only"),
        ({"stats": {"data": [10**400]}}, "data holds 1000"),
        ({"extra_info": {"unet_bench": []}}, r"unet_bench is \[\]: it must be an object"),
        ({"extra_info": {"unet_bench": {"variant": None}}}, "does not name a cell"),
        ({"extra_info": {"unet_bench": {"latency_ratio": "fast"}}}, "latency_ratio does not take"),
        ({"extra_info": {"unet_bench": {"seed": []}}}, "seed does not take"),
    ],
)
def test_a_benchmark_of_another_shape_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(StoreError, match=words):
        read_results(saved(tmp_path / "x.json", **changes))


def test_files_of_ours_that_are_no_results_say_what_to_give() -> None:
    with pytest.raises(StoreError, match=r"give its folder, .*quick-cpu"):
        read_results(REFERENCE / "quick-cpu" / "run.json")
    with pytest.raises(StoreError, match="benchmark 1 of 5: stats is missing"):
        read_results(REFERENCE / "bench-cpu" / "benchmark.json")
