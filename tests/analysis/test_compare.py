"""Two runs against each other: verdicts, refusals, and what is printed."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from unet_bench.analysis.compare import (
    Comparison,
    check_environments,
    compare,
    compare_runs,
    verdict,
)
from unet_bench.errors import InvalidSuite, StoreError, UnknownName
from unet_bench.present.compare import compare_document, summary
from unet_bench.present.findings import sentences
from unet_bench.store.log import Store
from unet_bench.store.tables import csv_text, results_frame


def told(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    return list(sentences(compare(a, b).findings))


MIRRORED = {
    "FASTER": "SLOWER",
    "SLOWER": "FASTER",
    "LESS": "MORE",
    "MORE": "LESS",
    "BETTER": "WORSE",
    "WORSE": "BETTER",
}
changes = st.floats(-1, 1)
halves = st.floats(0, 1)
margins = st.floats(0, 0.5)
ratios = st.floats(0.1, 10)


def row(
    variant: str = "unet-add", ratio: float | None = 1.0, wide: float = 0.001, **values: Any
) -> dict[str, Any]:
    """A variant's one row; its ratio has an interval of ± `wide` on the logarithm."""
    timed = {} if ratio is None else {
        "latency_ratio": ratio,
        "latency_ratio_ci_low": ratio * math.exp(-wide),
        "latency_ratio_ci_high": ratio * math.exp(wide),
    }  # fmt: skip
    usual = {
        "schema_version": 1,
        "run_id": "r",
        "probe": "speed",
        "status": "ok",
        "seed": 0,
        "task": "brain",
    }
    where = {
        "scored_height": 128,
        "scored_width": 128,
        "device": "cpu",
        "baseline": "unet",
        "env_id": "e1",
    }
    return {**usual, **where, "variant": variant, **timed, **values}


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return results_frame([{"cell_id": str(n), **values} for n, values in enumerate(rows)], {})


def one(a: pd.DataFrame, b: pd.DataFrame, kind: str = "speed", **options: Any) -> Comparison:
    [found] = [found for found in compare(a, b, **options).comparisons if found.kind == kind]
    return found


