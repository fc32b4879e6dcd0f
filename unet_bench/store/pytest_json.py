"""What pytest-benchmark writes with `--benchmark-json`, as our table of results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from unet_bench.errors import StoreError
from unet_bench.limits import entry, read_json, require_numbers
from unet_bench.stats.intervals import Interval, median_interval
from unet_bench.store.log import Row, checked
from unet_bench.store.run_folder import MANIFEST
from unet_bench.store.schema import BY_NAME

EXTRA: Final = "unet_bench"  # where our fixtures put their figures in a benchmark's extra_info
MOST_BLOCKS: Final = 100
MOST_BYTES: Final = 2**28  # it lists every round of every benchmark


def benchmark_rows(path: Path) -> list[Row]:
    """Return the benchmarks of the file as rows of results, one for each part or variant.

    Figures of our fixtures come with their ratio to the baseline; any other benchmark is a variant
    of its full name with its latency alone. Raises StoreError for a file that is not
    pytest-benchmark's.
    """
    if path.name == MANIFEST:
        raise StoreError(
            f"{path} says how a run was made, not its results: give its folder, {path.parent}"
        )
    try:
        return [checked(row, str(path)) for row in _rows(read_json(path, MOST_BYTES), path.stem)]
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be read as pytest-benchmark's JSON: {error}; "
            "write it with pytest --benchmark-json=FILE"
        ) from error


def _rows(saved: Any, run_id: str) -> Iterator[Row]:
    """Yield a row of the speed probe for each benchmark. Raises ValueError for another shape."""
    benchmarks = entry(saved, "benchmarks", list)
    processor = entry(entry(saved, "machine_info", dict, {}), "cpu", dict, {})
    shared = {
        "schema_version": 1,
        "run_id": run_id,
        "probe": "speed",
        "status": "ok",
        "seed": 0,
        "device_name": processor.get("brand_raw"),
        "started": saved.get("datetime"),
    }
    for number, benchmark in enumerate(benchmarks):
        try:
            name = entry(benchmark, "fullname", str)
            latency = _latency(entry(benchmark, "stats", dict))
            ours = entry(entry(benchmark, "extra_info", dict, {}), EXTRA, dict, {})
        except ValueError as error:
            raise ValueError(f"benchmark {number + 1} of {len(benchmarks)}: {error}") from error
        known = {column: value for column, value in ours.items() if column in BY_NAME}
        figures = dict(zip(_LATENCY, latency, strict=True))
        yield {**shared, "cell_id": name, "variant": name, **figures, **known}


_LATENCY: Final = ("latency_ms", *(BY_NAME["latency_ms"].interval or ()))


def _latency(stats: dict[str, Any]) -> Interval:
    """Return the median of the rounds in ms, with its interval where every round was kept."""
    rounds = entry(stats, "data", list, [])
    require_numbers("data", rounds)
    if not rounds:
        return Interval(1e3 * entry(stats, "median", float))
    return Interval(*(1e3 * end for end in median_interval(_blocks(rounds))))


def _blocks(rounds: Sequence[float]) -> list[float]:
    """Return the medians of at most 100 stretches of neighbouring rounds.

    Neighbouring rounds meet the same disturbances, so that a stretch counts as one.
    """
    step = math.ceil(len(rounds) / MOST_BLOCKS)
    return [
        statistics.median(rounds[start : start + step]) for start in range(0, len(rounds), step)
    ]
