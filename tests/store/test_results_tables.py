"""From rows to tables, and from tables to csv and back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from support.growth import growth

from unet_bench.errors import StoreError
from unet_bench.present.table import results_document
from unet_bench.store import tables
from unet_bench.store.columns import COLUMNS
from unet_bench.store.log import Store, iterate_rows
from unet_bench.store.runs import read_runs
from unet_bench.store.schema import TABLES, columns
from unet_bench.store.tables import (
    cells_frame,
    classes_frame,
    read_results,
    results_frame,
    write_tables,
)

CONDITIONS = {
    "task": "brain",
    "scored_height": 128,
    "scored_width": 128,
    "device": "cpu",
    "precision": "fp32",
    "batch_requested": 4,
}
FIGURES: dict[str, dict[str, Any]] = {
    "cost": {"params": 31_000_000, "macs": 3_400_000_000},
    "speed": {
        "latency_ms": 10.0,
        "latency_ci_low_ms": 9.0,
        "latency_ci_high_ms": 12.0,
        "latency_ratio": 1.0,
    },
    "memory": {"peak_memory_mib": 100.0, "train_peak_memory_mib": 400.0},
    "accuracy": {"dice": 0.9, "iou": 0.8, "train_steps": 60},
}


def cell(probe: str = "speed", variant: str = "unet", n: int = 0, **values: Any) -> dict[str, Any]:
    """A row as the runner appends it: cell number `n` of a probe and variant, with figures unless
    it failed.
    """
    figures = FIGURES.get(probe, {}) if values.get("status", "ok") == "ok" else {}
    row = {
        "schema_version": 1,
        "run_id": "r1",
        "cell_id": f"{variant} {probe} {n}",
        "variant": variant,
        "probe": probe,
    }
    return {**row, "seed": 0, "replicate": 0, "status": "ok", **CONDITIONS, **figures, **values}


def failed(
    probe: str = "speed", variant: str = "unet", n: int = 0, **values: Any
) -> dict[str, Any]:
    return cell(probe, variant, n, **{"status": "error", "error": "it broke", **values})


def wide(*rows: dict[str, Any], **manifest: Any) -> dict[str, Any]:
    """The one row of results, without what is empty."""
    [record] = results_frame(rows, manifest).to_dict("records")
    return {str(name): value for name, value in record.items() if not pd.isna(value)}


# ---- cells


def test_cells_have_every_column_with_its_type() -> None:
    frame = cells_frame([cell(per_class=[])])
    assert {str(name): str(dtype) for name, dtype in frame.dtypes.items()} == {
        column.name: column.dtype for column in columns("cells")
    }


def test_cells_keep_the_last_attempt() -> None:
    frame = cells_frame([failed(attempt=1), cell("cost"), cell(attempt=2)])
    assert list(frame["attempt"].dropna()) == [2]
    assert sorted(frame["status"]) == ["ok", "ok"]


def test_a_failed_cell_keeps_its_key_and_has_no_figures() -> None:
    [row] = cells_frame([failed(latency_ms=0.0, macs=1)]).dropna(axis=1).to_dict("records")
    assert (row["task"], row["error"]) == ("brain", "it broke")
    assert not {"latency_ms", "macs"} & set(row)


def test_values_of_another_type_are_converted_or_named() -> None:
    values: dict[str, Any] = {
        "depth": 4.0,
        "dropout": "0.1",
        "bias": "true",
        "decoder_widths": "",
        "attempt": "2",
        "log": 7,
    }
    [row] = cells_frame([cell(**values)]).to_dict("records")
    assert (row["depth"], row["dropout"], row["bias"], row["attempt"], row["log"]) == (
        4,
        0.1,
        True,
        2,
        "7",
    )
    assert pd.isna(row["decoder_widths"])
    wrong: dict[str, Any] = {"latency_ms": "fast", "depth": 4.5, "bias": "maybe", "params": 2**80}
    for name, value in wrong.items():
        with pytest.raises(StoreError, match=f"cells: column {name} takes"):
            cells_frame([{**cell(), name: value}])


def test_what_is_not_finite_is_empty() -> None:
    frame = cells_frame(
        [cell(n=n, latency_ms=float(text)) for n, text in enumerate(("inf", "-inf", "nan"))]
    )
    assert frame["latency_ms"].isna().tolist() == [True, True, True]


def test_columns_of_a_plugins_probe_are_kept() -> None:
    rows = [cell("volts", n=n, millivolts=value, note="probed") for n, value in enumerate((2, 4))]
    assert list(cells_frame(rows)["millivolts"]) == [2, 4]
    joined = wide(*rows, cell())
    assert (joined["millivolts"], joined["note"], joined["volts_status"]) == (3.0, "probed", "ok")


# ---- results


def test_results_have_every_column_with_its_type() -> None:
    expected = {column.name: column.dtype for column in columns("results")}
    for frame in (results_frame([cell()], {}), results_frame([], {})):
        assert {str(name): str(dtype) for name, dtype in frame.dtypes.items()} == expected


def test_probes_stand_side_by_side() -> None:
    row = wide(*map(cell, FIGURES))
    figures = {name: value for own in FIGURES.values() for name, value in own.items()}
    assert {name: row[name] for name in figures} == figures
    assert {row[f"{probe}_status"] for probe in FIGURES} == {"ok"}
    assert (row["seeds"], row["replicates"]) == (1, 1)


def test_unlike_conditions_are_unlike_rows() -> None:
    rows = [
        cell(n=n, **{name: f"{n}"})
        for n, name in enumerate(["task", "device", "precision", "runtime", "recipe"])
    ]
    rows += [
        {**cell(n=10 + n), name: 7}
        for n, name in enumerate(["scored_height", "threads", "batch_requested"])
    ]
    assert len(results_frame([cell(n=20), *rows], {})) == len(rows) + 1


def test_replicates_become_the_mean_of_processes_with_a_t_interval() -> None:
    row = wide(*(cell(n=n, replicate=n, latency_ms=10.0 + n) for n in range(3)))
    assert (row["latency_ms"], row["replicates"]) == (11.0, 3)
    half = 4.302652729911275 / 3**0.5  # Student's t, two degrees of freedom, standard deviation 1
    assert row["latency_ci_low_ms"] == pytest.approx(11 - half, rel=1e-4)
    assert row["latency_ci_high_ms"] == pytest.approx(11 + half, rel=1e-4)


def test_ratios_are_joined_on_the_logarithm() -> None:
    row = wide(cell(latency_ratio=0.5), cell(n=1, latency_ratio=2.0))
    assert row["latency_ratio"] == pytest.approx(1.0)
    assert row["latency_ratio_ci_low"] * row["latency_ratio_ci_high"] == pytest.approx(1.0)


def test_seeds_become_their_mean_with_a_t_interval() -> None:
    row = wide(
        *(
            cell("accuracy", n=n, seed=n, dice=d, train_steps=s)
            for n, (d, s) in enumerate([(0.8, 5), (0.9, 8)])
        )
    )
    assert (row["seeds"], row["train_steps"]) == (2, 5)
    assert row["dice"] == pytest.approx(0.85)
    half = 12.706204736 * 0.05  # Student's t, one degree of freedom; the two lie 0.1 apart
    assert row["dice_ci_high"] == pytest.approx(0.85 + half, rel=1e-4)


def test_one_seed_keeps_the_interval_its_probe_gave() -> None:
    assert not {"dice_ci_low", "dice_ci_high"} & set(wide(cell("accuracy")))
    row = wide(cell("accuracy", dice_ci_low=0.7, dice_ci_high=0.95))
    assert (row["dice_ci_low"], row["dice_ci_high"]) == (0.7, 0.95)
    assert wide(cell())["latency_ci_high_ms"] == 12.0


# ---- Dice over seeds and folds, beside the baseline


def scored(
    variant: str, *dice: float | None, folds: int = 1, **values: Any
) -> list[dict[str, Any]]:
    """Accuracy cells of seed after seed, in each of the folds; failed without Dice."""
    rows = []
    for n, of_cell in enumerate(dice):
        where = {
            "seed": n // folds,
            "fold": f"{n % folds}/{folds}" if folds > 1 else None,
            "baseline": "unet",
        }
        make = failed if of_cell is None else cell
        rows.append(
            make(
                "accuracy",
                variant,
                n,
                **where,
                **({} if of_cell is None else {"dice": of_cell}),
                **values,
            )
        )
    return rows


def beside_baseline(variant: str, *groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The variant's row of results, without what is empty."""
    frame = results_frame([row for rows in groups for row in rows], {})
    [record] = frame[frame["variant"] == variant].to_dict("records")
    return {str(name): value for name, value in record.items() if not pd.isna(value)}


