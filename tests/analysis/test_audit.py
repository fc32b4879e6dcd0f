"""The self-audit: its arithmetic, our own timing on a synthetic clock that does its worst, and a
tiny real one.
"""

from __future__ import annotations

import functools
import gc
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.machine import Machine

from unet_bench.analysis.audit import Count, Report, Trial, audit, compared, confidence, trials_of
from unet_bench.analysis.compare import compare
from unet_bench.errors import InvalidSuite, UnetBenchError
from unet_bench.execute.jobs import Ended, Job
from unet_bench.execute.local import Local
from unet_bench.measure.clock import time_pair
from unet_bench.present.audit import report_text
from unet_bench.selftest import Outcome, selftest

# ---- arithmetic


def same(*ratios: float, half: float = 0.01) -> list[Trial]:
    return [Trial(0.0, ratio, ratio - half, ratio + half) for ratio in ratios]


def test_59_pairs_are_the_fewest_that_give_95_percent_confidence() -> None:
    assert confidence(59) == pytest.approx(0.95151, abs=1e-5)
    assert confidence(58) < 0.95
    assert confidence(20) == pytest.approx(0.64151, abs=1e-5)


def test_repeatability_is_the_farthest_pair_and_the_sentence_rounds_against_us() -> None:
    report = audit(same(1.0, 0.99, 1.0121, 0.9787), budget_s=10)
    assert report.worst == pytest.approx(0.0213)
    assert report.within() == pytest.approx(2.2)
    first = report_text(report).splitlines()[0]
    assert first == (
        "repeatable within 2.2 % (18 % confidence that 95 % of pairs are; 4 pairs of at most 10 s)"
    )
    assert report_text(audit(same(*[1.0] * 58, 1.021), budget_s=10)).startswith(
        "repeatable within 2.1 % (95 % confidence"
    )
    assert report_text(audit(same(*[1.0] * 57, 1.021), budget_s=10)).startswith(
        "repeatable within 2.1 % (94 % confidence"
    )


def test_95th_percentile_leaves_one_in_twenty_beyond() -> None:
    deviations = [n / 1000 for n in range(20)]
    assert audit(same(*(1 + d for d in deviations)), budget_s=1).usual == pytest.approx(0.018)


def test_false_alarms_are_intervals_without_one() -> None:
    report = audit(same(1.0, 1.005, 1.02, 0.98), budget_s=1)
    assert (report.false_alarms.hits, report.false_alarms.of) == (2, 4)
    assert (report.coverage.hits, report.coverage.of) == (2, 4)


def test_wilson_interval_by_hand() -> None:
    share, low, high = Count(0, 10).share()
    assert (share, low) == (0, 0)
    assert high == pytest.approx(0.27753, abs=1e-5)  # z² / (n + z²)
    assert Count(5, 10).share() == pytest.approx((0.5, 0.23659, 0.76341), abs=1e-5)


def test_slow_downs_are_found_and_covered_apart() -> None:
    injected = [
        Trial(0.05, 1.05, 1.03, 1.07),  # found, covered
        Trial(0.05, 1.02, 1.01, 1.03),  # found, not covered
        Trial(0.05, 1.03, 0.99, 1.07),  # covered, not found
        Trial(0.01, 1.01, 0.99, 1.03, closed=False),
    ]
    report = audit([*injected, *same(1.0)], budget_s=1, lost={"contaminated": 2})
    one, five = report.detections
    assert (one.slowdown, one.found.hits, one.covered.hits) == (0.01, 0, 1)
    assert (five.found.hits, five.covered.hits, five.found.of) == (2, 2, 3)
    assert five.median_ratio == 1.03
    assert (report.pairs, report.coverage.hits, report.closed.hits) == (1, 4, 4)
    assert "2 of all were lost: 2 contaminated" in report_text(report)


def test_compare_sees_every_two_pairs_of_identical_code() -> None:
    near, far = same(1.0, 1.001, half=0.002), same(1.08, half=0.002)
    report = audit([*near, *far], budget_s=1)
    assert report.verdicts == {"SAME": 1, "SLOWER": 2}
    assert (report.alarms().hits, report.alarms().of) == (2, 3)


@pytest.mark.parametrize(
    ("ratio", "half"), [(1.0, 0.001), (1.1, 0.01), (0.9, 0.01), (1.02, 0.01), (1.0, 0.2)]
)
def test_verdicts_are_those_of_the_shipped_compare(ratio: float, half: float) -> None:
    def frame(trial: Trial) -> pd.DataFrame:
        figures = {
            "latency_ratio": trial.ratio,
            "latency_ratio_ci_low": trial.low,
            "latency_ratio_ci_high": trial.high,
        }
        return pd.DataFrame([{"variant": "unet", "baseline": "unet", **figures}])

    a, b = same(1.003, ratio, half=half)
    (found,) = compare(frame(a), frame(b)).comparisons
    assert compared(a, b) == found.verdict


