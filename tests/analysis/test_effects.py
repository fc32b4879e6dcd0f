"""What each choice is worth: effects over contexts, their intervals, interactions, and how it is
told.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from unet_bench.analysis.effects import (
    COLUMNS,
    FIT,
    INTERACTIONS,
    Effects,
    effects,
    parse_references,
)
from unet_bench.errors import InvalidChoice, UnknownName
from unet_bench.networks.choices import Choices, format_value
from unet_bench.present.effects import effects_document
from unet_bench.present.findings import sentences
from unet_bench.present.notebook import Answer
from unet_bench.store.runs import Runs, read_runs
from unet_bench.store.schema import CONDITIONS, columns
from unet_bench.store.tables import csv_text, typed_frame, typed_table

USUAL: dict[str, Any] = {
    name: format_value(name, value) if isinstance(value, tuple) else value
    for name, value in dataclasses.asdict(Choices()).items()
} | {"decoder_block": "double-conv", "decoder_norm": "batch", "inactive": "align"}
WHERE = {
    "run_id": "r1",
    "baseline": "unet",
    "task": "brain",
    "dataset_hash": "h",
    "device": "cpu",
    "env_id": "e1",
}

NO_BASELINE = {"baseline": "none"}

Row = dict[str, Any]


def row(log_ratio: float | None = None, half: float | None = None, **values: Any) -> Row:
    """A row of the results: the baseline with some choices changed, named after them, its latency
    by logarithm.
    """
    changed = {
        name: value for name, value in values.items() if name in USUAL and USUAL[name] != value
    }
    name = "+".join(
        ["unet", *(f"{name}={value}" for name, value in changed.items() if name != "inactive")]
    )
    figures: Row = {}
    if log_ratio is not None:
        figures["latency_ratio"] = math.exp(log_ratio)
    if log_ratio is not None and half is not None:
        ends = {"low": math.exp(log_ratio - half), "high": math.exp(log_ratio + half)}
        figures |= {f"latency_ratio_ci_{end}": value for end, value in ends.items()}
    known = {"variant": name, "trivial": False, "accuracy_status": "ok"}
    return {**USUAL, **WHERE, **known, **figures, **values}


def frame(rows: Iterable[Row], table: str = "results") -> pd.DataFrame:
    return typed_frame(list(rows), {column.name: column.dtype for column in columns(table)})


def runs(rows: Iterable[Row], cells: Iterable[Row] = ()) -> Runs:
    return Runs(frame(rows), frame(cells, "cells"), typed_table("classes"), {}, {})


def cell(seed: int, dice: float | None, of: Row, fold: str | None = None) -> Row:
    status = "ok" if dice is not None else "nonfinite"
    kept = {name: of[name] for name in ("run_id", "variant", *CONDITIONS) if name in of}
    return {**kept, "probe": "accuracy", "seed": seed, "fold": fold, "dice": dice, "status": status}


def found(
    rows: Iterable[Row], cells: Iterable[Row] = (), corrected: bool = True, **options: Any
) -> Effects:
    return effects(dataclasses.replace(runs(rows, cells), corrected=corrected), **options)


def line(of: Effects, alternative: str, figure: str = "latency_ratio") -> Row:
    """The one row of an alternative's figure, without what is empty."""
    table = of.table[(of.table["alternative"] == alternative) & (of.table["figure"] == figure)]
    [record] = table.to_dict("records")
    return {str(name): value for name, value in record.items() if not pd.isna(value)}


def shown(of: Effects, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, legacy_windows=False)
    console.print(effects_document(of).rendered())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def grid(
    effect: Mapping[str, float], noise: float = 0.0, seed: int = 0, **levels: list[Any]
) -> list[Row]:
    """A full grid whose log-ratios are the sum of each value's effect (0 if not named), with noise.

    Without a baseline, whose ratio would be 1 without noise.
    """
    random = np.random.default_rng(seed)
    return [
        row(
            sum(effect.get(str(value), 0.0) for value in combination) + noise * random.normal(),
            **named,
            **NO_BASELINE,
        )
        for combination in product(*levels.values())
        for named in [dict(zip(levels, combination, strict=True))]
    ]


GRID: dict[str, list[Any]] = {
    "up": ["transpose", "bilinear", "nearest"],
    "merge": ["concat", "add"],
    "depth": [4, 3, 5],
}
KNOWN = {"bilinear": 0.1, "nearest": -0.2, "add": 0.3, "3": -0.5, "5": 0.4}


# ---- effects over contexts


def test_known_effects_are_recovered_exactly_without_noise() -> None:
    of = found(grid(KNOWN, **GRID))
    for name, effect in KNOWN.items():
        assert line(of, name)["change"] == pytest.approx(math.expm1(effect))
        assert line(of, name)["spread"] == pytest.approx(0, abs=1e-9)
    assert [line(of, name)["contexts"] for name in KNOWN] == [6, 6, 9, 6, 6]
    assert set(of.table["reference"]) == {"transpose", "concat", "4"}


def test_it_is_the_paired_t_test() -> None:
    rows = grid(KNOWN, noise=0.05, up=["transpose", "bilinear"], depth=[2, 3, 4, 5, 6])
    paired = [math.log(row["latency_ratio"]) for row in rows]
    expected = stats.ttest_rel(paired[5:], paired[:5]).confidence_interval(0.95)
    row_ = line(found(rows), "bilinear")
    assert np.log1p([row_["ci_low"], row_["ci_high"]]) == pytest.approx([*expected], rel=1e-4)
    assert (row_["basis"], row_["contexts"], row_["units"]) == ("contexts", 5, 5)


def test_it_is_least_squares_within_contexts_with_clustered_errors() -> None:
    regression = pytest.importorskip("statsmodels.api")
    rows = grid(
        KNOWN, noise=0.05, up=["transpose", "bilinear"], merge=["concat", "add"], depth=[2, 3, 4]
    )
    table = pd.DataFrame(rows).assign(y=[math.log(row["latency_ratio"]) for row in rows])
    table["x"] = (table["up"] == "bilinear").astype(float)
    context = table["merge"] + table["depth"].astype(str)
    y, x = (table[name] - table.groupby(context)[name].transform("mean") for name in ("y", "x"))
    groups = pd.factorize(context)[0]
    fit = regression.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    row_ = line(found(rows), "bilinear")
    assert math.log1p(row_["change"]) == pytest.approx(fit.params.iloc[0])
    assert np.log1p([row_["ci_low"], row_["ci_high"]]) == pytest.approx(
        fit.conf_int().iloc[0].to_list(), rel=1e-3
    )