def test_the_difference_is_of_pairs_with_an_interval_and_a_verdict() -> None:
    # The seeds differ far more than the variants do: only in pairs can they be told apart.
    row = beside_baseline("new", scored("unet", 0.5, 0.7, 0.9), scored("new", 0.51, 0.712, 0.911))
    assert (row["dice_pairs"], row["dice_verdict"], row["dice_pairs_needed"]) == (3, "better", 2)
    assert row["dice_difference"] == pytest.approx(0.011)
    half = 4.302652729911275 * 0.001 / 3**0.5
    assert row["dice_difference_ci_low"] == pytest.approx(0.011 - half, rel=1e-3)
    assert row["dice_difference_ci_high"] == pytest.approx(0.011 + half, rel=1e-3)
    assert row["dice_ci_high"] - row["dice_ci_low"] > 0.5
    assert row["dice_sd"] == pytest.approx(0.2005, abs=1e-3)


def test_the_baseline_is_not_compared_with_itself() -> None:
    row = beside_baseline("unet", scored("unet", 0.5, 0.7), scored("new", 0.6, 0.8))
    assert row["dice_sd"] == pytest.approx(0.1414, abs=1e-4)
    assert {name for name in row if name.startswith("dice_")} == {
        "dice_ci_low",
        "dice_ci_high",
        "dice_sd",
    }


