"""The report as one web page that needs nothing else: text, tables, plots and pictures in one file.

Runs ─▶ groups ─▶ answers, facts, table, plots, examples, networks ─▶ the template

Names come from anybody: the template escapes whatever it shows, data for scripts goes in packed, of
which no letter is markup, and only our own style sheet, script and drawings, which escape for
themselves, go in as they are.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from unet_bench.analysis.effects import effects
from unet_bench.analysis.matched_pairs import GROUP
from unet_bench.analysis.rank import Ranking, rank
from unet_bench.analysis.recommend import recommend
from unet_bench.analysis.summary import SETTING
from unet_bench.errors import StoreError
from unet_bench.present import plots
from unet_bench.present.blocks import OWN_WIDTH
from unet_bench.present.draw_plotly import View, view
from unet_bench.present.explanation import notes, steps, verdicts
from unet_bench.present.findings import sentences
from unet_bench.present.groups import (
    Group,
    anchor,
    groups_of,
    has,
    is_baseline,
    labels_of,
    seen,
)
from unet_bench.present.rank import averages
from unet_bench.present.report.examples import Examples, error_legend, examples
from unet_bench.present.report.networks import networks
from unet_bench.present.report.run_summary import environments, facts
from unet_bench.present.report.table import table
from unet_bench.present.table import PREDICTED_MEMORY, memory_is_predicted
from unet_bench.store.figures import PEERS, Row, grouped
from unet_bench.store.runs import Runs
from unet_bench.store.schema import BY_NAME, CONDITIONS
from unet_bench.store.tables import records
from unet_bench.text_format import EMPTY, counted, figure

if TYPE_CHECKING:
    from jinja2 import Template

Content = dict[str, Any]
"""What a section of the page shows, by the names that the template uses."""

MOST_EXAMPLES: Final = 8
"""Groups with pictures, so that a page of many runs stays small enough to send."""
_KEY_FIGURES: Final = ("dice", "latency_ratio", "latency_ms", "peak_memory_mib", "params", "macs")
_ROW_OF: Final = itemgetter("variant", "run_id", *CONDITIONS)
"""What says to which row of the results a row of any table belongs; that row states the batch."""
_SETTING_OF: Final = itemgetter("run_id", *SETTING)


def html(runs: Runs) -> str:
    """Return the page."""
    groups = groups_of(runs.results)
    accuracy = [cell for cell in records(runs.cells) if cell["probe"] == "accuracy"]
    cells_of_row = grouped(accuracy, _ROW_OF)
    cells = {
        group.key: [cell for row in group.rows for cell in cells_of_row.get(_ROW_OF(row), ())]
        for group in groups
    }
    answers, ranking = list(_answers(runs, groups)), rank(runs)
    curves, unread = _curves(runs, groups)
    return _rendered(
        {
            "answers": answers,
            "facts": facts(runs),
            "environments": environments(records(runs.results)),
            "groups": groups,
            "table": table(groups, runs.columns),
            "predicted": PREDICTED_MEMORY if memory_is_predicted(runs.results) else "",
            "pareto": _views(plots.pareto(groups, runs.columns)),
            "effects": _effects(runs),
            "ranks": _ranks(ranking, groups),
            "memory": _views(plots.memory(groups)),
            "curves": curves,
            "unread": unread,
            "heats": list(_heats(runs, groups, cells)),
            "examples": _examples(runs, groups, cells),
            "error_legend": error_legend(),
            "networks": networks(runs, groups),
            "title": _title(groups, answers, ranking),
            "folders": bool(runs.folders),
            "run_ids": list(dict.fromkeys(runs.results["run_id"])) or list(runs.manifests),
        }
    )


def _views(described: Iterable[plots.Plot]) -> list[View]:
    return list(map(view, described))


# ---- answers


def _answers(runs: Runs, groups: Sequence[Group]) -> Iterator[Content]:
    """Yield what to use in each group: the network, its figures, how sure that is."""
    group_of = {group.peers: group for group in groups}
    for advice in recommend(runs):
        best = advice.best.network.row if advice.best else None
        group = group_of[tuple(advice.conditions[name] for name in PEERS)]
        can_resume = advice.conditions["run_id"] in runs.folders
        yield {
            "label": group.label,
            "best": best["variant"] if best else "",
            "by_dice": advice.goal == "dice",
            "not_told_apart": len(advice.named("as good")) + len(advice.named("unclear")),
            "unbeaten": _unbeaten(group, best),
            "figures": list(_key_figures(best)) if best else [],
            "verdicts": list(verdicts(advice)),
            "next": [
                (why, command if can_resume or "--resume" not in command else "")
                for why, command in steps(advice)
            ],
            "notes": list(notes(advice)),
        }


def _unbeaten(group: Group, best: Row | None) -> str:
    """Return the best trivial baseline and its Dice, if this network does not beat it."""
    trivial = max(group.trivial(), key=itemgetter("dice"), default=None)
    if trivial is None or best is None or not has(best, "dice") or best["dice"] > trivial["dice"]:
        return ""
    return f"{trivial['variant']} ({trivial['dice']:.3f})"


def _key_figures(row: Row) -> Iterator[tuple[str, str]]:
    for column in map(BY_NAME.__getitem__, _KEY_FIGURES):
        if has(row, column.name) and not (column.is_ratio and is_baseline(row)):
            of_baseline = f"× {column.label} of {row['baseline']}"
            yield of_baseline if column.is_ratio else column.heading, figure(row, column)


def _title(groups: Sequence[Group], answers: Sequence[Content], ranking: Ranking) -> str:
    """Return the page's heading: the answer where there is one."""
    tasks = list(dict.fromkeys(str(group.first["task"]) for group in groups if group.first["task"]))
    where = f" on {tasks[0]}" if len(tasks) == 1 else f" on all {len(tasks)} tasks" if tasks else ""
    best = {answer["best"] if answer["by_dice"] else "" for answer in answers}
    unbeaten = {answer["unbeaten"] for answer in answers}
    if answers and all(unbeaten):
        beaten_by = unbeaten.pop() if len(unbeaten) == 1 else "what needs no training"
        return f"No network beats {beaten_by}{where}"
    if answers and not any(unbeaten):
        if all(best) and len(best) == 1:
            others = answers[0]["not_told_apart"] if len(answers) == 1 else 0
            unsure = f", though {counted(others, 'other')} may be as good" if others else ""
            return f"Best: {best.pop()}{where}{unsure}"
        if len(ranking.ranks) == 1:
            [ranks] = ranking.ranks
            first = min(ranks.means, key=ranks.means.__getitem__)
            return f"Best: {first}, by mean rank on {ranks.data_sets} data sets"
    more = " and more" if len(tasks) > 3 else ""
    return f"Networks on {', '.join(tasks[:3])}{more}" if tasks else "Networks measured"


