"""The guard: what it makes of readings, how long it waits, what a busy machine does to a row."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from unet_bench import pipeline, run
from unet_bench.measure import guard
from unet_bench.measure.guard import Reading, Verdict, Watch, judge, wait_until_quiet

START = Reading(wall=100.0, busy=50.0, stolen=1.0, own=10.0)
QUIET = Reading(
    wall=110.0, busy=60.5, stolen=1.0, own=20.0
)  # ten seconds later, this process on one of four cores


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("change", "quality", "words"),
    [
        ({}, "clean", []),
        ({"busy": 63.9}, "clean", []),  # just below a tenth of four cores
        ({"busy": 64.5}, "contaminated", ["11% of 4 cores", "the host 0%"]),
        ({"busy": 66.5, "stolen": 7.0}, "contaminated", ["16% of 4 cores", "the host 15%"]),
        ({"foreign_gpu": 0.04}, "clean", []),  # a desktop's
        ({"foreign_gpu": 0.4}, "contaminated", ["40% of the GPU's time"]),
        (
            {"held_back": frozenset({"hw_thermal", "sw_power_cap"})},
            "throttled",
            ["hw_thermal, sw_power_cap"],
        ),
        ({"held_back": guard.HARMLESS}, "clean", []),
        (
            {"held_back": frozenset({"hw_slowdown"}), "busy": 90.0},
            "contaminated",
            ["hw_slowdown", "of 4 cores"],
        ),
        ({"busy": 40.0}, "clean", []),  # counters that jump back, as they do in a moved machine
    ],
)
def test_what_two_readings_come_to(change: dict, quality: str, words: list[str]) -> None:
    found = judge(START, replace(QUIET, **change))
    assert found.quality == quality
    assert found.absolute == (quality != "contaminated")
    assert all(word in found.evidence for word in words)
    assert bool(found.evidence) == (quality != "clean")
    assert found.foreign_cpu_share is not None
    assert found.foreign_cpu_share >= 0


def test_what_was_there_at_the_start_counts_too() -> None:
    hot = replace(START, held_back=frozenset({"sw_thermal"}))
    assert judge(hot, QUIET).quality == "throttled"


@pytest.mark.usefixtures("four_cores")
def test_beside_a_gpu_the_processors_may_be_busy_until_they_run_short() -> None:
    """Seven trainings on other GPUs take a tenth of 64 cores, and delay nobody else who works."""
    for share, quality in ((0.15, "clean"), (0.45, "clean"), (0.6, "contaminated")):
        busy = replace(QUIET, busy=START.busy + 10 + 40 * share)
        assert judge(START, busy, accelerated=True).quality == quality


class Sampled:
    """A GPU that tells more each time that it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def foreign_share(self, since_s: float) -> float:
        return 0.0

    def throttle_reasons(self) -> frozenset[str]:
        self.asked += 1
        return frozenset({"sw_power_cap"}) if self.asked == 2 else frozenset()

    def sm_clock_mhz(self) -> int:
        return 1000 * self.asked

    def power_w(self) -> float | None:
        return None

    def temperature_c(self) -> int:
        return 60


def test_clocks_are_sampled_while_timing_and_reasons_between_the_readings_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "SAMPLE_S", 0.0)
    watch = Watch(Sampled(), accelerated=True)  # type: ignore[arg-type]
    watch.start()
    watch.sample()
    watch.sample()
    found = watch.verdict()
    assert found.quality in ("throttled", "contaminated")
    assert "sw_power_cap" in found.evidence
    assert (found.gpu_clock_mhz, found.gpu_power_w, found.gpu_temperature_c) == (1500, None, 60)
    watch.start()
    assert "sw_power_cap" not in watch.verdict().evidence


def test_an_accelerator_that_nobody_watches_is_not_called_clean() -> None:
    watch = Watch(None, accelerated=True)
    watch.start()
    found = watch.verdict()
    assert found.quality in ("unwatched", "contaminated")
    assert "NVML does not know it" in found.evidence
    assert found.absolute == (found.quality == "unwatched")


@pytest.mark.parametrize(
    ("before", "after"), [(None, QUIET), (START, None), (None, None), (START, START)]
)
def test_where_the_system_does_not_tell_nothing_is_claimed(
    before: Reading | None, after: Reading | None
) -> None:
    assert judge(before, after) == Verdict("clean", "", None, None)


class Scripted(Watch):
    """A watch over a machine on which others take these shares, one for each half of a second."""

    def __init__(self, *shares: float) -> None:
        super().__init__()
        cores = os.cpu_count() or 1
        busy = enumerate(accumulate(shares, initial=0.0))
        self.readings = iter(
            [Reading(wall=n / 2, busy=cores * share / 2, stolen=0.0, own=0.0) for n, share in busy]
        )
        self.start()

    def read(self) -> Reading:
        return next(self.readings)


def test_a_quiet_machine_is_not_waited_for() -> None:
    slept: list[float] = []
    assert wait_until_quiet(Scripted(0.05), sleep=slept.append) == 0
    assert slept == []


def test_a_busy_machine_is_waited_for_until_it_is_quiet() -> None:
    slept: list[float] = []
    waited = wait_until_quiet(Scripted(0.5, 0.5, 0.5, 0.0, 0.01), sleep=slept.append)
    assert waited == pytest.approx(sum(slept))
    assert len(slept) == 2


def test_a_machine_that_stays_busy_is_not_waited_for_for_ever() -> None:
    slept: list[float] = []
    assert wait_until_quiet(
        Scripted(*[0.9] * 1000), patience_s=1.0, sleep=slept.append
    ) == pytest.approx(1.0)
    assert len(slept) == 5


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/stat").exists() or os.cpu_count() == 1, reason="needs /proc/stat and two cores"
)
def test_work_of_others_empties_the_absolute_times_and_fails_nothing(tmp_path: Path) -> None:
    # Takes every core that the run itself leaves idle.
    spin = [sys.executable, "-c", "import os; os.nice(19)\nwhile True: pass"]
    spinners: list[subprocess.Popen[bytes]] = []

    class Progress(pipeline.Quiet):
        def cell(self, planned: object, seconds_left: float) -> None:
            spinners.extend(subprocess.Popen(spin) for _ in range(os.cpu_count() or 1))

    try:
        options = {
            "probes": ["speed"],
            "size": "32x32",
            "width_scale": 0.0625,
            "speed_s": 0.3,
            "threads": 1,
        }
        row = run("unet", out=tmp_path, data=["cells"], progress=Progress(), **options).iloc[0]
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
    assert (row["speed_status"], row["quality"]) == ("ok", "contaminated")
    assert "others used" in row["evidence"]
    empty = [
        "latency_ms",
        "latency_ci_low_ms",
        "latency_p95_ms",
        "throughput_img_s",
        "throughput_mpx_s",
    ]
    assert row[[*empty, "roofline_fraction"]].isna().all()
    assert (
        row.isna()["latency_ratio"]
        or row["latency_ratio_ci_high"] - row["latency_ratio_ci_low"] <= 0.11
    )