def test_folds_are_the_units_of_the_interval() -> None:
    unet = scored("unet", *[0.5] * 6, folds=3)
    row = beside_baseline("new", unet, scored("new", 0.50, 0.61, 0.72, 0.52, 0.63, 0.74, folds=3))
    assert (row["dice_pairs"], row["dice_difference"]) == (6, pytest.approx(0.12))
    half = 4.302652729911275 * 0.11 / 3**0.5  # of the folds' means 0.51, 0.62, 0.73
    assert row["dice_difference_ci_high"] == pytest.approx(0.12 + half, rel=1e-3)
    assert row["dice_ci_high"] == pytest.approx(0.62 + half, rel=1e-3)


def test_pairs_are_what_both_have() -> None:
    row = beside_baseline("new", scored("unet", 0.5, None, 0.5), scored("new", 0.6, 0.9, 0.62))
    assert (row["seeds"], row["dice_pairs"], row["dice_difference"]) == (3, 2, pytest.approx(0.11))
    apart = beside_baseline("new", scored("unet", 0.5, None), scored("new", None, 0.9))
    assert "dice_difference" not in apart
    assert "dice_pairs" not in beside_baseline(
        "new", scored("unet", 0.5), scored("new", 0.9, pretrained="imagenet")
    )


def test_a_single_pair_has_a_difference_and_separates_nothing() -> None:
    row = beside_baseline(
        "new", scored("unet", 0.5), scored("new", 0.9, dice_ci_low=0.7, dice_ci_high=0.95)
    )
    assert (row["dice_difference"], row["dice_verdict"]) == (pytest.approx(0.4), "not separable")
    assert (row["dice_ci_low"], row["dice_ci_high"]) == (0.7, 0.95)
    assert not {"dice_difference_ci_low", "dice_pairs_needed", "dice_sd"} & set(row)


def test_a_trivial_baseline_has_a_verdict_only_from_several_pairs() -> None:
    floor = beside_baseline("floor-otsu", scored("unet", 0.9, 0.9), scored("floor-otsu", 0.3))
    assert (floor["dice_pairs"], floor["dice_difference"]) == (1, pytest.approx(-0.6))
    assert "dice_verdict" not in floor
    unet = scored("unet", 0.9, 0.91, 0.92, folds=3)
    folds = beside_baseline("floor-otsu", unet, scored("floor-otsu", 0.3, 0.31, 0.321, folds=3))
    assert folds["dice_verdict"] == "worse"


