"""A run's Dice over all its data sets, and how it is told."""

from __future__ import annotations

import io
import json
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from unet_bench.analysis.summary import COLUMNS, summary
from unet_bench.cli.app import app
from unet_bench.errors import UnknownName
from unet_bench.present.summary import summary_document
from unet_bench.store.log import Store
from unet_bench.store.tables import cells_frame, read_results, write_tables


def cell(
    variant: str, dice: float | None, task: str = "brain", seed: int = 0, **values: Any
) -> dict[str, Any]:
    """An accuracy cell; failed without Dice."""
    status = "ok" if dice is not None else "nonfinite"
    row = {
        "schema_version": 1,
        "run_id": "r1",
        "probe": "accuracy",
        "baseline": "unet",
        "recipe": "short",
        **values,
    }
    row |= {
        "variant": variant,
        "task": task,
        "dataset_hash": task,
        "seed": seed,
        "status": status,
        "dice": dice,
    }
    return {**row, "cell_id": " ".join(str(value) for value in row.values())}


def cells(
    variant: str, gain: float, tasks: str = "ab", seeds: int = 3, **values: Any
) -> list[dict[str, Any]]:
    """Cells that lie `gain` above the baseline's, a little differently by data set and seed."""
    return [
        cell(
            variant,
            0.3 + 0.02 * seed + (0.1 + 0.01 * gain) * n + gain * (1 + 0.1 * seed),
            task,
            seed,
            **values,
        )
        for n, (task, seed) in enumerate(product(tasks, range(seeds)))
    ]


def summed(*groups: list[dict[str, Any]]) -> pd.DataFrame:
    return summary(cells_frame([row for rows in groups for row in rows]))


def line(frame: pd.DataFrame, variant: str) -> dict[str, Any]:
    """The variant's row, without what is empty."""
    [record] = frame[frame["variant"] == variant].to_dict("records")
    return {str(name): value for name, value in record.items() if not pd.isna(value)}


def shown(frame: pd.DataFrame, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, legacy_windows=False)
    console.print(summary_document(frame).rendered())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# ---- figures


def test_columns_and_types_are_as_stated() -> None:
    for frame in (summed(cells("unet", 0)), summed()):
        assert {str(name): str(dtype) for name, dtype in frame.dtypes.items()} == dict(COLUMNS)


def test_data_sets_of_one_name_are_two_units() -> None:
    own = [
        {**cell("new", 0.6 + gain, "data", seed), "dataset_hash": of}
        for of, gain in (("x", 0), ("y", 0.2))
        for seed in (0, 1)
    ]
    base = [
        {**cell("unet", 0.5, "data", seed), "dataset_hash": of} for of in "xy" for seed in (0, 1)
    ]
    for number, row in enumerate(own + base):
        row["cell_id"] = str(number)
    row = line(summed(own, base), "new")
    assert (row["tasks"], row["dice_pairs"]) == (2, 4)
    assert row["dice_difference_ci_high"] - row["dice_difference"] == pytest.approx(
        12.706204736 * 0.1, rel=1e-4
    )


def test_two_sizes_are_two_rows_and_no_two_units() -> None:
    rows = [cell("unet", 0.5, scored_height=n, scored_width=n) for n in (64, 48)]
    rows += [cell("new", 0.5 + 0.001 * n, scored_height=n, scored_width=n) for n in (64, 48)]
    found = summed(rows)
    assert list(found[found["variant"] == "new"]["dice_verdict"]) == ["not separable"] * 2
    assert "scored 64×64" in shown(found)


def test_data_sets_are_the_units() -> None:
    pairs = [("a", 0, 0.10), ("a", 1, 0.20), ("b", 0, 0.30), ("b", 1, 0.40)]
    own = [cell("new", 0.5 + gain, task, seed) for task, seed, gain in pairs]
    row = line(summed(own, [cell("unet", 0.5, task, seed) for task, seed, _ in pairs]), "new")
    assert (row["tasks"], row["cells"], row["dice_pairs"]) == (2, 4, 4)
    assert row["dice_difference"] == pytest.approx(0.25)
    half = (
        12.706204736 * 0.1
    )  # Student's t, one degree of freedom: the data sets' means lie 0.2 apart
    assert row["dice_difference_ci_high"] - row["dice_difference"] == pytest.approx(half, rel=1e-4)
    assert row["dice_ci_high"] - row["dice"] == pytest.approx(half, rel=1e-4)
    assert row["dice_sd"] == pytest.approx(0.1290994, rel=1e-4)
    assert row["dice_verdict"] == "not separable"
    assert row["dice_pairs_needed"] > 4