def test_only_rows_that_differ_in_nothing_else_are_compared() -> None:
    """`act` changes with `up`: its effect, which is large, must not pass for that of `up`."""
    rows = [
        row(0.0),
        row(1.1, up="bilinear", act="silu"),
        row(0.0, depth=3),
        row(0.1, depth=3, up="bilinear"),
    ]
    of = found(rows)
    assert line(of, "bilinear")["change"] == pytest.approx(math.expm1(0.1))
    assert "silu" not in set(of.table["alternative"])
    assert any(
        "in more than one choice: unet+up=bilinear+act=silu" in note
        for note in sentences(of.findings)
    )


@pytest.mark.parametrize(
    "other",
    [
        {"task": "heart"},
        {"run_id": "r2"},
        {"env_id": "e2"},
        {"precision": "bf16"},
        {"batch_effective": 2},
    ],
)
def test_unlike_conditions_are_never_a_pair(other: Row) -> None:
    of = found([row(0.0), row(0.5, up="bilinear", **other)])
    assert of.table.empty
    assert "no effect to show" in sentences(of.findings)[0]


def test_an_effect_is_the_same_whatever_else_was_measured() -> None:
    few = grid(KNOWN, noise=0.05, up=["transpose", "bilinear"], depth=[3, 4, 5])
    more = [*few, row(0.7, up="nearest"), row(-3.0, up="nearest", depth=3)]
    alone, among = (line(found(rows), "bilinear") for rows in (few, more))
    # Which effects are told from 0 is a question to all of them together.
    assert alone | {"separable": None} == pytest.approx(among | {"separable": None})
    assert (alone["separable"], among["separable"]) == (True, False)
    each = (line(found(rows, corrected=False), "bilinear") for rows in (few, more))
    assert [one["separable"] for one in each] == [True, True]


def test_one_at_a_time() -> None:
    rows = [row(0.002, 0.03), row(0.1, 0.04, up="bilinear"), row(-0.2, 0.05, merge="add")]
    of = found(rows)
    up = line(of, "bilinear")
    # The baseline is 1 by definition: its own ratio, a measurement against itself, does not enter.
    assert (up["change"], up["basis"], up["contexts"]) == (
        pytest.approx(math.expm1(0.1)),
        "measurement",
        1,
    )
    assert np.log1p([up["ci_low"], up["ci_high"]]) == pytest.approx([0.06, 0.14])
    assert "spread" not in up
    assert line(of, "add")["change"] == pytest.approx(math.expm1(-0.2))


def test_two_that_are_not_the_baseline_have_both_their_intervals() -> None:
    rows = [
        row(0.0, 0.03, depth=3),
        row(0.3, 0.04, depth=3, up="bilinear"),
        row(0.0, 0.01, act="silu"),
    ]
    row_ = line(found(rows), "bilinear")
    assert np.log1p([row_["ci_low"], row_["ci_high"]]) == pytest.approx([0.25, 0.35])


def test_counts_are_exact() -> None:
    rows = [row(params=100, macs=10), row(params=50, macs=20, up="bilinear")]
    for figure, change in (("params", -0.5), ("macs", 1.0)):
        row_ = line(found(rows), "bilinear", figure)
        assert (row_["change"], row_["basis"], row_["separable"]) == (
            pytest.approx(change),
            "exact",
            True,
        )
        assert row_["ci_low"] == row_["ci_high"] == row_["change"]


def test_a_figure_without_an_interval_says_so_and_is_not_separable() -> None:
    row_ = line(
        found([row(energy_ratio=1.0), row(energy_ratio=2.0, up="bilinear")]),
        "bilinear",
        "energy_ratio",
    )
    assert not row_["separable"]
    assert not {"ci_low", "ci_high"} & set(row_)


# ---- choices that follow, that cannot matter, that are scaled


def test_a_decoder_that_follows_its_encoder_is_a_choice_of_its_own() -> None:
    own = {"encoder_block": "residual", "decoder_block": "residual"}
    of = found(
        [row(0.0), row(0.2, **own), row(0.1, encoder_block="residual"), row(0.3, norm="group")]
    )
    changes = of.table.set_index("slot")["change"].to_dict()
    assert changes == {
        "encoder_block": pytest.approx(math.expm1(0.1)),
        "encoder_block+decoder_block": pytest.approx(math.expm1(0.2)),
        "decoder_block": pytest.approx(math.expm1(0.1)),
        "norm": pytest.approx(math.expm1(0.3)),
    }


def test_where_a_choice_cannot_matter_it_says_nothing() -> None:
    rows = [row(0.0), row(0.5, align="pad")]  # inactive in both: sizes agree
    assert found(rows).table.empty
    valid = [
        row(0.0, padding="valid", inactive=None),
        row(0.2, padding="valid", align="pad", inactive=None),
    ]
    of = found([*rows, *valid])
    assert (line(of, "pad")["change"], line(of, "pad")["contexts"]) == (
        pytest.approx(math.expm1(0.2)),
        1,
    )
    assert any(
        "of 4 rows, those in which a choice cannot matter are not used for it: align (2)" in note
        for note in sentences(of.findings)
    )


def test_what_cannot_matter_keeps_no_rows_apart() -> None:
    """A backbone takes no width_scale and states the default: it is compared with the baseline's
    all the same.
    """
    whole = row(0.4, encoder="timm:x", width_scale=1.0, inactive="align,width_scale")
    assert (
        line(found([row(0.0, variant="unet", width_scale=0.25), whole]), "timm:x")["contexts"] == 1
    )


def test_it_keeps_no_rows_apart_where_no_baseline_says_what_it_counts_as() -> None:
    rows = [row(0.0, align="crop"), row(0.1, up="bilinear", align="pad")]  # inactive in both
    assert line(found([{**r, **NO_BASELINE} for r in rows]), "bilinear")["contexts"] == 1


