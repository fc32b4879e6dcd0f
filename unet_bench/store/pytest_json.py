"""What pytest-benchmark writes with `--benchmark-json`, as our table of results."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from unet_bench.errors import StoreError
from unet_bench.stats.intervals import median_interval
from unet_bench.store.schema import BY_NAME

EXTRA: Final = "unet_bench"  # where our fixtures put their figures in a benchmark's extra_info
MOST_BLOCKS: Final = 100


def benchmark_rows(path: Path) -> list[dict[str, Any]]:
    """Return the benchmarks of the file as rows of results, one for each part or variant.

    Figures of our fixtures come with their ratio to the baseline; any other benchmark is a variant
    of its full name with its latency alone. Raises StoreError for a file that is not
    pytest-benchmark's.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return list(_rows(saved, path.stem))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} cannot be read as pytest-benchmark's JSON ({type(error).__name__}: {error}); "
            "write it with pytest --benchmark-json=FILE"
        ) from error


def _rows(saved: Mapping[str, Any], run_id: str) -> Iterator[dict[str, Any]]:
    """Yield a row of the speed probe for each benchmark."""
    machine = saved["machine_info"]
    shared = {
        "schema_version": 1,
        "run_id": run_id,
        "probe": "speed",
        "status": "ok",
        "seed": 0,
        "device_name": machine.get("cpu", {}).get("brand_raw"),
        "started": saved.get("datetime"),
    }
    for benchmark in saved["benchmarks"]:
        ours = benchmark["extra_info"].get(EXTRA, {})
        known = {name: value for name, value in ours.items() if name in BY_NAME}
        name = benchmark["fullname"]
        yield {**shared, "cell_id": name, "variant": name, **_latency(benchmark["stats"]), **known}


def _latency(stats: Mapping[str, Any]) -> dict[str, float]:
    """Return the median of the rounds in ms, with its interval where every round was kept."""
    if rounds := stats.get("data"):
        mid, low, high = median_interval(_blocks(rounds))
    else:
        mid, low, high = stats["median"], math.nan, math.nan
    return {
        "latency_ms": 1e3 * mid,
        "latency_ci_low_ms": 1e3 * low,
        "latency_ci_high_ms": 1e3 * high,
    }


def _blocks(rounds: Sequence[float]) -> list[float]:
    """Return the medians of at most 100 stretches of neighbouring rounds.

    Neighbouring rounds meet the same disturbances, so that a stretch counts as one.
    """
    step = math.ceil(len(rounds) / MOST_BLOCKS)
    return [
        statistics.median(rounds[start : start + step]) for start in range(0, len(rounds), step)
    ]