@pytest.mark.parametrize("folds", [("0/2", "1/2"), (None, None)])
def test_of_one_data_set_folds_are_the_units_and_else_seeds(folds: tuple[str | None, ...]) -> None:
    gains = [(0, folds[0], 0.10), (1, folds[0], 0.20), (2, folds[1], 0.30), (3, folds[1], 0.40)]
    own = [cell("new", 0.5 + gain, seed=seed, fold=fold) for seed, fold, gain in gains]
    row = line(
        summed(own, [cell("unet", 0.5, seed=seed, fold=fold) for seed, fold, _ in gains]), "new"
    )
    expected = 0.25 - (12.7062 * 0.1 if folds[0] else 3.1824 * 0.1290994 / 2)
    assert row["dice_difference_ci_low"] == pytest.approx(expected, rel=1e-3)


def test_only_equal_data_set_fold_and_seed_are_pairs() -> None:
    unet = [
        cell("unet", 0.5, "a", 0),
        cell("unet", None, "a", 1),
        cell("unet", 0.5, "b", 0, fold="0/5"),
    ]
    new = [cell("new", 0.6, "a", 0), cell("new", 0.9, "a", 1), cell("new", 0.9, "b", 0, fold="1/5")]
    row = line(summed(unet, new), "new")
    assert (row["cells"], row["dice_pairs"]) == (3, 1)
    assert row["dice_difference"] == pytest.approx(0.1)
    assert row["dice_verdict"] == "not separable"
    assert "dice_difference_ci_low" not in row


def test_the_baseline_has_no_difference_to_itself() -> None:
    row = line(summed(cells("unet", 0)), "unet")
    assert row["cells"] == 6
    assert not {"dice_difference", "dice_pairs", "dice_verdict", "dice_pairs_needed"} & set(row)


def test_failed_cells_are_counted_and_left_out() -> None:
    row = line(summed(cells("unet", 0), [*cells("new", 0.1)[1:], cell("new", None, "a", 0)]), "new")
    assert (row["cells"], row["failed"], row["dice_pairs"], row["status"]) == (5, 1, 5, "nonfinite")
    alone = line(summed(cells("unet", 0), [cell("gone", None)]), "gone")
    assert (alone["cells"], alone["failed"]) == (0, 1)
    assert "dice" not in alone


def test_rows_are_sorted_by_difference_with_the_baseline_at_nothing() -> None:
    groups = [
        cells("worse", -0.1),
        [cell("apart", 0.9, "c")],
        cells("unet", 0),
        cells("better", 0.1),
    ]
    assert list(summed(*groups)["variant"]) == ["better", "unet", "worse", "apart"]


def test_other_settings_are_other_rows_with_their_own_baseline() -> None:
    groups = [
        cells(v, gain, recipe=r)
        for r, by in (("short", 0.1), ("paper", -0.1))
        for v, gain in (("unet", 0), ("new", by))
    ]
    frame = summed(*groups)
    assert list(zip(frame["recipe"], frame["variant"], strict=True)) == [
        ("short", "new"),
        ("short", "unet"),
        ("paper", "unet"),
        ("paper", "new"),
    ]


def test_pretrained_is_not_compared_with_untrained() -> None:
    frame = summed(cells("unet", 0, pretrained="none"), cells("resnet", 0.1, pretrained="imagenet"))
    assert "dice_difference" not in line(frame, "resnet")


def test_other_probes_and_old_runs_do_no_harm() -> None:
    speed = {**cell("unet", None, recipe=None), "probe": "speed", "cell_id": "s"}
    frame = summed(cells("unet", 0, recipe=None), [speed])
    assert line(frame, "unet")["failed"] == 0


def test_it_is_made_of_a_runs_folder(tmp_path: Path) -> None:
    with Store.create(tmp_path, {"run_id": "r1", "preset": "quick"}) as store:
        for row in [*cells("unet", 0), *cells("new", 0.1)]:
            store.append(row)
        write_tables(store)
    found = summary(read_results(store.path, "cells"))
    pd.testing.assert_frame_equal(found, summed(cells("unet", 0), cells("new", 0.1)))


# ---- figures of plugins' probes


def stability(variant: str, value: float | None, task: str, **values: Any) -> dict[str, Any]:
    """A cell of a plugin's probe; failed without a figure."""
    row = cell(variant, None, task, **values)
    status = "timeout" if value is None else "ok"
    measured = {"probe": "stability", "status": status, "shift_error": value}
    return {**row, **measured, "cell_id": f"s-{variant}-{task}"}