# ---- effects and ranks


def _effects(runs: Runs) -> Content:
    """Return the forest plots, their figures as a table, interactions in words, and notes."""
    analysed = effects(runs)
    settings = grouped(records(analysed.table), itemgetter(*GROUP))
    labels = labels_of(settings, GROUP)
    described: list[plots.Plot] = []
    lines: list[tuple[str, ...]] = []
    for setting, rows in settings.items():
        label = labels[setting] or "all"
        described += plots.effects(rows, label)
        of_setting = (label,) if len(labels) > 1 else ()
        for row in rows:
            if has(row, "change"):
                column, names = BY_NAME[row["figure"]], ("slot", "alternative", "reference")
                change = plots.change_and_interval(row, column)
                counts = str(row["units"] or EMPTY), row["basis"] or ""
                choice = (str(row[name]) for name in names)
                lines.append((*of_setting, *choice, column.label, change, *counts))
    interactions = records(analysed.interactions)
    return {
        "views": _views(described),
        "lines": lines,
        "interactions": [_interaction(row) for row in interactions if row.get("flagged")],
        "notes": sentences(analysed.findings),
    }


def _interaction(row: Row) -> str:
    column = BY_NAME[row["figure"]]
    here, there = (
        plots.change_and_interval({"change": row[f"change_at_{end}"]}, column)
        for end in ("reference", "alternative")
    )
    p = f"{row['p_adjusted']:.2g}" if row["p_adjusted"] >= 0.001 else "below 0.001"
    return (
        f"{row['slot']} × {row['with_slot']}: {row['alternative']} in place of {row['reference']} "
        f"changes {column.label} by {here} with {row['with_reference']}, "
        f"by {there} with {row['with_alternative']} (p {p}, adjusted by Holm's method)"
    )


def _ranks(ranking: Ranking, groups: Sequence[Group]) -> Content:
    """Return mean ranks over data sets as a plot, each group's front and what it is in, notes."""
    label_of = {_ROW_OF(row): group.label for group in groups for row in group.rows}
    rows = (row for row in records(ranking.table) if row["front_probability"] is not None)
    fronts = grouped(rows, lambda row: label_of[_ROW_OF(row)])
    settings = {_SETTING_OF(test): (test, ranked) for test, ranked in averages(ranking)}
    labels = labels_of(settings, ("run_id", *SETTING))
    described = (
        plots.ranks(ranked, test["critical_difference"], labels[setting] or "all")
        for setting, (test, ranked) in settings.items()
        if ranked
    )
    return {
        "views": _views(described),
        "fronts": [(label, front, _dimensions(front)) for label, front in fronts.items()],
        "notes": sentences(ranking.findings),
    }


