"""Runs as something to read: a web page, markdown for a pull request, tables and figures for a
paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from unet_bench.errors import StoreError, unknown

NAMES: Final[Mapping[str, str]] = {
    "html": "report.html",
    "md": "report.md",
    "latex": "report.tex",
    "figures": "figures",
}
"""By format, what a report is called unless told otherwise."""


def write_report(
    paths: Iterable[str | Path], out: str | Path, *, format: str = "html", corrected: bool = True
) -> Path:
    """Write a report of runs' folders or tables into the file `out`, and return it.

    `figures` makes a folder of figures. Verdicts are `corrected` as `read_runs` says. Raises
    StoreError for what is no run or cannot be written, UnknownName for another format.
    """
    from unet_bench.store.run_folder import write_text
    from unet_bench.store.runs import read_runs

    if format not in NAMES:
        raise unknown("format", format, NAMES, "unet-bench report --help")
    runs, out = read_runs(paths, corrected=corrected), Path(out)
    if out.exists() and not (out.is_dir() if format == "figures" else out.is_file()):
        wanted = "folder" if format == "figures" else "regular file"
        raise StoreError(
            f"{out} is there and no {wanted}: a report would take its place; give another"
        )
    match format:
        case "html":
            from unet_bench.present.report.html import html

            write_text(out, html(runs))
        case "md":
            from unet_bench.present.report.markdown import markdown

            write_text(out, markdown(runs))
        case "latex":
            from unet_bench.present.latex import as_latex
            from unet_bench.present.table import results_document

            # Without throughput, which says the same as latency, the columns fit a page.
            results = results_document(
                runs.results, without=["throughput_img_s"], known=runs.columns
            )
            write_text(out, as_latex(results.blocks))
        case _:
            from unet_bench.present.report.figures import write_figures

            write_figures(runs, out)
    return out