def many(*moved: float) -> list[dict[str, Any]]:
    """Three seeds of the baseline and of variants that lie so far from it, scattering by 0.01."""
    noise = [(0.0, 0.008, -0.006), (0.009, -0.004, 0.0), (-0.007, 0.001, 0.01)]
    rows = scored("unet", 0.5, 0.5, 0.5)
    for n, by in enumerate(moved):
        rows += scored(f"v{n}", *(0.5 + by + error for error in noise[n % 3]))
    return rows


def verdicts(frame: pd.DataFrame) -> dict[str, str]:
    return frame.set_index("variant")["dice_verdict"].drop("unet").to_dict()


def test_verdicts_hold_for_all_variants_together_unless_asked_for_one_by_one() -> None:
    rows = many(0.0185, *[0.0] * 28, 0.2)
    together = verdicts(results_frame(rows, {}))
    each = verdicts(results_frame(rows, {}, corrected=False))
    assert (together["v0"], together["v29"]) == ("not separable", "better")
    assert (each["v0"], each["v29"]) == ("better", "better")
    # Of few, the same difference is told apart.
    assert verdicts(results_frame(many(0.0185, 0.2), {}))["v0"] == "better"


def test_a_csv_is_judged_by_the_same_rule_whoever_wrote_it(tmp_path: Path) -> None:
    rows = [*many(0.0185, *[0.0] * 28, 0.2), *scored("floor-otsu", 0.3)]
    whole, each = (results_frame(rows, {}, corrected=corrected) for corrected in (True, False))
    file = tmp_path / "results.csv"
    each.to_csv(file, index=False)
    judged = ["dice_verdict", "dice_pairs_needed"]
    pd.testing.assert_frame_equal(read_results(file)[judged], whole[judged])
    pd.testing.assert_frame_equal(read_results(file, corrected=False)[judged], each[judged])


def test_a_variant_of_equal_choices_does_not_differ() -> None:
    row = beside_baseline(
        "twin", scored("unet", 0.5, 0.7), scored("twin", 0.5, 0.7, same_as="unet")
    )
    assert (row["dice_difference"], row["dice_difference_ci_high"], row["dice_verdict"]) == (
        0,
        0,
        "not separable",
    )


def test_the_highest_peak_counts() -> None:
    assert (
        wide(cell("memory"), cell("memory", n=1, peak_memory_mib=120.0))["peak_memory_mib"] == 120.0
    )


def test_a_failure_leaves_its_figures_empty_and_states_the_gravest() -> None:
    row = wide(
        cell("cost"),
        failed("speed", status="oom", error="out of memory", latency_ms=0.0),
        failed("accuracy", status="timeout", error="too long"),
        failed("accuracy", n=1, status="nonfinite", error="NaN"),
    )
    assert [row[f"{probe}_status"] for probe in ("cost", "speed", "accuracy")] == [
        "ok",
        "oom",
        "nonfinite",
    ]
    assert row["error"] == "out of memory"
    assert row["params"] == 31_000_000
    assert not {"latency_ms", "dice", "memory_status", "seeds", "replicates", "pareto"} & set(row)


def test_seeds_that_did_not_fail_still_count() -> None:
    row = wide(cell("accuracy", seed=0), failed("accuracy", n=1, seed=1, status="nonfinite"))
    assert (row["dice"], row["seeds"], row["accuracy_status"]) == (0.9, 1, "nonfinite")


def test_the_gravest_quality_counts() -> None:
    assert (
        wide(cell(quality="clean"), cell(n=1, quality="contaminated"), cell("cost"))["quality"]
        == "contaminated"
    )
    assert "quality" not in wide(cell("cost"))


def test_a_contaminated_cell_has_a_ratio_and_no_time() -> None:
    row = wide(
        cell(quality="contaminated", latency_ms=None, latency_ratio=1.1),
        cell(n=1, latency_ratio=1.1),
    )
    assert (row["latency_ms"], row["replicates"]) == (10.0, 2)
    assert row["latency_ratio"] == pytest.approx(1.1)


def test_variants_of_equal_choices_carry_the_same_figures() -> None:
    frame = results_frame([cell(), cell(variant="unet-crop", same_as="unet")], {})
    assert list(frame["latency_ms"]) == [10.0, 10.0]
    assert list(frame["same_as"].fillna("")) == ["", "unet"]