def test_the_same_network_under_another_name_is_counted_once_and_named() -> None:
    rows = [
        row(0.0),
        row(0.1, up="bilinear"),
        row(0.1, up="bilinear", variant="twin", same_as="unet+up=bilinear"),
    ]
    of = found(rows)
    assert line(of, "bilinear")["contexts"] == 1
    assert any("twin is unet+up=bilinear" in note for note in sentences(of.findings))


def test_a_baseline_measured_under_another_name_stays_the_reference() -> None:
    rows = [row(0.01, 0.1, variant="a", up="bilinear"), row(0.2, 0.1), row(0.2, 0.1, up="nearest")]
    rows[1]["variant"] = "b"
    of = found([*rows, row(0.01, 0.1, up="bilinear", variant="unet", same_as="a")])
    assert set(of.table["reference"]) == {"bilinear"}
    assert math.log1p(line(of, "nearest")["change"]) == pytest.approx(0.2)


def test_widths_that_the_run_matched_are_no_choice() -> None:
    rows = [row(0.0, width_scale=1.0), row(0.1, up="bilinear", width_scale=1.13)]
    assert found(rows).table.empty
    matched = runs(rows)
    matched.results["match"] = pd.array(["params", "params"], dtype="string")
    of = effects(matched)
    assert set(of.table["slot"]) == {"up"}


def matched(gain: float, **of: Any) -> list[Row]:
    """A baseline of some width, and another whose widths were scaled to meet its cost."""
    scale = of.pop("scale", 1.0)
    rows = [
        row(0.0, width_scale=scale, **of),
        row(gain, up="bilinear", width_scale=scale * 1.13, **of),
    ]
    return [
        r | {"match": "params", "variant": name}
        for r, name in zip(rows, ("unet", "unet-bilinear"), strict=True)
    ]


def test_runs_matched_to_unlike_costs_stay_apart() -> None:
    of = found([*matched(0.1), *matched(0.5, scale=0.25, run_id="r2"), *matched(0.1, run_id="r3")])
    assert of.table["target"].to_list() == [
        "unet base_width=64 width_scale=1",
        "unet base_width=64 width_scale=0.25",
    ]
    assert np.log1p(of.table["change"].to_numpy(dtype=float)) == pytest.approx([0.1, 0.5])
    assert of.table["run_id"].to_list() == ["r1, r3", "r2"]
    assert "matched to unet base_width=64 width_scale=0.25" in shown(of)
    assert {"matched to" in shown(found(grid(KNOWN, **GRID)))} == {False}


def test_a_matched_run_without_its_baseline_stays_alone() -> None:
    others = [[{**r, "baseline": "gone"} for r in matched(0.1, run_id=run)] for run in ("r1", "r2")]
    of = found([*others[0], *others[1]])
    assert of.table["target"].to_list() == ["gone of r1", "gone of r2"]


def test_a_base_width_that_the_run_scaled_is_no_choice() -> None:
    wide = row(0.2, up="bilinear", base_width=32, width_scale=2.26)
    of = found([matched(0.0)[0], wide | {"match": "params"}])
    assert set(of.table["slot"]) == {"up"}


def test_capacity_is_pointed_out() -> None:
    hint = "--match params"
    assert any(
        hint in note
        for note in sentences(found([row(params=100), row(params=50, up="bilinear")]).findings)
    )
    assert not any(
        hint in note
        for note in sentences(found([row(params=100), row(params=101, up="bilinear")]).findings)
    )


# ---- the reference


def test_the_reference_is_the_baselines_unless_told_otherwise() -> None:
    rows = [row(0.0), row(0.1, up="bilinear"), row(0.3, up="nearest")]
    of = found(rows, references={"up": "bilinear"})
    assert math.log1p(line(of, "nearest")["change"]) == pytest.approx(0.2)
    assert math.log1p(line(of, "transpose")["change"]) == pytest.approx(-0.1)
    with pytest.raises(
        UnknownName, match="unknown reference for up 'bilinaer'; did you mean bilinear"
    ):
        found(rows, references={"up": "bilinaer"})
    with pytest.raises(UnknownName, match="slot or axis 'upp'"):
        found(rows, references={"upp": "bilinear"})
    assert (
        found([row(0.0), row(0.1, width_scale=0.5)], references={"width_scale": "0.50"}).table[
            "reference"
        ][0]
        == "0.5"
    )


def test_without_the_reference_a_context_says_nothing_and_is_counted() -> None:
    rows = [
        row(0.0),
        row(0.1, up="bilinear"),
        row(0.1, up="bilinear", depth=3),
        row(0.1, up="nearest", depth=3),
    ]
    of = found(rows)
    assert set(of.table["alternative"]) == {"bilinear"} | {"3"}
    assert any(
        "up: 1 contexts hold alternatives, but not the reference" in note
        for note in sentences(of.findings)
    )


def test_where_the_baselines_choice_has_no_context_another_is_reference() -> None:
    rows = [row(0.0), row(0.1, encoder="a", head="b"), row(0.3, encoder="c", head="b")]
    of = found(rows)
    assert math.log1p(line(of, "c")["change"]) == pytest.approx(0.2)
    assert any(
        "encoder: the baseline's choice is in no context" in note for note in sentences(of.findings)
    )


def test_texts_become_references() -> None:
    assert parse_references(["up=a", " norm = b"]) == {"up": "a", "norm": "b"}
    for text in ("up", "=a", "up="):
        with pytest.raises(InvalidChoice, match="is no reference: write SLOT=PART"):
            parse_references([text])


def test_slots_and_figures_are_chosen() -> None:
    rows = grid(KNOWN, **GRID)
    assert set(found(rows, slots=["up"]).table["slot"]) == {"up"}
    assert set(found([{**r, "params": 5} for r in rows], figures=["params"]).table["figure"]) == {
        "params"
    }
    with pytest.raises(UnknownName, match="figure 'dicee'; did you mean dice"):
        found(rows, figures=["dicee"])
    with pytest.raises(UnknownName, match="slot or axis 'upp'; did you mean up"):
        found(rows, slots=["upp"])


# ---- Dice


