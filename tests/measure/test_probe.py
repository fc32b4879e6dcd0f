"""Probes: nobody else knows one by its name, a plugin's is measured, planned and shown as ours."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unet_bench.errors import InvalidChoice
from unet_bench.measure.probe import Probe
from unet_bench.measure.probes import OUR_PROBES
from unet_bench.store.columns import OUR_PROBE_NAMES, Column
from unet_bench.store.probes import columns_of
from unet_bench.store.tables import read_results

PACKAGE = Path(__file__).parents[2] / "unet_bench"
# What is read there is a figure that only this probe has, not what is special about a probe.
OF_FIGURES = {
    "analysis/curves.py",
    "analysis/front.py",
    "analysis/matched_pairs.py",
    "analysis/resolution.py",
    "analysis/summary.py",
    "present/explanation.py",
    "present/report/html.py",
    "present/report/networks.py",
    "present/report/table.py",
    "searching/rounds.py",
}

PLUGIN = """
from unet_bench import Column, Probe, hookimpl
from unet_bench.measure.probe import Estimate

SHIFT = Column(
    "shift_error", "Float64", meaning="mean change of logits after a shift", unit="%",
    label="shift error", heading="shift %", better="low", decimals=1,
)

@hookimpl
def unet_bench_register(registry):
    registry.probe(
        Probe(
            "stability", "stability:measure", summary="for tests", columns=(SHIFT,),
            estimate=lambda cell: Estimate(seconds=1000),
        )
    )
"""
MEASURE = """
def measure(context):
    return {"shift_error": 12.5 if context.cell.variant.name == "unet" else 10.0}
"""


def compared_names() -> Iterator[tuple[str, int]]:
    """Yield where a probe's name is compared with a text: file and line."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                parts = [node.left, *node.comparators]
                texts = {
                    leaf.value
                    for part in parts
                    for leaf in ast.walk(part)
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
                }
                named = any("probe" in ast.unparse(part) for part in parts)
                if named and texts & set(OUR_PROBE_NAMES):
                    yield file.relative_to(PACKAGE).as_posix(), node.lineno


def test_no_probe_is_known_by_its_name() -> None:
    found = list(compared_names())
    assert {file for file, _ in found} <= OF_FIGURES, found


def test_facts_of_our_probes_are_read_without_torch() -> None:
    code = (
        "import sys, unet_bench.measure.probes as p; p.OUR_PROBES[1].timed; assert 'torch' not "
        "in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert [probe.name for probe in OUR_PROBES if probe.timed] == [
        "speed",
        "training",
        "energy",
        "batch",
    ]
    assert set(OUR_PROBE_NAMES) == {probe.name for probe in OUR_PROBES}


@pytest.mark.parametrize(
    "column",
    [
        Column("latency_ms", "Float64", meaning="ours already"),
        Column("Mine", "Float64", meaning="a capital"),
        Column("mine_status", "string", meaning="kept for statuses"),
        Column("mine", "float", meaning="no dtype of tables"),
        Column("mine", "Float64", meaning="two\nlines"),
    ],
    ids=lambda column: column.name,
)
def test_a_column_that_tables_cannot_hold_is_refused(column: Column) -> None:
    with pytest.raises(InvalidChoice, match=f"probe stability: column '?{column.name}"):
        Probe("stability", "stability:measure", summary="for tests", columns=(column,))


def test_what_run_json_states_wrongly_is_no_column() -> None:
    good = {"name": "shift_error", "dtype": "Float64", "unit": "%"}
    bad = [{}, {"name": 3}, {**good, "dtype": "object"}, {**good, "decimals": 1.5}, "text", None]
    manifest = {"probes": {"stability": {"columns": [*bad, good]}, "other": 3}}
    assert list(columns_of(manifest)) == ["shift_error"]
    assert columns_of({"probes": ["stability"]}) == {}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path with the scratch plugin: the probe, and its registration."""
    path = tmp_path_factory.mktemp("stability")
    (path / "stabilityplugin.py").write_text(PLUGIN)
    (path / "stability.py").write_text(MEASURE)
    info = path / "stability-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stability\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[unet_bench]\nstability = stabilityplugin\n")
    return path


TINY = "--data cells --size 32x32 --width-scale 0.0625 -b 1 --threads 1 --probes cost,stability"


def command(place: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(place)}
    return subprocess.run(
        [sys.executable, "-m", "unet_bench", *words],
        env=environment,
        cwd=place,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    """A run with the scratch plugin's probe, which is read without it."""
    command(place, "run", "--variants", "unet,unet-add", *TINY.split(), "--out", str(place / "out"))
    [run] = (place / "out").glob("*/run.json")
    return run.parent


@pytest.mark.slow
def test_its_duration_is_foreseen(place: Path) -> None:
    plan = json.loads(command(place, "plan", "--variants", "unet", *TINY.split(), "--json"))
    [cell] = [cell for cell in plan if cell["probe"] == "stability"]
    assert cell["predicted_s"] > 1000


def test_its_columns_are_in_the_tables_with_their_types(finished: Path) -> None:
    frame = read_results(finished)
    assert str(frame["shift_error"].dtype) == "Float64"
    assert str(frame["stability_status"].dtype) == "string"
    assert dict(zip(frame["variant"], frame["shift_error"], strict=True)) == {
        "unet": 12.5,
        "unet-add": 10.0,
    }
    assert list(read_results(finished, "cells")["shift_error"].dropna()) == [12.5, 10.0]
    manifest = json.loads((finished / "run.json").read_text())
    column = columns_of(manifest)["shift_error"]
    assert (column.unit, column.label, column.better) == ("%", "shift error", "low")


def test_what_it_does_not_declare_is_an_error_of_the_cell(finished: Path, place: Path) -> None:
    from unet_bench.execute.worker import check_columns

    declared = Column("shift_error", "Float64", meaning="for tests")
    probe = Probe("stability", "stability:measure", summary="for tests", columns=(declared,))
    check_columns(probe, {"shift_error": 1.0, "foreign_cpu_share": 0.0, "quality": "clean"})
    for measured, words in (
        ({"shift": 1.0}, "does not declare: shift"),
        ({"shift_error": "far"}, "shift_error does not take"),
        ({"variant": "mine"}, "a probe cannot set these columns"),
    ):
        with pytest.raises(TypeError, match=words):
            check_columns(probe, measured)