def test_without_identical_code_nothing_can_be_said() -> None:
    with pytest.raises(
        UnetBenchError, match=r"no pair of identical code gave a ratio \(1 contaminated\)"
    ):
        audit([Trial(0.05, 1.05, 1.0, 1.1)], budget_s=1, lost={"contaminated": 1})


def test_a_report_is_short_text_and_plain_json() -> None:
    trials = [*same(1.0, 1.01), *(Trial(s, 1 + s, 1.0, 1.1) for s in (0.01, 0.02, 0.03, 0.05))]
    report = audit(trials, budget_s=1, workload="unet · cpu", lost={"oom": 1})
    assert report_text(report).splitlines()[1] == "unet · cpu"
    assert len(report_text(report).splitlines()) <= 25
    stored = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert stored["repeatable_within_percent"] == 1.0
    assert [d["slowdown"] for d in stored["detection"]] == [0.01, 0.02, 0.03, 0.05]
    assert stored["lost"] == {"oom": 1}


def test_rows_without_a_ratio_are_counted_not_forgotten() -> None:
    figures = {"latency_ratio": 1.05, "latency_ratio_ci_low": 1.0, "latency_ratio_ci_high": 1.1}
    rows = [
        {"cell_id": "a", "status": "error"},
        {
            "cell_id": "a",
            "status": "ok",
            "quality": "clean",
            "slowdown": 0.05,
            "stop_reason": "ci",
            **figures,
        },
        {
            "cell_id": "b",
            "status": "ok",
            "quality": "contaminated",
            "slowdown": None,
            "latency_ratio": None,
        },
        {"cell_id": "c", "status": "oom"},
    ]
    trials, lost = trials_of(rows)
    assert trials == [Trial(0.05, 1.05, 1.0, 1.1, closed=True)]
    assert lost == {"contaminated": 1, "oom": 1}


def test_exit_codes() -> None:
    report = audit(same(1.021), budget_s=1)
    done = Outcome(report, Path(), stopped=False)
    assert [done.exit_code(), done.exit_code(3), done.exit_code(2)] == [0, 0, 1]
    assert Outcome(report, Path(), stopped=True).exit_code() == 130


# ---- on a synthetic clock