def dice_of(gains: Iterable[tuple[str, int, str | None, float]]) -> Effects:
    """Two variants by (task, seed, fold, gain): the second is better by the gain."""
    gains = list(gains)
    rows = {
        (up, task): row(up=up, task=task, dataset_hash=task, dice=0.5)
        for up in ("transpose", "bilinear")
        for task, *_ in gains
    }
    cells = [
        cell(seed, 0.5 + 0.07 * seed + (gain if up == "bilinear" else 0), rows[up, task], fold)
        for task, seed, fold, gain in gains
        for up in ("transpose", "bilinear")
    ]
    return found(rows.values(), cells)


def test_dice_of_one_seed_has_no_interval() -> None:
    row_ = line(dice_of([("a", 0, None, 0.1)]), "bilinear", "dice")
    assert (row_["change"], row_["basis"], row_["separable"]) == (
        pytest.approx(0.1),
        "measurement",
        False,
    )
    assert "ci_low" not in row_


def test_dice_in_one_context_is_paired_over_seeds_and_folds() -> None:
    row_ = line(
        dice_of([("a", 0, None, 0.10), ("a", 1, None, 0.12), ("a", 2, None, 0.14)]),
        "bilinear",
        "dice",
    )
    half = 4.3027 * 0.02 / math.sqrt(3)
    assert (row_["change"], row_["ci_high"]) == (
        pytest.approx(0.12),
        pytest.approx(0.12 + half, rel=1e-4),
    )
    folds = [("a", 0, "0/2", 0.1), ("a", 1, "0/2", 0.2), ("a", 0, "1/2", 0.3), ("a", 1, "1/2", 0.4)]
    row_ = line(dice_of(folds), "bilinear", "dice")
    assert row_["ci_high"] == pytest.approx(0.25 + 12.7062 * 0.1, rel=1e-4)


def test_several_data_sets_are_what_varies() -> None:
    row_ = line(
        dice_of([("a", 0, None, 0.1), ("a", 1, None, 0.2), ("b", 0, None, 0.35)]),
        "bilinear",
        "dice",
    )
    assert (row_["contexts"], row_["units"], row_["basis"]) == (2, 2, "contexts")
    assert (row_["change"], row_["ci_high"]) == (
        pytest.approx(0.25),
        pytest.approx(0.25 + 12.7062 * 0.1, rel=1e-4),
    )


def test_speed_on_a_second_data_set_is_no_second_context_but_dice_is() -> None:
    rows = [
        row(
            base + gain + more,
            up=up,
            depth=depth,
            task=task,
            dataset_hash=task,
            dice=0.5 + gain,
            **NO_BASELINE,
        )
        for task, more in (("a", 0.0), ("b", 0.03))
        for depth, base in ((3, 0.0), (4, 1.0))
        for up, gain in (("transpose", 0.0), ("bilinear", 0.1 * depth + more))
    ]
    of = found(rows)
    assert (line(of, "bilinear")["contexts"], line(of, "bilinear")["units"]) == (4, 2)
    assert math.log1p(line(of, "bilinear")["ci_high"]) == pytest.approx(
        0.365 + 12.7062 * 0.05, rel=1e-4
    )
    assert line(of, "bilinear", "dice")["ci_high"] == pytest.approx(
        0.365 + 12.7062 * 0.015, rel=1e-4
    )


def test_only_equal_seeds_are_pairs() -> None:
    own, other = row(dice=0.5), row(up="bilinear", dice=0.7)
    cells = [cell(0, 0.5, own), cell(1, None, own), cell(0, 0.6, other), cell(1, 0.9, other)]
    assert line(found([own, other], cells), "bilinear", "dice")["change"] == pytest.approx(0.1)


def test_dice_without_cells_is_the_rows_own_where_it_is_whole() -> None:
    rows = [
        row(dice=0.5, seeds=2),
        row(dice=0.6, seeds=2, up="bilinear"),
        row(dice=0.9, seeds=1, up="nearest"),
    ]
    broken = row(dice=0.9, seeds=2, up="shuffle", accuracy_status="oom")
    of = found([*rows, broken])
    assert line(of, "bilinear", "dice")["change"] == pytest.approx(0.1)
    assert set(of.table["alternative"]) == {"bilinear"}


# ---- several runs and machines


def test_runs_of_one_environment_give_contexts_to_one_table() -> None:
    rows = [row(gain * (run == "r1") + 0.1 * (up == "bilinear"), up=up, run_id=run, depth=depth)
            for gain, run, depth in ((0.0, "r1", 3), (0.5, "r2", 4))
            for up in ("transpose", "bilinear")]  # fmt: skip
    of = found(rows)
    assert (line(of, "bilinear")["contexts"], line(of, "bilinear")["run_id"]) == (2, "r1, r2")


def repeated(*gains: tuple[float, float | None]) -> Row:
    """The effect of `up` in one context, measured in as many runs: each its logarithm and its
    interval's half.
    """
    rows = [
        {**row(gain, half, up=up), "run_id": f"r{n}"}
        for n, (measured, half) in enumerate(gains)
        for up, gain in (("transpose", 0.0), ("bilinear", measured))
    ]
    return line(found(rows), "bilinear")


def test_a_second_run_of_a_context_is_no_second_context() -> None:
    row_ = repeated((0.1, 0.05), (0.1, 0.05))
    assert (row_["contexts"], row_["units"], row_["basis"], row_["separable"]) == (
        2,
        1,
        "measurement",
        True,
    )
    half = 0.05 / math.sqrt(2)
    assert np.log1p([row_["ci_low"], row_["ci_high"]]) == pytest.approx([0.1 - half, 0.1 + half])
    assert "spread" not in row_


def test_a_second_honest_measurement_takes_no_effect_away() -> None:
    assert repeated((0.10, 0.01), (0.12, 0.01))["separable"]


def test_runs_that_disagree_by_more_than_they_know_have_a_wider_interval() -> None:
    row_ = repeated((0.1, 0.01), (0.3, 0.01))
    assert math.log1p(row_["ci_high"]) == pytest.approx(0.2 + 1.959964 * 0.1)


def test_repeats_without_an_interval_are_taken_as_uncertain_as_the_others() -> None:
    assert math.log1p(repeated((0.1, 0.05), (0.1, None))["ci_high"]) == pytest.approx(
        0.1 + 0.05 / math.sqrt(2)
    )
    assert not {"ci_low", "ci_high"} & set(repeated((0.1, None), (0.1, None)))