def save(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text(csv_text(frame(*rows)))
    return path


# ---- verdicts


@given(changes, halves, margins)
def test_swapping_the_sides_mirrors_the_verdict(change: float, half: float, margin: float) -> None:
    there = verdict(change, change - half, change + half, margin)
    back = verdict(-change, -change - half, -change + half, margin)
    assert back == MIRRORED.get(there, there)


@given(changes, halves, st.floats(0, 1), margins)
def test_a_wider_interval_never_makes_an_ambiguous_verdict_firm(
    change: float, half: float, more: float, margin: float
) -> None:
    narrow = verdict(change, change - half, change + half, margin)
    wide = verdict(change, change - half - more, change + half + more, margin)
    assert wide in (narrow, "AMBIGUOUS")


@pytest.mark.parametrize(
    ("change", "half", "expected"),
    [
        (0.0, 0.01, "SAME"),
        (0.01, 0.01, "SAME"),
        (0.01, 0.011, "AMBIGUOUS"),
        (0.0, 0.03, "AMBIGUOUS"),
        (0.05, 0.02, "SLOWER"),
        (-0.05, 0.02, "FASTER"),
        (0.05, math.nan, "AMBIGUOUS"),
    ],
)
def test_verdicts_at_a_margin_of_two_percent(change: float, half: float, expected: str) -> None:
    assert verdict(change, change - half, change + half, 0.02) == expected


@pytest.mark.slow
@settings(max_examples=25)  # each makes four frames
@given(ratios, ratios, halves, halves)
def test_swapped_runs_mirror_every_verdict(
    a: float, b: float, wide_a: float, wide_b: float
) -> None:
    def side(ratio: float, wide: float) -> pd.DataFrame:
        ends = {"dice_ci_low": ratio / 10 - wide, "dice_ci_high": ratio / 10 + wide}
        return frame(
            row(ratio=ratio, wide=wide, peak_memory_mib=100 * ratio, dice=ratio / 10, **ends)
        )

    there = compare(side(a, wide_a), side(b, wide_b)).comparisons
    back = compare(side(b, wide_b), side(a, wide_a)).comparisons
    assert [found.verdict for found in back] == [
        MIRRORED.get(found.verdict, found.verdict) for found in there
    ]
    assert len(there) == 3


@settings(max_examples=25)
@given(ratios, halves)
def test_identical_runs_are_neither_faster_nor_slower(ratio: float, wide: float) -> None:
    run = frame(row(ratio=ratio, wide=wide))
    assert one(run, run).verdict in ("SAME", "AMBIGUOUS")


def test_the_intervals_of_both_sides_count() -> None:
    found = one(frame(row(ratio=1.0, wide=0.03)), frame(row(ratio=1.1, wide=0.04)))
    assert found.change == pytest.approx(0.1)
    assert found.half_width == pytest.approx(1.1 * math.expm1(0.05))
    assert found.verdict == "SLOWER"
    assert (
        one(frame(row(ratio=1.0, wide=0.03)), frame(row(ratio=1.1, wide=0.1))).verdict
        == "AMBIGUOUS"
    )


def test_memory_has_no_interval_and_accuracy_is_a_difference() -> None:
    a = frame(
        row(
            peak_memory_mib=100.0,
            train_peak_memory_mib=10.0,
            dice=0.80,
            dice_ci_low=0.79,
            dice_ci_high=0.81,
        )
    )
    b = frame(
        row(
            peak_memory_mib=103.0,
            train_peak_memory_mib=9.0,
            dice=0.90,
            dice_ci_low=0.89,
            dice_ci_high=0.91,
        )
    )
    assert (one(a, b, "memory").verdict, one(a, b, "training memory").verdict) == ("MORE", "LESS")
    assert one(a, b, "memory", margin=0.05).verdict == "SAME"
    accuracy = one(a, b, "accuracy")
    assert (accuracy.verdict, accuracy.change) == ("BETTER", pytest.approx(0.1))
    assert one(a, b, "accuracy", accuracy_margin=0.2).verdict == "SAME"


def test_training_steps_are_compared_where_both_have_them() -> None:
    timed = {
        "train_step_ratio": 2.0,
        "train_step_ratio_ci_low": 1.99,
        "train_step_ratio_ci_high": 2.01,
    }
    half = {name: value / 2 for name, value in timed.items()}
    a, b = frame(row(**timed)), frame(row(**half))
    assert one(a, b, "training step").verdict == "FASTER"
    dropped = a.drop(columns=[name for name in a if str(name).startswith("train_step")])
    assert {found.kind for found in compare(dropped, dropped).comparisons} == {"speed"}


def test_absolute_latency_on_request() -> None:
    a = frame(row(latency_ms=10.0, latency_ci_low_ms=9.99, latency_ci_high_ms=10.01))
    b = frame(row(latency_ms=8.0, latency_ci_low_ms=7.99, latency_ci_high_ms=8.01))
    assert one(a, b).verdict == "SAME"
    assert one(a, b, by="latency").verdict == "FASTER"


# ---- what is missing


def test_a_failed_cell_is_missing_and_says_why() -> None:
    found = one(
        frame(row()), frame(row(ratio=None, status="oom", error="CUDA out of memory\nTraceback"))
    )
    assert (found.verdict, found.reason) == ("MISSING", "B oom: CUDA out of memory")


def test_rows_of_one_side_only_are_missing() -> None:
    found = compare(frame(row("unet"), row("old")), frame(row("unet"), row("new"))).comparisons
    assert {(f.variant, f.verdict, f.reason) for f in found} == {
        ("unet", "SAME", ""),
        ("old", "MISSING", "not in B"),
        ("new", "MISSING", "not in A"),
    }


def test_other_conditions_are_other_rows() -> None:
    a, b = frame(row(batch_requested=1)), frame(row(batch_requested=4, ratio=9.0))
    assert [(f.verdict, f.workload) for f in compare(a, b).comparisons] == [
        ("MISSING", "batch 1"),
        ("MISSING", "batch 4"),
    ]


def test_a_condition_that_an_earlier_version_did_not_state_tells_no_rows_apart() -> None:
    [found] = compare(frame(row()), frame(row(budget="40 steps", evaluation="tiled"))).comparisons
    assert found.verdict == "SAME"
    assert {
        c.verdict
        for c in compare(frame(row(budget="4 steps")), frame(row(budget="40 steps"))).comparisons
    } == {"MISSING"}
    assert [c.verdict for c in compare(frame(), frame(row(), row("unet"))).comparisons] == [
        "MISSING",
        "MISSING",
    ]


def test_a_workload_is_named_by_what_differs_within_a_variant() -> None:
    small, large = (
        row("x", width_scale=0.25),
        row("x", width_scale=0.25, scored_height=256, scored_width=256),
    )
    run = frame(small, large, row("whole", width_scale=1.0))
    assert [found.workload for found in compare(run, run).comparisons] == [
        "scored 128×128",
        "scored 256×256",
        "scored 128×128",
    ]
    hashed = frame(row(dataset_hash="h1"), row(dataset_hash="h2"))
    assert [found.workload for found in compare(hashed, hashed).comparisons] == ["h1", "h2"]


def test_a_zero_dice_is_a_figure() -> None:
    found = one(frame(row(dice=0.0)), frame(row()), "accuracy")
    assert (found.a, found.reason) == (0.0, "B not measured")


def test_no_interval_is_ambiguous() -> None:
    bare = frame(row(latency_ratio_ci_low=None))
    assert (one(bare, frame(row())).verdict, one(bare, frame(row())).reason) == (
        "AMBIGUOUS",
        "no interval",
    )


def test_a_row_that_is_there_twice_is_refused() -> None:
    twice = pd.concat([frame(row()), frame(row())])
    with pytest.raises(StoreError, match=r"B holds variant 'unet-add' twice"):
        compare(frame(row()), twice)


# ---- refusals


def test_ratios_to_different_baselines_are_refused() -> None:
    a, b = frame(row(latency_ms=1.0)), frame(row(latency_ms=1.0, baseline="unet-paper"))
    with pytest.raises(InvalidSuite, match=r"'unet' and B's to 'unet-paper'.*--by latency"):
        compare(a, b)
    assert one(a, b, by="latency").verdict == "AMBIGUOUS"


def test_unlike_environments_are_refused_by_their_id(tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.csv", row()), save(tmp_path / "b.csv", row(env_id="e2"))
    with pytest.raises(InvalidSuite, match=r"env_id: e1 in A, e2 in B(?s:.)*--across-environments"):
        compare_runs(a, b)
    assert len(compare_runs(a, b, across_environments=True).comparisons) == 1
    assert len(compare_runs(a, a).comparisons) == 1


def run_in(path: Path, **facts: Any) -> Path:
    environment = {
        "env_id": str(facts),
        "kernel": path.name,
        "commit": path.name,
        "cpu": "EPYC",
        **facts,
    }
    with Store.create(path, {"run_id": "r", "environment": environment}) as store:
        store.append({**row(env_id=str(facts)), "cell_id": "c"})
        return store.path


def test_run_json_says_what_differs(tmp_path: Path) -> None:
    ours = {"packages": {"torch": "2.11", "unet-bench": "1"}}
    a = run_in(tmp_path / "a", **ours)
    same = run_in(tmp_path / "b", packages={"torch": "2.11", "unet-bench": "2"})
    other = run_in(tmp_path / "c", packages={"torch": "2.12", "unet-bench": "1"})
    assert len(compare_runs(a, same).comparisons) == 1
    with pytest.raises(InvalidSuite) as refusal:
        compare_runs(a, other)
    assert "packages.torch: 2.11 in A, 2.12 in B" in str(refusal.value)
    assert not any(
        word in str(refusal.value) for word in ("kernel", "commit", "cpu", "unet-bench:", "env_id")
    )


def test_environments_nobody_knows_are_not_refused() -> None:
    unknown = frame(row(env_id=None))
    check_environments({}, {}, unknown, frame(row()))
    with pytest.raises(InvalidSuite, match="device_name"):
        check_environments(
            {},
            {},
            frame(row(env_id=None, device_name="x")),
            frame(row(device_name="y")),
        )


def test_margins_below_zero_are_refused() -> None:
    with pytest.raises(InvalidSuite, match="at least 0"):
        compare(frame(row()), frame(row()), margin=-0.1)


def test_failing_on_verdicts(tmp_path: Path) -> None:
    a = save(tmp_path / "a.csv", row("x"), row("y"), row("z"))
    b = save(tmp_path / "b.csv", row("x", ratio=2.0), row("y"))
    report = compare_runs(a, b)
    assert [f.variant for f in report.failing(["slower"])] == ["x"]
    assert [f.variant for f in report.failing(["slower", "MISSING"])] == ["x", "z"]
    assert report.failing(["worse", "more", "ambiguous"]) == []
    with pytest.raises(UnknownName, match="SLOW"):
        report.failing(["slow"])


# ---- what is printed


def printed(report: Any) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(compare_document(report).rendered())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_format(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.csv", row("[red]x[/red]|y", ratio=1.5), row("z", peak_memory_mib=10.0)
    )
    report = compare_runs(path, path)
    shown = printed(report)
    assert "[red]x[/red]|y" in shown
    assert "1.5" in shown
    assert "+0.0 ±0.1 %" in shown
    assert summary(report) == "speed: 2 SAME · memory: 1 SAME"
    assert summary(report) in shown
    assert r"\[red]x\[/red]\|y" in str(compare_document(report).rendered("md"))
    loaded = json.loads(str(compare_document(report).rendered("json")))
    assert [found["verdict"] for found in loaded["comparisons"]] == ["SAME"] * 3
    table = pd.read_csv(io.StringIO(str(compare_document(report).rendered("csv"))))
    assert list(table["variant"]) == ["[red]x[/red]|y", "z", "z"]
    with pytest.raises(UnknownName):
        compare_document(report).rendered("xml")


def test_the_baseline_s_own_time_is_a_note_where_both_machines_were_quiet() -> None:
    a = frame(row("unet", latency_ms=10.0, quality="clean"))
    b = frame(row("unet", latency_ms=11.0, quality="clean"))
    assert told(a, b) == ["the baseline unet itself: 10 ms, then 11 ms (+10.0%)"]
    disturbed = frame(row("unet", latency_ms=11.0, quality="contaminated"))
    assert told(a, disturbed) == told(disturbed, disturbed) == []


def test_times_are_compared_where_neither_has_a_ratio() -> None:
    """A gate that could compare nothing must not pass."""
    timed = {"ratio": None, "latency_ms": 10.0}
    a = frame(row(**timed, latency_ci_low_ms=9.9, latency_ci_high_ms=10.1), row("y"))
    b = frame(
        row(ratio=None, latency_ms=20.0, latency_ci_low_ms=19.9, latency_ci_high_ms=20.1), row("y")
    )
    slower, same = compare(a, b).comparisons
    assert (slower.column, slower.verdict) == ("latency_ms", "SLOWER")
    assert (same.column, same.verdict) == ("latency_ratio", "SAME")
    assert any("speed: 1 rows have no ratio to a baseline" in text for text in told(a, b))
    assert not told(frame(row("y")), frame(row("y")))
    lone = compare(a, frame(row())).comparisons[0]
    assert (lone.verdict, lone.reason) == ("MISSING", "A without it"), "a time is no ratio"


def test_what_is_ambiguous_says_why_and_what_to_do() -> None:
    wide = frame(row(wide=0.1, dice=0.8, dice_ci_low=0.7, dice_ci_high=0.9), row("y"))
    speed, accuracy = told(wide, wide)
    assert speed.startswith("speed: 1 of 2 are AMBIGUOUS")
    assert "±15.2%" in speed
    assert "2.0%" in speed
    assert "--replicates 3" in speed
    assert accuracy.startswith("accuracy: 1 of 1 are AMBIGUOUS")
    assert "±0.141" in accuracy
    assert "--seeds" in accuracy
    [bare] = told(frame(row(latency_ratio_ci_low=None)), frame(row()))
    assert "no interval" in bare


# ---- nothing to compare


def refused(tmp_path: Path, a: dict[str, Any], b: dict[str, Any]) -> str:
    with pytest.raises(InvalidSuite, match="nothing to compare") as refusal:
        compare_runs(save(tmp_path / "a.csv", a), save(tmp_path / "b.csv", b))
    return str(refusal.value)


def test_unrelated_runs_are_refused_once_with_what_tells_them_apart(tmp_path: Path) -> None:
    text = refused(tmp_path, row("unet"), row("unet", task="cells"))
    assert "task: brain in A, cells in B" in text
    assert "fit" not in text
    assert "variant: unet in A, segnet in B" in refused(tmp_path, row("unet"), row("segnet"))
    crossed = (
        frame(row("x", task="a"), row("y", task="b")),
        frame(row("x", task="b"), row("y", task="a")),
    )
    paths = [tmp_path / "c.csv", tmp_path / "d.csv"]
    for path, of in zip(paths, crossed, strict=True):
        path.write_text(csv_text(of))
    with pytest.raises(InvalidSuite, match=r"no row of A \(2\) .* of a row of B \(2\)\ngive two"):
        compare_runs(*paths)


def test_runs_without_a_common_figure_are_refused_with_the_reasons(tmp_path: Path) -> None:
    oom = row(ratio=None, status="oom", error="CUDA out of memory")
    assert "unet-add, speed: B oom: CUDA out of memory" in refused(tmp_path, row(), oom)
    cost = row(ratio=None, probe="cost")
    assert "--probes speed,memory,accuracy" in refused(tmp_path, cost, cost)


# ---- figures of plugins' probes


def with_figures(path: Path, better: str = "low", **figures: float) -> Path:
    """A run whose plugin's probe measured these figures of as many variants."""
    stated = {"name": "shift_error", "dtype": "Float64", "unit": "%", "label": "shift error"}
    text = {"name": "shift_kind", "dtype": "string"}
    probe = {"columns": [{**stated, "better": better}, text]}
    with Store.create(path, {"run_id": "r", "probes": {"stability": probe}}) as store:
        for name, value in figures.items():
            found = {"shift_error": value, "shift_kind": "pixel", "probe": "stability"}
            store.append({**row(name, ratio=None), **found, "cell_id": name})
        return store.path


@pytest.mark.parametrize(
    ("better", "words"),
    [
        ("low", ["WORSE", "BETTER", "SAME", "WORSE", "SAME"]),
        ("high", ["BETTER", "WORSE", "SAME", "BETTER", "SAME"]),
        ("", ["CHANGED", "CHANGED", "SAME", "CHANGED", "SAME"]),
    ],
)
def test_a_plugins_figure_is_compared_as_its_run_describes_it(
    tmp_path: Path, better: str, words: list[str]
) -> None:
    before = with_figures(tmp_path / "a", better, v=10.0, w=10.0, x=10.0, y=0.0, z=0.0)
    after = with_figures(tmp_path / "b", better, v=12.5, w=5.0, x=10.1, y=1.0, z=0.0)
    report = compare_runs(before, after)
    assert {(found.kind, found.column) for found in report.comparisons} == {
        ("shift error", "shift_error")
    }
    assert [found.verdict for found in report.comparisons] == words
    shown = printed(report)
    assert "shift error: shift_error (%)" in shown
    assert "+25.0 %" in shown
    assert "not above 0" in shown
    assert "error is not known" in shown
    assert "shift_error" in str(compare_document(report).rendered("csv"))


def test_comparing_imports_no_torch() -> None:
    code = (
        "import sys, unet_bench.analysis.compare, unet_bench.pytest_plugin; sys.exit('torch' in "
        "sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
