"""The child: one cell in a process of its own. Reads a job as JSON, leaves its row as JSON, renamed into place."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_bench.errors import InvalidSize, NonFinite, Unsupported, is_out_of_memory

if TYPE_CHECKING:
    from unet_bench.cells import Cell
    from unet_bench.measure.bench import Bench


def main(job: dict[str, Any]) -> None:
    """Measure one cell. Whatever goes wrong becomes a status; the traceback goes to stderr, which is the log."""
    started = time.perf_counter()
    try:
        result = measure(job)
    except BaseException as error:
        traceback.print_exc()
        result = {"status": status_of(error), "error": describe(error)}
    result["wall_s"] = time.perf_counter() - started
    leave(Path(job["result"]), result)


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """The columns that the cell's probe measured, with its status."""
    from unet_bench.cells import Cell
    from unet_bench.measure.bench import Bench, prepare_process
    from unet_bench.plugins import load
    from unet_bench.results.columns import PROBE_COLUMNS

    cell = Cell.from_json(job["cell"])
    prepare_process(cell)
    registry = load(job["block"]).checked()
    names = ("data", "samples", "checkpoint", "weights")
    data, samples, checkpoint, weights = (Path(job[name]) if job.get(name) else None for name in names)
    bench = Bench(cell, registry, data, samples, checkpoint, weights, key=job.get("key", ""))
    measured, cell = shrinking(registry.find("probe", cell.probe).load(), bench)
    unknown = set(measured) - set(PROBE_COLUMNS.get(cell.probe, measured)) - {"quality", "evidence", "per_class"}
    if unknown:
        raise TypeError(f"probe {cell.probe} returned columns that results do not have: {', '.join(sorted(unknown))}")
    quality = measured.pop("quality", None) or "clean"
    return {"status": "ok", "quality": quality, "batch_effective": cell.setting.batch, **measured}


def shrinking(probe: Callable[[Bench], Mapping[str, Any]], bench: Bench) -> tuple[dict[str, Any], Cell]:
    """What the probe measured, and at which cell: with a smaller batch, if the protocol allows it and memory asks."""
    while True:
        try:
            return dict(probe(bench)), bench.cell
        except BaseException as error:
            batch = bench.cell.setting.batch
            if status_of(error) != "oom" or not bench.cell.protocol.shrink_batch or batch == 1:
                raise
        bench = bench.with_batch(batch // 2)  # outside of the handler, which holds on to the memory


def status_of(error: BaseException) -> str:
    """The status that an exception stands for."""
    if isinstance(error, (Unsupported, InvalidSize)):
        return "unsupported"
    if isinstance(error, NonFinite):
        return "nonfinite"
    if "does not have a deterministic implementation" in str(error):
        return "unsupported"
    return "oom" if is_out_of_memory(error) else "error"


def describe(error: BaseException) -> str:
    """An exception's type and first line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:500]


def leave(path: Path, result: dict[str, Any]) -> None:
    """Write the row whole or not at all; numbers that are none become null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in result.items()}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(plain), encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    main(json.loads(sys.stdin.read()))