def test_a_second_data_set_of_one_context_is_a_repeat_for_times() -> None:
    rows = [
        row(gain, 0.05, up=up, task=task, dataset_hash=task)
        for task in "ab"
        for up, gain in (("transpose", 0.0), ("bilinear", 0.1))
    ]
    row_ = line(found(rows), "bilinear")
    assert (row_["units"], row_["basis"]) == (1, "measurement")


def dice_of_runs(*of: Mapping[int, float]) -> Row:
    """The effect of `up` on the Dice of one data set in as many runs: of each the gains by seed."""
    rows, cells = [], []
    for number, gains in enumerate(of):
        pair = [
            {**row(up=up, dice=0.5), "run_id": f"r{number}"} for up in ("transpose", "bilinear")
        ]
        rows += pair
        for seed, gain in gains.items():
            cells += [cell(seed, 0.5, pair[0]), cell(seed, 0.5 + gain, pair[1])]
    return line(found(rows, cells), "bilinear", "dice")


def test_dice_of_several_runs_is_paired_over_all_their_seeds() -> None:
    ends = ("change", "ci_low", "ci_high")
    once = dice_of_runs({0: 0.10, 1: 0.12, 2: 0.14, 3: 0.16})
    apart = dice_of_runs({0: 0.10, 1: 0.12}, {2: 0.14, 3: 0.16})
    again = dice_of_runs({0: 0.10, 1: 0.12, 2: 0.14, 3: 0.16}, {0: 0.10, 1: 0.12, 2: 0.14, 3: 0.16})
    for other in (apart, again):
        assert [other[end] for end in ends] == pytest.approx([once[end] for end in ends])
        assert (other["units"], other["basis"]) == (1, "measurement")
    averaged = dice_of_runs({0: 0.10, 1: 0.20}, {0: 0.20})
    assert averaged["ci_high"] == pytest.approx(0.175 + 12.7062 * 0.025, rel=1e-4)
    assert "ci_low" not in dice_of_runs({0: 0.1}, {0: 0.2})


def test_collapsed_trainings_prove_no_equality() -> None:
    rows = [
        row(dice=0.0, up=up, task=task, dataset_hash=task)
        for task in "ab"
        for up in ("transpose", "bilinear")
    ]
    row_ = line(found(rows), "bilinear", "dice")
    assert (row_["change"], row_["units"], row_["separable"]) == (0, 2, False)
    assert not {"ci_low", "ci_high"} & set(row_)
    assert "0.000≈" in shown(found(rows))
    assert "ci_low" not in repeated((0.1, 0.0))
    counted = [
        row(params=100 + (up == "bilinear"), up=up, depth=depth)
        for depth in (3, 5)
        for up in ("a", "bilinear")
    ]
    assert line(found(counted, slots=["up"]), "bilinear", "params")["separable"]


def test_a_baseline_whose_own_ratio_was_lost_stays_the_reference() -> None:
    rows = [
        row(None, quality="contaminated"),
        row(0.3, 0.02, up="bilinear"),
        row(-0.2, 0.02, merge="add"),
    ]
    of = found(rows)
    assert np.log1p([line(of, "bilinear")["ci_low"], line(of, "add")["change"]]) == pytest.approx(
        [0.28, -0.2]
    )
    elsewhere = [
        row(None),
        row(None, up="bilinear"),
        row(0.0, run_id="r2"),
        row(0.3, up="bilinear", run_id="r2"),
    ]
    assert line(found(elsewhere), "bilinear")["contexts"] == 1
    unpaired = [row(None, precision="bf16"), row(0.3, up="bilinear")]
    assert found(unpaired).table.empty


def test_environments_settings_and_machines_stay_apart() -> None:
    places = [{"env_id": "e1"}, {"env_id": "e2"}, {"precision": "bf16"}, {"device_name": "other"}]
    rows = [
        row(0.1 * (n + 1) * (up == "bilinear"), up=up, **place)
        for n, place in enumerate(places)
        for up in ("transpose", "bilinear")
    ]
    of = found(rows)
    assert np.log1p(of.table["change"].to_numpy(dtype=float)) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    text = shown(of)
    for word in ("environment e1", "environment e2", "bf16", "other"):
        assert word in text


def test_it_reads_what_runs_leave(tmp_path: Path) -> None:
    for run in ("a", "b"):
        rows = [{**r, "run_id": run} for r in grid(KNOWN, noise=0.01, **GRID)]
        (tmp_path / f"{run}.csv").write_text(csv_text(frame(rows)))
    of = effects(read_runs([tmp_path / "a.csv", tmp_path / "b.csv"]))
    assert line(of, "add")["contexts"] == 18
    assert line(of, "add")["units"] == 9


# ---- intervals cover


def experiments(
    count: int,
    contexts: int,
    ups: int = 2,
    missing: float = 0.0,
    law: str = "normal",
    seed: int = 1,
) -> list[Row]:
    """So many experiments under one heading each (the recipe), of which each context moves every
    alternative apart.
    """
    random = np.random.default_rng(seed)
    draw = {
        "normal": random.normal,
        "t": lambda size: random.standard_t(4, size),
        "skewed": random.gumbel,
    }[law]
    values = draw(size=(count, contexts, ups))
    values -= np.euler_gamma if law == "skewed" else 0
    values *= 1 + np.arange(ups)  # each alternative varies as it does
    kept = random.random(values.shape) >= missing
    return [
        row(
            0.05 * values[n, c, u] + 0.3 * u + c,
            up=f"up{u}",
            depth=c + 1,
            recipe=str(n),
            baseline="none",
        )
        for n, c, u in product(range(count), range(contexts), range(ups))
        if kept[n, c, u]
    ]


def coverage(rows: list[Row]) -> tuple[float, int]:
    """The part of intervals over contexts that hold the truth, and how many there are."""
    table = found(rows, references={"up": "up0"}, slots=["up"]).table
    table = table[table["basis"] == "contexts"]
    truth = np.expm1(0.3 * table["alternative"].str.removeprefix("up").astype(float))
    return float(((table["ci_low"] <= truth) & (truth <= table["ci_high"])).mean()), len(table)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("contexts", "ups", "missing"),
    [(2, 2, 0.0), (3, 2, 0.0), (5, 3, 0.0), (3, 4, 0.3), (10, 3, 0.5)],
)
def test_intervals_cover_however_few_contexts_and_however_unbalanced(
    contexts: int, ups: int, missing: float
) -> None:
    part, count = coverage(experiments(250, contexts, ups, missing))
    assert count > 200
    assert part == pytest.approx(0.95, abs=0.035)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["t", "skewed"])
