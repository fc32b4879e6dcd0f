"""Results in tidy form: no figure is lost, and each stands with its interval."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from unet_bench.errors import InvalidSuite
from unet_bench.store.schema import BY_NAME, ENDS, INTERVALS
from unet_bench.store.tables import read_results


def test_every_figure_has_a_row_with_its_interval(finished_run: Path) -> None:
    wide, long = read_results(finished_run), read_results(finished_run, tidy=True)
    figures = [
        name
        for name in wide
        if name in BY_NAME
        and BY_NAME[name].probes
        and name not in ENDS
        and BY_NAME[name].dtype in ("Float64", "Int64")
    ]
    assert len(long) == int(wide[figures].notna().sum().sum())
    assert {"params", "dice", "peak_memory_mib"} <= set(long["metric"])
    of_paper = long[long["variant"] == "unet-paper"].set_index("metric")
    row = wide[wide["variant"] == "unet-paper"].iloc[0]
    spread = {name: ends for name, ends in INTERVALS.items() if row.notna()[[name, *ends]].all()}
    assert spread  # how far other images would have moved the Dice, if nothing was timed in quiet
    for name, (low, high) in spread.items():
        found = of_paper.loc[name, ["value", "ci_low", "ci_high"]].tolist()
        assert found == [row[name], row[low], row[high]]
    assert of_paper.loc["peak_memory_mib", ["unit", "better"]].tolist() == ["MiB", "low"]


def test_rows_of_a_variant_stay_together(finished_run: Path) -> None:
    wide, long = read_results(finished_run), read_results(finished_run, tidy=True)
    order = long["variant"].drop_duplicates().tolist()
    assert order == [name for name in wide["variant"] if name in set(order)]


def test_only_results_have_a_tidy_form(finished_run: Path) -> None:
    with pytest.raises(InvalidSuite, match="cells"):
        read_results(finished_run, "cells", tidy=True)


def test_no_figures_are_no_rows(finished_run: Path, tmp_path: Path) -> None:
    header = read_results(finished_run).head(0)
    header.to_csv(tmp_path / "empty.csv", index=False)
    long = read_results(tmp_path / "empty.csv", tidy=True)
    assert long.empty
    assert {"variant", "metric", "value", "unit"} <= set(long)


def test_show_prints_it(unet_bench, finished_run: Path) -> None:
    done = unet_bench("show", str(finished_run), "--format", "tidy")
    assert done.returncode == 0, done.stderr
    printed = pd.read_csv(io.StringIO(done.stdout))
    expected = read_results(finished_run, tidy=True)
    assert list(printed) == list(expected)
    assert printed["metric"].tolist() == expected["metric"].tolist()
