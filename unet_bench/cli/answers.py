"""What runs say: tables, comparisons, effects, ranks, recommendations, curves, reports."""

from __future__ import annotations

import webbrowser
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unet_bench.cli.options import (
    LIMITS,
    AsJson,
    Corrected,
    Format,
    Formatted,
    MaxGmacs,
    MaxLatency,
    MaxMemory,
    MaxParams,
    MaxTrainMemory,
)
from unet_bench.cli.runs import Run, Runs, all_meant, meant
from unet_bench.errors import InvalidSuite
from unet_bench.present.stdout import echo, tell
from unet_bench.spec.option import split

if TYPE_CHECKING:
    from unet_bench.present.document import Document


class By(StrEnum):
    """What `compare` takes a speed from."""

    ratio = "ratio"
    latency = "latency"


class Written(StrEnum):
    """What `report` writes."""

    html = "html"
    md = "md"
    latex = "latex"
    figures = "figures"


class TableFormat(StrEnum):
    """How `show` prints."""

    table = "table"
    csv = "csv"
    md = "md"
    json = "json"
    tidy = "tidy"


def answer(document: Document, format: Format, as_json: bool) -> None:
    """Print what an analysis result, as a table or as the text of a format."""
    from unet_bench.present.progress import print_answer

    shown = document.rendered((Format.json if as_json else format).value)
    echo(shown) if isinstance(shown, str) else print_answer(shown)