def _dimensions(rows: Sequence[Row]) -> str:
    """Return what a front is in: those of Dice, latency and memory that were measured."""
    columns = {
        "Dice": ("dice",),
        "latency": ("latency_ms", "latency_ratio"),
        "memory": ("peak_memory_mib",),
    }
    measured = [
        label
        for label, names in columns.items()
        if any(has(row, name) for row in rows for name in names)
    ]
    return " and ".join(filter(None, (", ".join(measured[:-1]), *measured[-1:])))


# ---- training


def _curves(runs: Runs, groups: Sequence[Group]) -> tuple[list[View], list[str]]:
    """Return the plots, and which runs' curves cannot be read, and why."""
    from unet_bench.analysis.curves import read_curves

    described: list[plots.Plot] = []
    problems = []
    for run_id, folder in runs.folders.items():
        try:
            evaluations = records(read_curves(folder))
        except StoreError as error:
            problems.append(str(error))
            continue
        for group in groups:
            if group.first["run_id"] == run_id:
                own = [row for row in evaluations if _is_of(row, group)]
                described += plots.curves(own, group, plots.worst_and_best(group))
    return _views(described), problems


def _is_of(evaluation: Row, group: Group) -> bool:
    """Return whether an evaluation was made under a group's conditions."""
    stated = (name for name in CONDITIONS if name in evaluation)
    return all(evaluation[name] == group.first.get(name) for name in stated)


def _heats(
    runs: Runs, groups: Sequence[Group], cells: Mapping[str, Sequence[Row]]
) -> Iterator[tuple[str, list[str], list[tuple[str, list[float | None]]]]]:
    """Yield each group's label, its classes in their order, and per variant the Dice of each.

    A Dice is the mean over seeds and folds; None where there is none.
    """
    lines_of = grouped(records(runs.classes), itemgetter("run_id", "cell_id"))
    for group in groups:
        lines = [
            line
            for cell in cells[group.key]
            for line in lines_of.get((cell["run_id"], cell["cell_id"]), ())
        ]
        names = {line["class_index"]: line["class_name"] for line in lines}
        scored = [line for line in lines if has(line, "dice")]
        dice = grouped(scored, itemgetter("variant", "class_index"))
        variants = dict.fromkeys(line["variant"] for line in scored)
        means = [
            (variant, [_mean_dice(dice.get((variant, index))) for index in sorted(names)])
            for variant in variants
        ]
        if means:
            classes = [names[index] or f"class {index}" for index in sorted(names)]
            yield group.label, classes, means


def _mean_dice(lines: Sequence[Row] | None) -> float | None:
    return sum(line["dice"] for line in lines) / len(lines) if lines else None


def _examples(
    runs: Runs, groups: Sequence[Group], cells: Mapping[str, Sequence[Row]]
) -> tuple[list[Examples], int]:
    """Return the examples of the first groups, and how many further groups may have some."""
    columns = ["run_id", "task", "class_index", "class_name"]
    classes = grouped(
        records(runs.classes[columns].dropna().drop_duplicates()), itemgetter("run_id", "task")
    )
    shown: list[Examples] = []
    for number, group in enumerate(groups):
        if len(shown) == MOST_EXAMPLES:
            return shown, len(groups) - number
        run_id = group.first["run_id"]
        lines = classes.get((run_id, group.first["task"]), ())
        names = {line["class_index"]: line["class_name"] for line in lines}
        wanted = plots.worst_and_best(group)
        of = examples(group, cells[group.key], runs.folders.get(run_id), names, wanted)
        shown += [of] if of else []
    return shown, 0


# ---- from a page's content to text


def _rendered(page: Content) -> str:
    own = {name: Markup(_own(f"report.{name}")) for name in ("css", "js")}
    plots_of = (*(page[name] for name in ("pareto", "memory", "curves")), page["effects"]["views"])
    is_plotted = any((*plots_of, page["ranks"]["views"]))
    return _template().render(**page, **own, plotly=_plotly() if is_plotted else "")


@functools.cache
def _template() -> Template:
    """Return the page's template, which takes longer to compile than to fill."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("unet_bench.present.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"packed": _packed_views, "anchor": anchor, "seen": seen}
    environment.filters["counted"] = counted
    environment.globals["own_width"] = OWN_WIDTH
    return environment.get_template("report.html.j2")


def _packed_views(views: Sequence[View]) -> str:
    """Return a plot's views as compressed JSON, since each view repeats the text of its points."""
    return _packed(json.dumps([asdict(view) for view in views], allow_nan=False).encode())


def _own(name: str) -> str:
    folder = resources.files("unet_bench.present.report").joinpath("templates")
    return folder.joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _plotly() -> str:
    """Return plotly's script, compressed; a page inflates it when everything else is shown."""
    return _packed(resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes())


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
