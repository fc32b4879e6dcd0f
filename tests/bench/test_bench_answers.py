"""What answers from large tables cost. Asserted are ratios, taken in turns within one run."""

from __future__ import annotations

import dataclasses
import statistics
import time
from itertools import islice, product
from typing import Any

import numpy as np

from unet_bench.analysis.effects import effects
from unet_bench.networks.choices import Choices, format_value
from unet_bench.stats.pareto import undominated
from unet_bench.store.runs import Runs
from unet_bench.store.schema import columns
from unet_bench.store.tables import typed_frame, typed_table

LEVELS: dict[str, list[Any]] = {
    "task": ["a", "b", "c", "d"],
    "up": ["transpose", "bilinear", "nearest"],
    "merge": ["concat", "add"],
    "down": ["max-pool", "strided", "blur"],
    "skip": ["identity", "attention", "scse"],
    "act": ["relu", "silu", "gelu"],
    "depth": [4, 3, 5],
    "base_width": [64, 32, 48],
    "topology": ["unet", "nested"],
}


def runs(rows: int) -> Runs:
    """The first rows of a grid of eight choices on four data sets, with every figure."""
    random = np.random.default_rng(0)
    usual = {
        n: format_value(n, v) if isinstance(v, tuple) else v
        for n, v in dataclasses.asdict(Choices()).items()
    }
    usual |= {
        "run_id": "r",
        "baseline": "none",
        "device": "cpu",
        "env_id": "e",
        "accuracy_status": "ok",
        "trivial": False,
    }
    made = []
    for number, values in enumerate(islice(product(*LEVELS.values()), rows)):
        ratio = float(np.exp(0.1 * random.normal()))
        figures = dict.fromkeys(
            ("latency_ratio", "throughput_ratio", "train_step_ratio", "energy_ratio"), ratio
        )
        figures |= {
            "peak_memory_mib": ratio,
            "train_peak_memory_mib": ratio,
            "dice": 0.8 + 0.01 * ratio,
        }
        named = dict(zip(LEVELS, values, strict=True))
        made.append(
            {
                **usual,
                **named,
                "variant": f"v{number}",
                "params": 100 + number % 7,
                "macs": 100,
                **figures,
            }
        )
    frame = typed_frame(made, {column.name: column.dtype for column in columns("results")})
    return Runs(
        frame.assign(dataset_hash=frame["task"]),
        typed_table("cells"),
        typed_table("classes"),
        {},
        {},
    )


def seconds(of: Runs) -> float:
    start = time.perf_counter()
    found = effects(of)
    duration = time.perf_counter() - start
    assert len(found.interactions), "there is something to measure"
    return duration


def test_effects_of_ten_thousand_rows_take_little_longer_than_of_a_thousand(benchmark: Any) -> None:
    """By grouping hashes, not by pairs of rows, of which there are a hundred times as many."""
    few, many = runs(800), runs(10_000)
    seconds(few)
    ratio = statistics.median(seconds(many) / seconds(few) for _ in range(5))
    benchmark.extra_info["10 000 rows / 800 rows"] = round(ratio, 1)
    benchmark.pedantic(effects, args=(many,), rounds=3)
    print(f"\neffects: 10 000 rows / 800 rows = {ratio:.1f}")
    assert ratio < 25


def test_the_front_of_ten_times_as_many_networks_takes_little_more_than_ten_times_as_long(
    benchmark: Any,
) -> None:
    """By a sweep over sorted points, not by pairs of networks."""
    few, many = (np.random.default_rng(0).normal(size=(3, n, 50)) for n in (200, 2000))

    def of(values: np.ndarray) -> float:
        start = time.perf_counter()
        undominated(values)
        return time.perf_counter() - start

    ratio = statistics.median(of(many) / of(few) for _ in range(5))
    benchmark.extra_info["2000 networks / 200 networks"] = round(ratio, 1)
    benchmark.pedantic(undominated, args=(many,), rounds=3)
    print(f"\nfront: 2000 networks / 200 networks = {ratio:.1f}")
    assert ratio < 25
