"""A figure is described once: one that is new to the table of columns appears everywhere."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

from support.reported import cells, stored

from unet_bench.present.draw_plotly import view
from unet_bench.present.groups import groups_of
from unet_bench.present.plots import pareto
from unet_bench.present.report import write_report
from unet_bench.present.table import results_document
from unet_bench.store.columns import Column
from unet_bench.store.probes import to_manifest
from unet_bench.store.runs import read_runs

SHARPNESS = Column(
    "blur_px",
    "Float64",
    "how far an edge is spread",
    "px",
    better="low",
    label="blur of edges",
    heading="blur nm",
    factor=1000.0,
    scaled="nm",
    decimals=1,
    probes=("memory",),
    place=99,
)


def with_blur(folder: Path, **manifest: object) -> Path:
    rows = list(cells())
    for number, row in enumerate(rows):
        if row["probe"] == "memory":
            row["blur_px"] = 0.5 + number
    return stored(folder, rows, **manifest)


def test_a_line_in_the_table_of_columns_is_all_that_a_figure_needs(tmp_path: Path) -> None:
    """In a process of its own, since look-ups in the table are made when it is imported."""
    run = with_blur(tmp_path)
    code = f"""
import sys
from pathlib import Path
from unet_bench.store import columns
from unet_bench.store.columns import Column
columns.COLUMNS = (*columns.COLUMNS, {SHARPNESS!r})
from unet_bench.cli.app import app
from unet_bench.store.documentation import markdown
assert "| `blur_px` | Float64 | px | cells, results | memory | how far" in markdown()
from unet_bench.store.runs import read_runs
from unet_bench.present.table import results_document
from unet_bench.store.tables import read_results
run = Path({str(run)!r})
assert read_results(run)["blur_px"].dtype == "Float64"
assert "blur nm" in results_document(read_results(run)).rendered("md")
from unet_bench.present.report import write_report
for format in ("html", "md", "latex"):
    text = write_report([run], run / "out", format=format).read_text()
    assert "blur nm" in text, format
from unet_bench.present.groups import groups_of
from unet_bench.present.plots import pareto
assert "blur of edges" in [plot.label for plot in pareto(groups_of(read_runs([run]).results))]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_plugins_figure_is_shown_as_its_run_describes_it(tmp_path: Path) -> None:
    mine = dataclasses.replace(SHARPNESS, place=0)
    run = with_blur(tmp_path, probes={"memory": {"columns": to_manifest([mine])}})
    runs = read_runs([run])
    text = str(results_document(runs.results, known=runs.columns).rendered("md"))
    assert "blur nm" in text
    assert "2500.0" in text
    page = write_report([run], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "blur nm" in page
    assert "how far an edge is spread (px)" in page
    plots = {plot.label: plot for plot in pareto(groups_of(runs.results), runs.columns)}
    assert view(plots["blur of edges"]).layout["xaxis"]["type"] == "log"