@pytest.mark.parametrize(("contexts", "ups", "missing"), [(2, 2, 0), (5, 2, 0.2), (10, 4, 0.4)])
def test_intervals_cover_under_other_laws(
    law: str, contexts: int, ups: int, missing: float
) -> None:
    part, _ = coverage(experiments(600, contexts, ups, missing, law))
    assert 0.925 < part < 0.975


@pytest.mark.slow
def test_intervals_of_dice_cover_where_data_sets_move_together() -> None:
    random = np.random.default_rng(3)
    rows = [
        row(dice=0.5 + (up == "b") * (0.1 + 0.1 * moved + 0.01 * random.normal()),
            up=up, depth=depth, recipe=str(n),
            task=str(task), dataset_hash=str(task), baseline="none")
        for n in range(300) for task in range(4) for moved in [random.normal()]
        for depth in (3, 4, 5) for up in ("a", "b")
    ]  # fmt: skip
    table = found(rows, references={"up": "a"}, slots=["up"]).table
    part = ((table["ci_low"] <= 0.1) & (table["ci_high"] >= 0.1)).mean()
    assert len(table) == 300
    assert part == pytest.approx(0.95, abs=0.03)  # 0.2 or so, were it the other choices that vary


# ---- interactions


def three(
    injected: float, noise: float, count: int = 1, third: float = 0.0, seed: int = 5
) -> list[Row]:
    """Grids up × merge × depth: merge=add changes what up=bilinear is worth; `third`: so does
    depth=3, much more.
    """
    random = np.random.default_rng(seed)
    return [
        row(
            0.2 * (up == "bilinear") + 0.1 * (merge == "add") + 0.05 * depth
            + noise * random.normal()
            + (up == "bilinear") * (injected * (merge == "add") + third * (depth == 3)),
            up=up, merge=merge, depth=depth, recipe=str(n), **NO_BASELINE,
        )
        for n in range(count) for up in ("transpose", "bilinear")
        for merge in ("concat", "add") for depth in range(2, 8)
    ]  # fmt: skip


def test_an_interaction_is_found_and_its_effects_are_given() -> None:
    of = found(three(injected=0.15, noise=0.01))
    [flagged] = of.interactions[of.interactions["flagged"]].to_dict("records")
    assert (flagged["slot"], flagged["alternative"], flagged["reference"]) == (
        "up",
        "bilinear",
        "transpose",
    )
    assert (flagged["with_slot"], flagged["with_alternative"], flagged["with_reference"]) == (
        "merge",
        "add",
        "concat",
    )
    assert flagged["change_at_reference"] == pytest.approx(math.expm1(0.2), abs=0.02)
    assert flagged["change_at_alternative"] == pytest.approx(math.expm1(0.35), abs=0.02)
    assert flagged["difference"] == pytest.approx(math.expm1(0.15), abs=0.02)
    assert (flagged["contexts"], flagged["p_adjusted"] < 0.05) == (6, True)
    text = shown(of)
    assert re.search(
        r"up=bilinear × merge=add +6 +latency +\+2\d % at concat +\+4\d % at add +< 0.001", text
    )
    assert "1 of 11 tested stand out" in text


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_said() -> None:
    of = found(three(injected=0.0, noise=0.1, count=200)).interactions
    alarmed = of[of["flagged"]]["recipe"].nunique() / 200
    assert alarmed <= 0.08
    assert of["p"].notna().all()
    assert (of["p"] < 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_a_third_choice_does_not_pass_for_the_second() -> None:
    of = found(three(injected=0.0, noise=0.01, third=0.5)).interactions
    assert set(of[of["flagged"]]["with_slot"]) <= {"depth"}
    assert of[of["flagged"]]["with_alternative"].eq("3").all()


def test_an_interaction_too_small_to_matter_is_not_flagged() -> None:
    of = found(three(injected=0.015, noise=0.0001)).interactions
    tested = of[(of["slot"] == "up") & (of["with_slot"] == "merge")].iloc[0]
    assert (tested["p_adjusted"] < 0.05, tested["flagged"]) == (True, False)


def test_a_single_grid_of_two_choices_is_judged_by_its_measurement() -> None:
    def of(half: float) -> Row:
        rows = [row(0.0, half), row(0.1, half, up="bilinear"), row(0.1, half, merge="add")]
        [record] = found([*rows, row(0.4, half, up="bilinear", merge="add")]).interactions.to_dict(
            "records"
        )
        return {str(name): value for name, value in record.items()}

    assert math.log1p(of(0.01)["difference"]) == pytest.approx(0.2)
    assert (of(0.01)["basis"], of(0.01)["contexts"], of(0.01)["flagged"]) == (
        "measurement",
        1,
        True,
    )
    assert not of(0.3)["flagged"]
    # Three of four were measured, the baseline is 1: z is the difference over the root of three
    # times a half's worth.
    z = 0.2 / (math.sqrt(3) * 0.15 / 1.959964)
    assert of(0.15)["p"] == pytest.approx(2 * stats.norm.sf(z), rel=1e-4)


def test_holm_is_as_in_statsmodels() -> None:
    multiple = pytest.importorskip("statsmodels.stats.multitest")
    of = found(three(injected=0.03, noise=0.03)).interactions
    expected = multiple.multipletests(of["p"].to_numpy(dtype=float), method="holm")[1]
    assert of["p_adjusted"].to_list() == pytest.approx(expected.tolist())


def test_a_two_by_two_interaction_is_the_f_test_of_statsmodels() -> None:
    formula = pytest.importorskip("statsmodels.formula.api")
    anova = pytest.importorskip("statsmodels.stats.anova")
    rows = three(injected=0.05, noise=0.05)
    table = pd.DataFrame(rows).assign(y=[math.log(r["latency_ratio"]) for r in rows])
    fit = formula.ols("y ~ C(depth) * C(up) + C(depth) * C(merge) + C(up):C(merge)", table).fit()
    of = found(rows).interactions
    own = of[(of["slot"] == "up") & (of["with_slot"] == "merge")].iloc[0]
    assert own["p"] == pytest.approx(anova.anova_lm(fit).loc["C(up):C(merge)", "PR(>F)"], rel=1e-6)


# ---- what is missing or hostile


def test_failures_nan_trivial_baselines_and_architectures() -> None:
    rows = [
        row(0.0, dice=0.5),
        row(0.1, up="bilinear", dice=None),
        row(None, up="nearest", dice=0.6, speed_status="oom"),
        row(
            None,
            up="shuffle",
            speed_status="unsupported",
            accuracy_status="unsupported",
            params=None,
        ),
        row(float("nan"), act="silu", quality="contaminated"),
        row(0.4, variant="segnet", architecture="segnet"),
        row(None, variant="floor-otsu", architecture="floor-otsu", trivial=True, dice=0.8),
        row(None, variant="floor-majority", trivial=True, dice=0.0),
        dict.fromkeys(USUAL)
        | WHERE
        | {"variant": "imported", "trivial": False, "latency_ratio": 1.5},
    ]
    of = found(rows)
    assert line(of, "bilinear")["change"] == pytest.approx(math.expm1(0.1))
    assert line(of, "nearest", "dice")["change"] == pytest.approx(0.1)
    assert len(of.table) == 2
    notes = "\n".join(sentences(of.findings))
    assert "not made of slots: segnet, floor-otsu, floor-majority" in notes
    assert "2 of 6 rows are not ok" in notes
    assert "contaminated (1)" in notes
    for format in ("table", "csv", "md", "json"):
        assert effects_document(of).rendered(format)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "none of 0 rows is a measured network made of slots"),
        (
            [row(0.4, variant="segnet", architecture="segnet")],
            "none of 1 rows is a measured network made of slots",
        ),
        ([row(0.0)], "no two of 1 rows differ in one choice only"),
        (
            [row(0.0), row(0.1, up="bilinear", merge="add")],
            "no two of 2 rows differ in one choice only",
        ),
    ],
)
def test_without_contexts_it_says_what_would_have_some(rows: list[Row], why: str) -> None:
    of = found(rows)
    assert of.table.empty
    assert of.interactions.empty
    assert why in sentences(of.findings)[0]
    assert "unet-bench run --base unet --vary" in " ".join(shown(of).split())
    assert json.loads(str(effects_document(of).rendered("json")))["effects"] == []


