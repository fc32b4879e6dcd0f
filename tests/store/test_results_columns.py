"""The column table: whole, light to import, and the same as its documentation."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.paths import ROOT

from unet_bench.errors import StoreError
from unet_bench.networks.choices import DTYPES, NAMES
from unet_bench.store import schema as table
from unet_bench.store.columns import COLUMNS, OUR_PROBE_NAMES, Column
from unet_bench.store.documentation import markdown

README = ROOT / "results" / "README.md"


def names(of: str) -> list[str]:
    return [column.name for column in table.columns(of)]


def test_readme_is_the_generated_one() -> None:
    command = "python -m unet_bench.store.documentation > results/README.md"
    assert README.read_text(encoding="utf-8") == markdown(), f"out of date: {command}"


def test_import_is_light() -> None:
    heavy = (
        "import sys, unet_bench.store.schema; print({'pandas', 'torch', 'rich', 'numpy'} & "
        "set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", heavy], text=True).strip() == "set()"


def test_names_are_unique() -> None:
    assert len(table.BY_NAME) == len(COLUMNS)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_column_is_complete(column: Column) -> None:
    assert column.dtype in ("string", "Int64", "Float64", "boolean")
    assert column.tables
    assert set(column.tables) <= set(table.TABLES)
    assert set(column.probes) <= set(OUR_PROBE_NAMES)
    assert column.meaning
    assert "|" not in column.meaning


@pytest.mark.parametrize("of", ["cells", "results"])
def test_every_choice_is_a_column_of_its_type(of: str) -> None:
    assert set(NAMES) <= set(names(of))
    assert {name: table.BY_NAME[name].dtype for name in NAMES} == dict(DTYPES)


@pytest.mark.parametrize(
    ("unit", "suffix"),
    [("ms", "_ms"), ("s", "_s"), ("MiB", "_mib"), ("img/s", "_img_s"), ("Mpx/s", "_mpx_s")],
)
def test_units_stand_in_names(unit: str, suffix: str) -> None:
    named = [column.name for column in COLUMNS if column.unit == unit]
    assert named
    assert all(name.endswith(suffix) for name in named)


def test_figures_of_results_are_measured_per_cell() -> None:
    assert {c.name for c in table.columns("results") if c.probes} <= set(names("cells"))


def test_conditions_identify_rows_of_results() -> None:
    assert {"variant", *table.CONDITIONS} <= set(names("results")) & set(names("cells"))


def test_every_interval_has_its_columns() -> None:
    assert {end for ends in table.INTERVALS.values() for end in ends} <= set(table.BY_NAME)


def test_probe_columns_are_what_each_probe_measures() -> None:
    assert table.PROBE_COLUMNS["cost"] == ("params", "macs", "activations", "flop_per_byte")
    assert {"latency_ms", "latency_ratio", "throughput_mpx_s"} <= set(table.PROBE_COLUMNS["speed"])
    assert {"train_step_ms", "train_step_ratio", "train_forward_ms"} <= set(
        table.PROBE_COLUMNS["training"]
    )
    assert {"best_batch", "largest_batch", "stop_reason"} <= set(table.PROBE_COLUMNS["batch"])
    assert {"peak_memory_mib", "train_live_memory_mib", "rss_memory_mib"} <= set(
        table.PROBE_COLUMNS["memory"]
    )
    assert {"dice", "iou", "train_s"} <= set(table.PROBE_COLUMNS["accuracy"])
    assert "variant" not in {name for own in table.PROBE_COLUMNS.values() for name in own}


def test_unknown_table_is_refused() -> None:
    with pytest.raises(
        StoreError, match="unknown table 'rows': it is one of cells, results, classes"
    ):
        table.columns("rows")