def test_the_manifest_says_what_cells_do_not() -> None:
    row = wide(
        cell(torch="2.12"),
        preset="quick",
        torch="2.11",
        plugins=[{"plugin": "classic"}],
        baseline="unet",
    )
    assert (row["preset"], row["torch"], row["baseline"]) == ("quick", "2.12", "unet")
    assert "plugins" not in row


# ---- the Pareto front


def pareto(*figures: tuple[float, float, float], **values: Any) -> list[Any]:
    """The flags of variants with these (Dice, latency, peak memory)."""
    rows = []
    for n, (dice, latency, memory) in enumerate(figures):
        rows += [
            cell("accuracy", f"v{n}", dice=dice, **values),
            cell("speed", f"v{n}", latency_ms=latency, latency_ratio=latency / 10, **values),
        ]
        rows += [cell("memory", f"v{n}", peak_memory_mib=memory, **values)]
    return list(results_frame(rows, {})["pareto"])


def test_pareto_rows_are_those_that_none_beats() -> None:
    assert pareto((0.9, 10, 100), (0.8, 10, 100), (0.8, 5, 100), (0.7, 20, 50), (0.9, 10, 100)) == [
        True,
        False,
        True,
        True,
        True,
    ]


@given(st.lists(st.tuples(*[st.integers(1, 4)] * 3), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_pareto_agrees_with_its_definition(figures: list[tuple[int, int, int]]) -> None:
    def beats(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
        return a != b and a[0] >= b[0] and a[1] <= b[1] and a[2] <= b[2]

    expected = [not any(beats(other, own) for other in figures) for own in figures]
    assert pareto(*figures) == expected


def test_what_was_timed_beside_the_baseline_is_compared_by_that() -> None:
    """A machine that slowed down between two cells decides nothing: `v` is the quicker one of the
    pair.
    """
    rows = []
    for name, latency, ratio in (("unet", 10.0, 1.0), ("v", 12.0, 0.9), ("w", 50.0, None)):
        rows += [cell("accuracy", name, dice=0.8, baseline="unet")]
        rows += [cell("memory", name, peak_memory_mib=100, baseline="unet")]
        rows += [cell("speed", name, latency_ms=latency, latency_ratio=ratio, baseline="unet")]
    flags = results_frame(rows, {}).set_index("variant")["pareto"]
    assert flags["v"]
    assert not flags["unet"]


def test_trivial_baselines_have_no_part_in_the_pareto_front() -> None:
    rows = [cell(probe, variant) for probe in FIGURES for variant in ("unet", "floor-otsu")]
    floor = [
        {**row, "dice": 1.0} if row["variant"] == "floor-otsu" and "dice" in row else row
        for row in rows
    ]
    frame = results_frame(floor, {}).set_index("variant")
    assert frame["pareto"]["unet"]
    assert pd.isna(frame["pareto"]["floor-otsu"])


def test_pareto_compares_only_what_may_be_compared() -> None:
    good = [cell(probe, "good") for probe in FIGURES]
    worse: dict[str, Any] = {"dice": 0.1, "latency_ms": 99.0}
    elsewhere = [cell(probe, "elsewhere", device="cuda", **worse) for probe in FIGURES]
    smaller_batch = [cell(probe, "smaller", batch_effective=1, **worse) for probe in FIGURES]
    incomplete = [cell("speed", "incomplete"), cell("accuracy", "incomplete")]
    half_failed = [
        *(cell(probe, "half") for probe in FIGURES),
        failed("accuracy", "half", 1, seed=1),
    ]
    frame = results_frame(
        [*good, *elsewhere, *smaller_batch, *incomplete, *half_failed], {}
    ).set_index("variant")
    flags = {str(name): value for name, value in frame["pareto"].items()}
    assert flags == {
        "good": True,
        "elsewhere": True,
        "smaller": True,
        "incomplete": pd.NA,
        "half": pd.NA,
    }


# ---- classes


def test_classes_are_the_accuracy_cells_own() -> None:
    per_class = [
        {"class_index": 0, "class_name": "background", "dice": 0.99, "iou": 0.98, "pixels": 900},
        {"class_index": 1, "class_name": "cell", "dice": None, "iou": None, "pixels": 0},
    ]
    rows = [
        cell("accuracy", seed=3, per_class=per_class),
        cell("speed"),
        failed("accuracy", n=1, per_class=per_class),
    ]
    frame = classes_frame(rows)
    assert [str(dtype) for dtype in frame.dtypes] == [column.dtype for column in columns("classes")]
    assert list(frame["class_name"]) == ["background", "cell"]
    assert list(frame["seed"]) == [3, 3]
    assert frame["dice"].tolist() == [0.99, pd.NA]
    assert classes_frame([cell("speed")]).empty


# ---- on disk


def stored(out: Path, *rows: dict[str, Any]) -> Path:
    with Store.create(out, {"run_id": "r1", "preset": "quick"}) as store:
        for row in rows:
            store.append(row)
        write_tables(store)
    return store.path


def test_tables_are_written_and_read(tmp_path: Path) -> None:
    per_class = [{"class_index": 1, "class_name": "cell", "dice": 0.9, "iou": 0.8, "pixels": 9}]
    path = stored(
        tmp_path,
        *map(cell, FIGURES),
        cell("accuracy", n=1, per_class=per_class),
        failed("speed", "other"),
    )
    for table in TABLES:
        assert_frame_equal(read_results(path, table), read_results(path / f"{table}.csv", table))
        assert not read_results(path, table).empty
    assert list(read_results(path)["preset"]) == ["quick", "quick"]


def test_what_is_missing_is_an_empty_field(tmp_path: Path) -> None:
    text = (stored(tmp_path, failed("speed")) / "results.csv").read_text()
    assert "nan" not in text.lower()
    assert "<NA>" not in text
    assert read_results(tmp_path / "r1")["latency_ms"].isna().all()


def test_rows_say_what_is_a_trivial_baseline_and_older_ones_tell_by_their_names(
    tmp_path: Path,
) -> None:
    older = [cell(variant="unet"), cell(variant="floor-otsu")]
    stated = [
        cell(variant="my-threshold", trivial=True),
        cell(variant="floor-plan-net", trivial=False),
    ]
    frame = results_frame([*older, *stated], {}).set_index("variant")
    wanted = {"unet": False, "floor-otsu": True, "my-threshold": True, "floor-plan-net": False}
    assert frame["trivial"].to_dict() == wanted
    frame.iloc[:2].drop(columns="trivial").to_csv(tmp_path / "older.csv")
    read = read_results(tmp_path / "older.csv").set_index("variant")
    assert read["trivial"].to_dict() == {"unet": False, "floor-otsu": True}


def test_a_killed_run_is_read_from_its_rows(tmp_path: Path) -> None:
    path = stored(tmp_path, cell("cost"))
    whole = read_results(path)
    (path / "results.csv").unlink()
    assert_frame_equal(read_results(path), whole)


def test_nothing_there_is_said_so(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", tmp_path / "absent.csv"):
        with pytest.raises(StoreError, match=r"no results at .*: give the folder of a run"):
            read_results(path)
    with pytest.raises(StoreError, match="unknown table"):
        read_results(tmp_path, "rows")


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\x00", b'a,b\n"', b"a,b\n1,2,3\n4,5,6,7\n"])
def test_a_file_that_is_no_csv_is_said_so(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(text)
    with pytest.raises(StoreError, match=r"x\.csv cannot be read as csv"):
        read_results(tmp_path / "x.csv")


def test_other_columns_are_kept_and_missing_ones_added(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("mine,variant,latency_ms\n7,007,\n,NA,1\n")
    frame = read_results(tmp_path / "x.csv")
    assert list(frame["variant"]) == ["007", "NA"]
    assert (str(frame["mine"].dtype), str(frame["params"].dtype)) == ("Int64", "Int64")
    assert frame["params"].isna().all()
    assert set(frame) == {column.name for column in columns("results")} | {"mine"}


def test_text_in_a_number_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("variant,latency_ms\nunet,fast\n")
    with pytest.raises(StoreError, match=r"x\.csv: column latency_ms takes Float64 only: .*fast"):
        read_results(tmp_path / "x.csv")


TEXTS = st.one_of(
    st.sampled_from(
        [
            "NA",
            "nan",
            "None",
            "null",
            "True",
            "-inf",
            "1e5",
            "007",
            " x ",
            ",",
            '"',
            '""',
            "\n",
            "a\r\nb",
        ]
    ),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8),
)
VALUES = {
    "string": TEXTS,
    "Int64": st.integers(-(2**63), 2**63 - 1),
    "Float64": st.floats(allow_nan=True, allow_infinity=True),
    "boolean": st.booleans(),
}
ROWS = st.fixed_dictionaries(
    {"cell_id": st.uuids().map(str), "status": st.sampled_from(["ok", "oom"])},
    optional={
        c.name: st.none() | VALUES[c.dtype]
        for c in COLUMNS
        if c.name not in ("cell_id", "status", "schema_version")
    },
)


@given(rows=st.lists(ROWS, max_size=4))
@settings(
    max_examples=30,  # each has values for any of a hundred columns
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_writing_and_reading_changes_nothing(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    written = cells_frame(rows)
    (tmp_path / "cells.csv").write_text(tables.csv_text(written), encoding="utf-8", newline="")
    assert_frame_equal(read_results(tmp_path / "cells.csv", "cells"), written, check_exact=True)


def test_text_of_any_kind_survives_the_whole_way(tmp_path: Path) -> None:
    texts = [
        "NA",
        "nan",
        "None",
        'say "hi", twice',
        "two\nlines",
        "U²-Net → ✓",
        "=1+1",
        "a|b",
        "tab\t",
        "\0",
    ]
    path = stored(tmp_path, *(cell(variant=text, n=n) for n, text in enumerate(texts)))
    assert list(read_results(path)["variant"]) == texts
    assert list(read_results(path, "cells")["variant"]) == texts


def test_text_that_is_not_unicode_does_not_stop_the_table(tmp_path: Path) -> None:
    assert "udcff" in read_results(stored(tmp_path, failed(error="bad name \udcff")))["error"][0]


def test_tables_take_time_in_proportion_to_their_cells() -> None:
    def rows(variants: int) -> list[dict[str, Any]]:
        return [cell(probe, f"v{n}") for n in range(variants) for probe in FIGURES]

    assert growth(lambda rows: results_frame(rows, {}), rows, 1200) < 1.5
    assert growth(cells_frame, rows, 1200) < 1.5


def test_replicates_on_unlike_devices_are_not_averaged() -> None:
    names = ("H100", "A100")
    cells = [
        cell(n=n, replicate=n, latency_ms=n + 1.0, device_name=name, env_id=name)
        for n, name in enumerate(names)
    ]
    mixed = wide(*cells)
    assert (mixed["quality"], mixed["evidence"]) == ("mixed", "speed: replicates on H100, A100")
    assert "latency_ms" not in mixed
    assert (mixed["device_name"], mixed["env_id"]) == ("H100, A100", "H100, A100")
    assert wide(*({**of_one, "device_name": "H100"} for of_one in cells))[
        "latency_ms"
    ] == pytest.approx(1.5)


def test_show_says_when_rows_are_of_several_environments() -> None:
    cells = [cell("cost", name, env_id=f"env{n}") for n, name in enumerate(("unet", "unet-add"))]
    document = results_document(results_frame(cells, {}))
    assert "2 environments (env0, env1)" in str(document.rendered("md"))
    assert "environments" not in str(
        results_document(results_frame([{**c, "env_id": "e"} for c in cells], {})).rendered("md")
    )


def results(*variants: str) -> list[dict[str, Any]]:
    return [cell("cost", variant) for variant in variants]


@pytest.fixture
def outdated(tmp_path: Path) -> Path:
    """A run with tables, newer by their times than the log, to which a row was added since."""
    with Store.create(tmp_path, {"run_id": "r1"}) as store:
        store.append(*results("unet"))
        write_tables(store)
        store.append(*results("unet-add"))
    os.utime(store.folder.cells, ns=(0, 0))
    return store.path


def test_tables_state_the_log_that_they_were_made_of(tmp_path: Path) -> None:
    with Store.create(tmp_path, {"run_id": "r1"}) as store:
        store.append(*results("unet"))
        write_tables(store)
    log = store.folder.cells.read_bytes()
    origin = json.loads((store.path / "tables.json").read_text())
    assert origin.pop("cells.jsonl") == {
        "bytes": len(log),
        "sha256": hashlib.sha256(log).hexdigest(),
    }
    assert origin == {
        f"{table}.csv": {
            "sha256": hashlib.sha256((store.path / f"{table}.csv").read_bytes()).hexdigest()
        }
        for table in TABLES
    }


@pytest.mark.parametrize("named", ["", "results.csv"])
@pytest.mark.parametrize("by", ["as it is", "copied", "edited"])
def test_the_log_counts_whatever_the_times_of_its_tables(
    outdated: Path, tmp_path: Path, named: str, by: str
) -> None:
    expected = ["unet", "unet-add"]
    if by == "copied":
        outdated = shutil.copytree(outdated, tmp_path / "copy", copy_function=shutil.copyfile)
    if by == "edited":  # to the same length
        log = outdated / "cells.jsonl"
        log.write_text(log.read_text().replace("unet-add", "unet-new"))
        os.utime(log, ns=(0, 0))
        expected = ["unet", "unet-new"]
    assert list(read_results(outdated / named)["variant"]) == expected
    assert list(read_runs([outdated / named]).results["variant"]) == expected


def test_a_csv_edited_by_hand_is_ones_own_where_it_is_named(outdated: Path) -> None:
    csv = outdated / "results.csv"
    csv.write_text(csv.read_text().replace("unet", "mine"))
    assert list(read_results(csv)["variant"]) == ["mine"]
    assert list(read_results(outdated)["variant"]) == ["unet", "unet-add"]


def test_tables_without_a_log_or_without_their_origin_are_read_as_they_are(
    outdated: Path,
) -> None:
    csv = outdated / "results.csv"
    (outdated / "tables.json").unlink()  # as older versions left it
    assert list(read_results(csv)["variant"]) == ["unet"]
    assert list(read_results(outdated)["variant"]) == ["unet", "unet-add"]
    (outdated / "cells.jsonl").unlink()
    assert list(read_results(outdated)["variant"]) == ["unet"]


@pytest.mark.parametrize("origin", ["{", "[]", "7", '{"results.csv": 7}', '{"results.csv": {}}'])
def test_a_damaged_origin_vouches_for_nothing(outdated: Path, origin: str) -> None:
    (outdated / "tables.json").write_text(origin)
    assert list(read_results(outdated / "results.csv")["variant"]) == ["unet"]
    assert list(read_results(outdated)["variant"]) == ["unet", "unet-add"]


def test_many_attempts_at_a_cell_are_read_once_and_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.create(tmp_path, {"run_id": "r1"}) as store:
        store.append(*results("unet"))
    log = store.folder.cells
    line = log.read_bytes()
    peaks = {}
    for attempts in (100, 5_000):
        log.write_bytes(line * attempts)
        reads = []
        monkeypatch.setattr(tables, "iterate_rows", lambda path: reads.append(path) or rows(path))
        rows = iterate_rows
        tracemalloc.start()
        assert len(read_runs([store.path]).results) == 1
        peaks[attempts] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(reads) == 1
    assert peaks[5_000] < 1.5 * peaks[100]


def test_tables_have_the_order_of_the_plan_however_cells_ended() -> None:
    names = ["unet", "segnet", "unet-add"]
    rows = [cell(variant=name, position=n) for n, name in enumerate(names, 1)]
    for frame in (results_frame(rows[::-1], {}), cells_frame(rows[::-1])):
        assert list(frame["variant"]) == names
    older = [cell(variant=name) for name in names]
    assert list(results_frame(older, {})["variant"]) == names


@pytest.mark.parametrize("run", ["first-cpu", "runtimes-cpu", "isbi2012-5fold-quick"])
def test_what_plain_pandas_wrote_again_is_read_as_before(run: str, tmp_path: Path) -> None:
    """Without types it makes 8.0 of 8, and True of a flag beside empty fields."""
    folder = Path(__file__).parents[2] / "results" / "reference" / run
    plain = pd.read_csv(folder / "results.csv")
    plain[plain["dice"] > 0.7].to_csv(tmp_path / "some.csv", index=False)
    before = read_results(folder)
    expected = before[(before["dice"] > 0.7).fillna(False)].reset_index(drop=True)
    found = read_results(tmp_path / "some.csv")
    verdicts = ["dice_verdict", "dice_pairs_needed"]  # which depend on how many are compared
    pd.testing.assert_frame_equal(found.drop(columns=verdicts), expected.drop(columns=verdicts))