def test_rows_that_lack_figures_are_not_said_to_differ_in_more_choices() -> None:
    failed = row(None, up="bilinear", speed_status="oom")
    alone = sentences(found([row(0.0), failed]).findings)
    assert alone[0].startswith(
        "no effect to show: rows differ in one choice only, but share no figure; cells failed: "
        "oom (1)"
    )
    apart = sentences(
        found([row(0.0), row(None, up="bilinear", dice=0.5)], figures=["latency_ratio"]).findings
    )
    assert apart[0].startswith(
        "no effect to show: rows differ in one choice only, but share no figure among latency_r"
    )
    notes = "\n".join(
        sentences(
            found([row(0.0), row(0.1, merge="add"), row(None, up="bilinear", params=5)]).findings
        )
    )
    assert (
        "since those that differ in one choice only lack the figure or are not the reference: "
        "unet+up=b" in notes
    )
    assert "more than one choice" not in notes


def test_a_slot_that_was_not_varied_is_called_so() -> None:
    note = sentences(found([row(0.0), row(0.1, up="bilinear")], slots=["norm"]).findings)[0]
    assert (
        note
        == "no effect to show: all 2 rows where norm can matter have the same value; varied: up"
    )
    notes = "\n".join(
        sentences(
            found([row(0.0), row(0.1, up="bilinear"), row(0.1, merge="add")], slots=["up"]).findings
        )
    )
    assert "more than one choice" not in notes


def test_a_reference_in_no_context_is_called_so() -> None:
    rows = [row(0.0), row(0.1, up="bilinear"), row(0.1, up="nearest", depth=3, merge="add")]
    of = found(rows, slots=["up"], references={"up": "nearest"})
    assert of.table.empty
    assert "none of them has the reference" in sentences(of.findings)[0]


def test_rows_with_the_same_choices_are_counted_once_and_named() -> None:
    rows = [
        row(0.0, 0.01),
        row(None, up="bilinear", params=5),
        row(0.1, 0.01, up="bilinear", variant="zzz", params=5),
    ]
    of = found(rows)
    assert math.log1p(line(of, "bilinear")["change"]) == pytest.approx(
        0.1
    )  # that with most figures
    assert any(
        "another row has the same choices: unet+up=bilinear" in note
        for note in sentences(of.findings)
    )
    same = sentences(found([row(0.0), row(0.1, variant="twin")]).findings)
    assert any("another row has the same choices: twin" in note for note in same)


def test_frames_have_the_columns_and_types_that_are_stated() -> None:
    for of in (found(grid(KNOWN, **GRID)), found([])):
        for part, stated in ((of.table, COLUMNS), (of.interactions, INTERACTIONS), (of.fit, FIT)):
            assert {str(name): str(dtype) for name, dtype in part.dtypes.items()} == dict(stated)


def test_differences_beyond_all_numbers_are_no_crash() -> None:
    rows = [
        row(0.0, depth=3),
        row(600.0, up="bilinear", depth=3),
        row(0.0, depth=5),
        row(-600.0, up="bilinear", depth=5),
    ]
    of = found(rows, slots=["up"])
    assert (line(of, "bilinear")["ci_low"], line(of, "bilinear")["separable"]) == (-1, False)
    assert "0 ±>999≈" in shown(of)
    ends = [{"latency_ratio": ratio} for ratio in (1e-300, 1e300)]
    rows = [
        row(depth=depth, up=up, **end)
        for depth in (3, 5)
        for up, end in zip("ab", ends, strict=True)
    ]
    rows[1]["latency_ratio"] = 1e299
    document = effects_document(found(rows, slots=["up"]))
    [record] = json.loads(str(document.rendered("json")))["effects"]
    assert all(math.isfinite(record[name]) for name in ("change", "ci_low", "ci_high"))


def test_large_changes_are_told_in_powers_of_ten() -> None:
    of = found([row(params=1), row(params=10**18, up="bilinear")])
    assert "+1.0e+20" in shown(of)


HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd()",
    "x" * 300,
    "\u202eevil",
    "a|b\n`c`",
    "[red]x[/red]",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    of = found(
        [
            row(0.0, task=name),
            row(0.1, up=name, task=name),
            row(0.2, variant=name, architecture=name),
        ]
    )
    assert line(of, name)["contexts"] == 1
    markdown = str(effects_document(of).rendered("md"))
    assert "<script>" not in markdown.replace(r"\<", "")
    assert "\n`c`" not in markdown
    assert (
        len(
            {
                row.count("|") - row.count(r"\|")
                for row in markdown.splitlines()
                if row.startswith("|")
            }
        )
        == 1
    )
    if "[" in name:
        assert name in shown(of)
    records = json.loads(str(effects_document(of).rendered("json")))["effects"]
    assert records[0]["alternative"] == name


# ---- fit, text and the command


def test_the_fit_is_stated() -> None:
    rows = [row(0.0, depth=3), row(0.1, up="bilinear", depth=3), row(1.0), row(1.3, up="bilinear")]
    [fit] = found([{**r, "baseline": "none"} for r in rows], slots=["up"]).fit.to_dict("records")
    assert (fit["slot"], fit["differences"], fit["alternatives"]) == ("up", 2, 1)
    assert fit["residual_sd"] == pytest.approx(math.sqrt(2) * 0.1)
    assert fit["r2_within"] == pytest.approx(1 - 0.02 / 0.1)


def test_a_table_says_changes_with_intervals_contexts_and_reference() -> None:
    rows = [
        {**r, "dice": 0.5 + 0.01 * r["depth"], "params": 100 * r["depth"]}
        for r in grid(KNOWN, noise=0.02, **GRID)
    ]
    text = shown(found(rows))
    assert "up: against transpose" in text
    [bilinear] = [line_ for line_ in text.splitlines() if line_.startswith("bilinear")]
    assert re.match(r"bilinear +6 +\+1[01] ±\d\.\d +0 +0\.000≈ *$", bilinear)
    assert "sd over contexts: latency" in text
    assert max(map(len, text.splitlines())) <= 120
    answer = Answer(found(rows), effects_document)  # as a notebook has it
    assert "up: against transpose" in str(answer)
    markdown = answer._repr_markdown_()
    assert "### up: against transpose" in markdown
    assert "| alternative | n | latency |" in markdown


def test_a_figure_with_other_contexts_than_its_line_says_how_many() -> None:
    rows = grid(
        {"bilinear": 0.1}, noise=0.01, up=["transpose", "bilinear"], depth=[2, 3, 4, 5, 6, 7]
    )
    rows[0]["dice"], rows[6]["dice"] = 0.5, 0.6
    text = shown(found(rows, slots=["up"]))
    assert re.search(r"bilinear +6 +\+\d+ ±\d\.\d +\+0\.100≈ \(1\)", text)
    assert re.search(
        r"bilinear +1 +\+11 ±", shown(found([r for r in twice(0.1) if r["depth"] == 4]))
    )


def twice(gain: float) -> list[Row]:
    """One context measured in two runs."""
    return [
        row(g, 0.01, up=up, run_id=run)
        for run in ("r1", "r2")
        for up, g in (("transpose", 0), ("bilinear", gain))
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_figures_are_never_split_and_fit_the_screen(width: int) -> None:
    random = np.random.default_rng(1)
    relative = [
        "throughput_ratio",
        "train_step_ratio",
        "peak_memory_mib",
        "train_peak_memory_mib",
        "energy_ratio",
    ]
    rows = [
        r | {name: math.exp(0.3 * random.normal()) for name in relative}
        | {name: int(1e6 * random.random()) for name in ("params", "macs")}
        | {"dice": random.random()}
        for r in grid(
            KNOWN,
            noise=0.02,
            up=["transpose", "a-part-with-a-long-name-of-its-own"],
            depth=[3, 4, 5],
        )
    ]  # fmt: skip
    of = found(rows, slots=["up"])
    text = shown(of, width)
    assert max(map(len, text.splitlines())) <= width
    labels = re.findall(
        r"latency|throughput|(?:training|inference) \w+|parameters|MACs|energy|Dice",
        text.split("sd over")[0],
    )
    assert labels == [
        "latency",
        "throughput",
        "training step",
        "inference memory",
        "training memory",
        "parameters",
        "MACs",
        "energy",
        "Dice",
    ]
    wide = shown(of, 300).split("sd over")[0]
    cells = re.findall(
        r"[+-]?\d[\d.]* ±>?[\d.]+≈?|0≈?",
        next(li for li in wide.splitlines() if li.startswith("a-part")),
    )
    assert len(cells) == 9
    for one in cells:
        assert one in text
    tables = text.count("alternative")
    assert tables == 1 if width == 200 else tables > 1


def test_formats() -> None:
    of = found(grid(KNOWN, **GRID))
    assert str(effects_document(of).rendered("csv")).startswith("run_id,device_name,env_id,")
    content = json.loads(str(effects_document(of).rendered("json")))
    assert set(content) == {"effects", "interactions", "fit", "notes"}
    assert len(content["effects"]) == len(of.table)
    with pytest.raises(UnknownName, match="format 'xml'"):
        effects_document(of).rendered("xml")


def test_the_command(
    tmp_path: Path, unet_bench: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file = tmp_path / "results.csv"
    file.write_text(csv_text(frame(grid(KNOWN, noise=0.01, **GRID))))

    def typed(*options: str) -> str:
        done = unet_bench("effects", str(file), *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "up: against transpose" in typed()
    only = json.loads(
        typed(
            "--json", "--slot", "up,merge", "--figure", "latency_ratio", "--reference", "up=nearest"
        )
    )
    assert {row["reference"] for row in only["effects"]} == {"nearest", "concat"}
    assert typed("--format", "csv").rstrip().count("\n") == 5


def test_it_imports_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_text(csv_text(frame(grid(KNOWN, noise=0.01, **GRID))))
    code = (
        "import sys; from unet_bench.analysis.effects import effects;"
        "from unet_bench.present.effects import effects_document;"
        "from unet_bench.store.runs import read_runs;"
        f"effects_document(effects(read_runs([{str(file)!r}]))).rendered('md');"
        "print([name for name in ('torch', 'statsmodels', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