class TwoSpeeds(Machine):
    """`Machine`, whose steps vary by 11 % (AR(1), 0.9) on a wave of ±50 %, and 1.15 times slower in
    spells of 2 s.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.time, self.slow = self.random.uniform(0, 20), self.random.random() < 0.5

    def step(self, cost: float) -> None:
        before = self.time
        super().step(cost * (1.15 if self.slow else 1.0))
        if self.random.random() < (self.time - before) / 2:
            self.slow = not self.slow


def synthetic(seed: int, slowdown: float, interval: float) -> Trial:
    machine = TwoSpeeds(seed)
    timing = time_pair(
        lambda: machine.step(0.01 * (1 + slowdown)),
        lambda: machine.step(0.01),
        budget_s=10,
        interval=interval,
        now=machine.now,
    )
    return Trial(slowdown, *timing.ratio_interval(), timing.stop_reason == "ci")


@functools.cache
def synthetic_audit(interval: float = 0.01) -> Report:
    """500 pairs of identical code and 150 of each slow-down: 10 s each on the synthetic clock."""
    counts = {0.0: 500, 0.01: 150, 0.02: 150, 0.03: 150, 0.05: 150}
    seeds = iter(range(2000))
    gc.freeze()  # or each timing's collection would look through all of torch and pandas
    try:
        trials = [
            synthetic(next(seeds), s, interval) for s, count in counts.items() for _ in range(count)
        ]
    finally:
        gc.unfreeze()
    return audit(trials, budget_s=10)


ALL_THE_TIME, OFTEN_EARLY = (
    0.01,
    0.03,
)  # intervals that are never reached, and reached by half of the pairs


@pytest.mark.slow
@pytest.mark.parametrize("interval", [ALL_THE_TIME, OFTEN_EARLY])
def test_identical_code_is_called_identical(interval: float) -> None:
    report = synthetic_audit(interval)
    assert (
        report.false_alarms.share()[0] <= 0.07
    )  # 5 % is meant; twice the standard error of 500 pairs is 2 %
    assert report.within() <= 5
    assert report.alarms().hits <= 0.01 * report.alarms().of


@pytest.mark.slow
@pytest.mark.parametrize("interval", [ALL_THE_TIME, OFTEN_EARLY])
def test_intervals_hold_the_truth(interval: float) -> None:
    assert synthetic_audit(interval).coverage.share()[0] >= 0.93


@pytest.mark.slow
def test_slow_downs_are_found() -> None:
    one, two, three, five = synthetic_audit().detections
    assert five.found.hits >= 0.95 * five.found.of
    assert three.found.hits >= 0.80 * three.found.of
    assert one.found.hits < two.found.hits < three.found.hits
    for found in (one, two, three, five):
        assert found.median_ratio == pytest.approx(1 + found.slowdown, abs=0.004)


# ---- as a run

TINY: dict[str, Any] = {
    "threads": [1],
    "size": "32x32",
    "width_scale": 0.0625,
    "batch": [2],
    "speed_s": 0.2,
}


class FakeWorkers:
    """Workers that answer at once, with the truth; after so many cells the user presses Ctrl-C."""

    def __init__(self, patience: int = 1000) -> None:
        self.patience = patience

    def run(self, jobs: Sequence[Job]) -> Iterator[Ended]:
        for job in jobs:
            if not self.patience:
                raise KeyboardInterrupt
            self.patience -= 1
            factor = 1 + job.cell["protocol"]["slowdown"]
            figures = {
                "latency_ratio": factor,
                "latency_ratio_ci_low": factor - 0.01,
                "latency_ratio_ci_high": factor + 0.01,
            }
            yield Ended(
                job,
                {"status": "ok", "quality": "clean", "stop_reason": "ci", "wall_s": 0.0, **figures},
            )


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> FakeWorkers:
    fake = FakeWorkers()
    monkeypatch.setattr(Local, "run", lambda _, jobs, until: fake.run(jobs))
    return fake


@pytest.mark.usefixtures("workers")
def test_a_run_is_audited_under_its_own_conditions(tmp_path: Path) -> None:
    audited = selftest(pairs=2, repeats=1, out=tmp_path, **TINY).path
    (audited / "selftest.json").unlink()
    done = selftest(audited, pairs=3, repeats=0, out=tmp_path, interval=0.5)
    assert done.exit_code() == 0
    suite = json.loads((done.path / "run.json").read_text())["suite"]
    assert {name: suite[name] for name in TINY} == TINY
    assert suite["interval"] == 0.5
    assert suite["replicates"] == 3
    for folder in (audited, done.path):
        assert json.loads((folder / "selftest.json").read_text())["run"] == done.path.name
        assert (folder / "selftest.txt").read_text() == report_text(done.report)


@pytest.mark.usefixtures("workers")
def test_a_run_of_another_machine_is_refused(tmp_path: Path) -> None:
    path = selftest(pairs=1, repeats=0, out=tmp_path, **TINY).path
    manifest = json.loads((path / "run.json").read_text())
    manifest["environment"]["env_id"] = "elsewhere"
    (path / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(InvalidSuite, match="was measured in another environment"):
        selftest(path, pairs=1, repeats=0, out=tmp_path)


def test_ctrl_c_keeps_and_audits_what_was_measured(tmp_path: Path, workers: FakeWorkers) -> None:
    workers.patience = 5
    stopped = selftest(pairs=6, repeats=1, out=tmp_path, **TINY)
    assert stopped.exit_code() == 130
    assert stopped.report.coverage.of == 5
    assert (stopped.path / "selftest.json").is_file()
    assert (stopped.path / "results.csv").is_file()


@pytest.mark.slow
def test_a_real_selftest_is_a_run_with_an_audit(tmp_path: Path) -> None:
    code = (
        "import sys, unet_bench.selftest as s; assert 'torch' not in sys.modules\n"
        "from pathlib import Path; from unet_bench.present.audit import report_text\n"
        f"o = s.selftest(pairs=3, repeats=1, out=Path('runs'), **{TINY!r})\n"
        "print(report_text(o.report), end=''); sys.exit(o.exit_code(1000))"
    )
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    (path,) = (tmp_path / "runs").iterdir()
    rows = [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]
    assert len({row["cell_id"] for row in rows}) == len({row["replicate"] for row in rows}) == 7
    assert sorted(row["slowdown"] or 0 for row in rows) == [0, 0, 0, 0.01, 0.02, 0.03, 0.05]
    assert len(list((path / "samples").glob("speed-*.json"))) == 7
    if all(row["latency_ratio"] is None for row in rows if not row["slowdown"]):
        assert (
            "no pair of identical code gave a ratio" in done.stderr
        )  # other work had the machine all the time
        return
    replicates = pd.read_csv(path / "results.csv").set_index("variant")["replicates"].to_dict()
    # Rows of their own, of those that have a ratio: nothing is pooled with what was slowed down.
    slowed = {f"unet slowed by {percent} %" for percent in (1, 2, 3, 5)}
    assert set(replicates) == {"unet", *slowed}
    assert all(pd.isna(replicates[name]) or replicates[name] == 1 for name in slowed)
    lost = sum(row["latency_ratio"] is None for row in rows)  # on a busy machine most may be
    alike = sum(row["latency_ratio"] is not None for row in rows if not row["slowdown"])
    assert done.returncode == (lost >= alike), done.stderr
    assert done.stdout.startswith("repeatable within ")
    assert (path / "selftest.txt").read_text() == done.stdout
    assert json.loads((path / "selftest.json").read_text())["run"] == path.name
