"""What our timing costs, beside torch's own. Ratios and shares within one run; run it on a quiet
machine.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch.utils.benchmark import Timer

from unet_bench import build_model, read_results, run
from unet_bench.context import keep_freed_memory
from unet_bench.execute.processes import Processes
from unet_bench.measure.clock import time_pair

INTERVAL = 0.01
CAP_S = 12.0


@pytest.fixture(autouse=True)
def calm() -> None:
    keep_freed_memory()


def network():
    torch.manual_seed(0)
    model, images = build_model("unet", width_scale=0.125).eval(), torch.randn(1, 3, 64, 64)
    return lambda: model(images)


def test_wall_time_to_a_narrow_interval(benchmark) -> None:
    """Both to 1 %, for a pair of networks, in turns: ours times them together, torch's one after
    the other.
    """
    torch.set_num_threads(1)
    walls: dict[str, list[float]] = {"ours": [], "torch": []}
    with torch.inference_mode():
        own, base = network(), network()
        for _ in range(3):
            start = time.perf_counter()
            time_pair(own, base, budget_s=2 * CAP_S, interval=INTERVAL)
            walls["ours"].append(time.perf_counter() - start)
            start = time.perf_counter()
            for step in (own, base):
                timer = Timer("step()", globals={"step": step}, num_threads=1)
                timer.adaptive_autorange(threshold=INTERVAL, max_run_time=CAP_S)
            walls["torch"].append(time.perf_counter() - start)
    ratio = sum(walls["ours"]) / sum(walls["torch"])
    benchmark.extra_info |= {"wall, ours / torch.utils.benchmark": round(ratio, 2), **walls}
    benchmark.pedantic(lambda: None)
    print(f"\nwall time to 1 %: ours / adaptive_autorange = {ratio:.2f} ({walls})")
    assert ratio <= 1.0


@pytest.mark.parametrize("speed_s", [5.0])
def test_most_of_a_cell_is_measured_work_and_the_parent_sleeps(
    benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed_s: float
) -> None:
    waited = []
    wait = Processes.wait

    def watched(self, timeout_s):
        cpu, wall = time.process_time(), time.perf_counter()
        exits = wait(self, timeout_s)
        waited.append((time.process_time() - cpu) / (time.perf_counter() - wall))
        return exits

    monkeypatch.setattr(Processes, "wait", watched)
    options = {
        "data": ["brain"],
        "probes": ["speed"],
        "threads": 1,
        "interval": 1e-9,
        "speed_s": speed_s,
    }
    frame = run("unet,unet-add,unet-bilinear", out=tmp_path, **options)
    cells = read_results(frame.attrs["path"], "cells")
    efficiency = float(cells["measured_s"].sum() / cells["wall_s"].sum())
    benchmark.extra_info |= {
        "measured / wall": round(efficiency, 3),
        "parent's share of a core": max(waited[1:]),
    }
    benchmark.pedantic(lambda: None)
    print(f"\nmeasured / wall = {efficiency:.0%}; the parent used {max(waited[1:]):.2%} of a core")
    assert efficiency >= 0.70
    assert max(waited[1:]) < 0.01