def stable_run(folder: Path, *groups: list[dict[str, Any]]) -> Path:
    column = {"name": "shift_error", "dtype": "Float64", "unit": "%", "heading": "shift %"}
    probes = {"stability": {"columns": [column]}}
    with Store.create(folder, {"run_id": "r1", "probes": probes}) as store:
        for rows in groups:
            store.append(*rows)
        write_tables(store)
        return store.path


def answered(*words: str) -> str:
    answer = CliRunner().invoke(app, ["summary", *words])
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_figures_of_a_plugins_probe_stand_behind_ours(tmp_path: Path) -> None:
    figures = [("unet", 12.0, "a"), ("unet", 14.0, "b"), ("new", 10.0, "a"), ("new", None, "b")]
    measured = [stability(*figure) for figure in figures]
    run = stable_run(tmp_path, cells("unet", 0), cells("new", 0.1), measured)
    for path in (run, run / "cells.csv"):
        rows = {row["variant"]: row for row in json.loads(answered(str(path), "--json"))}
        assert (rows["unet"]["shift_error"], rows["unet"]["stability_status"]) == (13.0, "ok")
        assert (rows["new"]["shift_error"], rows["new"]["stability_status"]) == (None, "timeout")
        assert rows["unet"]["cells"] == 6
    shown = answered(str(run), "-f", "md")
    assert "shift %" in shown
    assert "| 13.0 |" in shown
    assert "stability timeout" in shown


def test_a_run_of_a_plugins_probe_alone_has_its_figures(tmp_path: Path) -> None:
    run = stable_run(tmp_path, [stability("unet", 12.0, "a"), stability("new", 10.0, "a")])
    [first, second] = json.loads(answered(str(run), "--json"))
    assert (first["variant"], first["shift_error"], first["dice"]) == ("unet", 12.0, None)
    assert second["cells"] == 0


# ---- text


@pytest.fixture
def frame() -> pd.DataFrame:
    groups = [cells("unet", 0, "a"), cells("new", 0.1, "a"), [cell("floor-otsu", 0.2, "a")]]
    near = [
        cell("near", row["dice"] + gain, "a", row["seed"])
        for row, gain in zip(groups[0], (0.01, -0.01, 0.02), strict=True)
    ]
    return summed(*groups, [*near, cell("near", None, "a", 3)])


def test_table_tells_differences_with_verdicts(frame: pd.DataFrame) -> None:
    lines = {
        row.split()[0]: " ".join(row.split()) for row in shown(frame).splitlines() if row.strip()
    }
    assert lines["new"].endswith("+0.111 ±0.027 better 3 2")
    assert "+0.007 ±0.038 ≈ 3 " in lines["near"]
    assert "unet * " in lines["unet"]
    assert "near: 1 of 4 cells without a figure: nonfinite" in shown(frame)


def test_caption_states_the_method(frame: pd.DataFrame) -> None:
    for text in (" ".join(shown(frame).split()), str(summary_document(frame).rendered("md"))):
        for words in (
            "run r1",
            "Student's t below ten",
            "cluster bootstrap",
            "not separable, all variants of a table taken together",
        ):
            assert words in text


def test_a_single_pair_is_shown_as_not_separable() -> None:
    frame = summed([cell("unet", 0.5, batch_norm="kept"), cell("new", 0.6, batch_norm="kept")])
    [row] = [row for row in shown(frame).splitlines() if row.startswith("new")]
    assert row.split() == ["new", "1", "1", "0.600", "+0.100", "≈", "1"]
    assert shown(frame).startswith("short\n"), "what is as usual is not told"


def test_a_trivial_baseline_with_one_pair_has_no_verdict(frame: pd.DataFrame) -> None:
    row = line(frame, "floor-otsu")
    assert row["dice_difference"] < 0
    assert "dice_verdict" not in row


def test_other_formats(frame: pd.DataFrame) -> None:
    records = json.loads(str(summary_document(frame).rendered("json")))
    assert [record["variant"] for record in records] == ["new", "near", "unet", "floor-otsu"]
    assert records[2]["dice_difference"] is None
    assert str(summary_document(frame).rendered("csv")).splitlines()[0] == ",".join(COLUMNS)
    lines = str(summary_document(frame).rendered("md")).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert "| unet (baseline) |" in str(summary_document(frame).rendered("md"))
    with pytest.raises(UnknownName, match="unknown format 'markdown'"):
        summary_document(frame).rendered("markdown")


def test_no_rows_are_no_error() -> None:
    assert "Student's t" in shown(summed())
    assert summary_document(summed()).rendered("json") == "[]\n"