def show(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Runs' folders, results.csv, JSON of pytest-benchmark, or last.",
            callback=all_meant,
        ),
    ],
    correction: Corrected = True,
    format: Annotated[
        TableFormat,
        typer.Option(
            "--format", "-f", help="How to print; tidy is csv with a line for each figure."
        ),
    ] = TableFormat.table,
    sort: Annotated[str | None, typer.Option("--sort", help="A column of the results.")] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="Columns to show, by commas.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="First tell each cell of a run that goes on, as it ends."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the table of a run, relative to the baseline, best figures in bold.

    Several runs stand one below another.
    """
    from unet_bench.present.table import results_document
    from unet_bench.store.runs import read_runs

    if follow:
        from unet_bench.present.follow import endings
        from unet_bench.registry.plugins import load

        for path in paths:
            for line in endings(path, load().checked()):
                tell(line)
    runs = read_runs(paths, corrected=correction)
    if format is TableFormat.tidy:
        from unet_bench.store.tables import csv_text
        from unet_bench.store.tidy import tidy

        echo(csv_text(tidy(runs.results, runs.columns)), end="")
        return
    chosen = split(columns) if columns else None
    document = results_document(runs.results, sort=sort, columns=chosen, known=runs.columns)
    answer(document, Format(format.value), as_json)


def compare(
    before: Annotated[
        Path,
        typer.Argument(
            metavar="A", help="Before: a run's folder, a results.csv, or JSON.", callback=meant
        ),
    ],
    after: Annotated[
        Path,
        typer.Argument(
            metavar="B",
            help="After, likewise, or last; JSON is pytest-benchmark's.",
            callback=meant,
        ),
    ],
    margin: Annotated[
        float, typer.Option("--margin", help="Change of speed or memory that does not matter, %.")
    ] = 2.0,
    accuracy_margin: Annotated[
        float, typer.Option("--accuracy-margin", help="Difference in Dice that does not matter.")
    ] = 0.01,
    by: Annotated[
        By, typer.Option("--by", help="Speed by the ratio to the baseline, or by absolute latency.")
    ] = By.ratio,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            help="Exit 1 at any of: slower, more, worse, changed, ambiguous, missing; by commas.",
        ),
    ] = None,
    across_environments: Annotated[
        bool,
        typer.Option("--across-environments", help="Compare even unlike machines or software."),
    ] = False,
    format: Formatted = Format.table,
    as_json: AsJson = False,
) -> None:
    """Compare two runs, A before and B after.

    Each figure is faster, slower, the same within the margin, or not to be told.
    """
    from unet_bench.analysis.compare import compare_runs
    from unet_bench.present.compare import compare_document

    report = compare_runs(
        before,
        after,
        margin=margin / 100,
        accuracy_margin=accuracy_margin,
        by=by.value,
        across_environments=across_environments,
    )
    if fail_on is not None and not split(fail_on):
        raise InvalidSuite(
            "--fail-on is empty: name verdicts such as slower,missing, or leave it out"
        )
    failing = report.failing(split(fail_on or ""))
    answer(compare_document(report), format, as_json)
    raise typer.Exit(1 if failing else 0)


def effects(
    paths: Runs,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            help="SLOT=PART or AXIS=VALUE in place of the baseline's. Again for more.",
        ),
    ] = None,
    slot: Annotated[
        str | None, typer.Option("--slot", help="Only of these slots and axes, by commas.")
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            "--figure", help="Only of these columns, such as latency_ratio,dice; by commas."
        ),
    ] = None,
    correction: Corrected = True,
    format: Formatted = Format.table,
    as_json: AsJson = False,
) -> None:
    """Show what each choice is worth: its effect where nothing else changed.

    Effects are means over all contexts that were measured, with intervals.
    """
    from unet_bench.analysis import effects as of_choices
    from unet_bench.present.effects import effects_document
    from unet_bench.store.runs import read_runs

    result = of_choices.effects(
        read_runs(paths, corrected=correction),
        references=of_choices.parse_references(reference or []),
        slots=split(slot or ""),
        figures=split(figure or ""),
    )
    answer(effects_document(result), format, as_json)


def summary(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or its cells.csv.")],
    correction: Corrected = True,
    format: Formatted = Format.table,
    as_json: AsJson = False,
) -> None:
    """Show each variant's accuracy over data sets, folds and seeds, paired with the baseline's."""
    from unet_bench.analysis.summary import summary
    from unet_bench.present.summary import summary_document
    from unet_bench.store.log import manifest_of
    from unet_bench.store.probes import columns_of
    from unet_bench.store.tables import read_results

    plugins = columns_of(manifest_of(path))
    result = summary(read_results(path, "cells"), plugins, corrected=correction)
    answer(summary_document(result, plugins.values()), format, as_json)


def rank(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Runs' folders, or results.csv, or last; or any csv with --score.",
            callback=all_meant,
        ),
    ],
    u_score: Annotated[
        bool, typer.Option("--u-score", help="U-Bench's trade-off figure, too.")
    ] = False,
    variant: Annotated[
        str | None, typer.Option("--variant", help="Of any csv: the column that names the network.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Of any csv: the column that names the data set.")
    ] = None,
    score: Annotated[
        str | None,
        typer.Option("--score", help="Of any csv: the column to rank by, repeats averaged."),
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Of any csv: the least score is the best.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", help="Draw the critical-difference diagram into this file, .svg or .png."
        ),
    ] = None,
    format: Formatted = Format.table,
    as_json: AsJson = False,
) -> None:
    """Show the Pareto front with probabilities, and average ranks over data sets.

    Ranks are tested by Friedman's and Nemenyi's tests.
    """
    from unet_bench.analysis import rank as ranked
    from unet_bench.present.rank import rank_document
    from unet_bench.present.rank_diagram import draw_critical_differences
    from unet_bench.store.runs import read_runs

    columns = [name for name in (variant, data, score) if name]
    if columns or lower_is_better:
        if len(columns) < 3 or len(paths) > 1 or u_score:
            raise InvalidSuite(
                "a csv of any kind is ranked alone, by --variant, --data and --score together"
            )
        result = ranked.rank_table(
            ranked.read_scores(paths[0], *columns), lower_is_better=lower_is_better
        )
    else:
        result = ranked.rank(read_runs(paths), u_score=u_score)
    if plot is not None:
        draw_critical_differences(result.drawn, plot)
        tell(f"written: {plot}")
    answer(rank_document(result), format, as_json)


def recommend(
    paths: Runs,
    max_latency_ms: MaxLatency = None,
    max_memory_mib: MaxMemory = None,
    max_train_memory_mib: MaxTrainMemory = None,
    max_params_m: MaxParams = None,
    max_gmacs: MaxGmacs = None,
    min_dice: Annotated[
        float | None,
        typer.Option("--min-dice", help="Dice, 0 to 1.", rich_help_panel=LIMITS),
    ] = None,
    any_runtime: Annotated[
        bool,
        typer.Option("--any-runtime", help="Choose among runtimes, too, such as OpenVINO in int8."),
    ] = False,
    correction: Corrected = True,
    format: Formatted = Format.table,
    as_json: AsJson = False,
) -> None:
    """Recommend the best network under a budget.

    Also named: what is as good, and what to measure to be sure. Exit 1 if nothing fits.
    """
    from unet_bench.analysis import recommend as recommended
    from unet_bench.analysis.budget import Budget
    from unet_bench.present.recommend import recommend_document
    from unet_bench.store.runs import read_runs

    budget = Budget(
        max_latency_ms=max_latency_ms,
        max_memory_mib=max_memory_mib,
        max_train_memory_mib=max_train_memory_mib,
        max_params_m=max_params_m,
        max_gmacs=max_gmacs,
        min_dice=min_dice,
    )
    result = recommended.recommend(
        read_runs(paths, corrected=correction), budget, any_runtime=any_runtime
    )
    answer(recommend_document(result), format, as_json)
    raise typer.Exit(0 if any(one.best for one in result) else 1)


def curves(
    path: Run,
    target: Annotated[
        float | None,
        typer.Option("--target", help="A validation Dice: how long each variant took to reach it."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw them into this file, .png or .svg.")
    ] = None,
    format: Formatted = Format.table,
    as_json: AsJson = False,
) -> None:
    """Show training curves: validation Dice and loss against steps and seconds."""
    from unet_bench.analysis import curves as curves_of
    from unet_bench.present import curves as shown_as

    result = curves_of.read_curves(path)
    if plot is not None:
        shown_as.plot(result, plot)
        tell(f"written: {plot}")
    if target is not None:
        answer(shown_as.times_document(curves_of.time_to(result, target)), format, as_json)
    elif plot is None:
        answer(shown_as.curves_document(result), format, as_json)


def report(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Runs' folders, or a results.csv, or last.", callback=all_meant
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The file, of figures the folder; report.html and the like."
        ),
    ] = None,
    format: Annotated[
        Written,
        typer.Option("--format", "-f", help="html, md, latex (tables), figures (PNG and SVG)."),
    ] = Written.html,
    open_it: Annotated[
        bool, typer.Option("--open", help="Show the page, or the folder of figures, in a browser.")
    ] = False,
    correction: Corrected = True,
) -> None:
    """Write a report: a web page that works offline, markdown, LaTeX tables or figures."""
    from unet_bench.present.report import NAMES, write_report

    written = write_report(
        paths, out or Path(NAMES[format.value]), format=format.value, corrected=correction
    )
    echo(f"written: {written}")
    if open_it and not webbrowser.open(written.resolve().as_uri()):
        tell(f"note: no browser could be started; open {written} in one")
