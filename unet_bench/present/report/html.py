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
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Final

import pandas as pd
from markupsafe import Markup

from unet_bench.analysis.effects import effects
from unet_bench.analysis.matched_pairs import GROUP
from unet_bench.analysis.rank import rank
from unet_bench.analysis.recommend import recommend
from unet_bench.analysis.summary import SETTING
from unet_bench.errors import StoreError
from unet_bench.present import plots
from unet_bench.present.draw_plotly import View, view
from unet_bench.present.explanation import notes as explained
from unet_bench.present.explanation import steps as next_steps
from unet_bench.present.explanation import verdicts
from unet_bench.present.findings import sentences
from unet_bench.present.groups import (
    Group,
    anchor,
    groups_of,
    has,
    is_baseline,
    seen,
    told_apart,
)
from unet_bench.present.report.examples import Examples, error_legend, examples
from unet_bench.present.report.networks import networks
from unet_bench.present.report.run_summary import environments, facts
from unet_bench.present.report.table import table
from unet_bench.store.figures import PEERS
from unet_bench.store.runs import Runs
from unet_bench.store.schema import BY_NAME, CONDITIONS
from unet_bench.store.tables import records
from unet_bench.text_format import EMPTY, counted, figure

Row = Mapping[str, Any]
Cells = Mapping[str, Sequence[Row]]
"""The accuracy cells of each group, by its key."""

MOST_EXAMPLES: Final = 8
"""Groups with pictures, so that a page of many runs stays small enough to send."""
_TEMPLATE: Final = "report.html.j2"
_KEY_FIGURES: Final = ("dice", "latency_ratio", "latency_ms", "peak_memory_mib", "params", "macs")
_OF_RUN: Final = ("run_id", *CONDITIONS)


@dataclass(frozen=True)
class Figure:
    """A plot's views, under the id of its place in the page."""

    id: str
    views: tuple[View, ...]

    @property
    def groups(self) -> list[str]:
        """What the views are of, each once."""
        return list(dict.fromkeys(view.group for view in self.views))

    @property
    def labels(self) -> list[str]:
        """What the first group's views show."""
        return [view.label for view in self.views if view.group == self.views[0].group]


@dataclass(frozen=True)
class Heat:
    """Dice per class of a group: class names, and a line per variant, None: there is no figure."""

    title: str
    classes: tuple[str, ...]
    lines: tuple[tuple[str, tuple[float | None, ...]], ...]


@dataclass(frozen=True)
class Answer:
    """What to use among rows that may be compared: the network, its figures, how sure that is."""

    label: str
    best: str
    by_dice: bool
    trivial: str  # the best trivial baseline and its Dice, where no network beats it
    figures: tuple[tuple[str, str], ...]
    said: tuple[str, ...]
    next: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Effects:
    """The forest plots, their figures as a table, interactions in words, and notes."""

    plot: Figure
    lines: tuple[tuple[str, ...], ...]
    interactions: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """For each group a table of fronts; mean ranks over data sets as a plot; notes."""

    bodies: tuple[tuple[str, tuple[Row, ...], str], ...]
    """The group, its rows, and in what the front is."""
    plot: Figure
    first: str  # the best by mean rank, in words, if there is one set of ranks
    notes: tuple[str, ...]


def html(runs: Runs) -> str:
    """Return the page."""
    groups = groups_of(runs.results)
    cells = _accuracy_cells(runs, groups)
    answers, ranks = _answers(runs, groups), _ranks(runs, groups)
    curves, unread = _curves(runs, groups)
    return _rendered(
        {
            "answers": answers,
            "facts": facts(runs),
            "environments": environments(records(runs.results)),
            "groups": groups,
            "table": table(groups, runs.columns),
            "pareto": _figure("pareto", plots.pareto(groups, runs.columns)),
            "effects": _effects(runs),
            "ranks": ranks,
            "memory": _figure("memory", plots.memory(groups)),
            "curves": curves,
            "unread": unread,
            "heats": list(_heats(runs, groups, cells)),
            "examples": _examples(runs, groups, cells),
            "error_legend": error_legend(),
            "networks": networks(runs, groups),
            "title": _title(groups, answers, ranks),
            "folders": bool(runs.folders),
            "run_ids": list(dict.fromkeys(runs.results["run_id"])) or list(runs.manifests),
        }
    )


def _figure(id: str, found: Iterable[plots.Plot]) -> Figure:
    return Figure(id, tuple(map(view, found)))


# ---- answers


def _answers(runs: Runs, groups: Sequence[Group]) -> list[Answer]:
    group_of = {group.peers: group for group in groups}
    found = []
    for one in recommend(runs):
        row = one.best.network.row if one.best else None
        group = group_of[tuple(one.conditions[name] for name in PEERS)]
        can_resume = one.conditions["run_id"] in runs.folders
        steps = []
        for why, command in next_steps(one):
            is_possible = can_resume or "--resume" not in command
            steps.append((why, command if is_possible else ""))
        answer = Answer(
            label=group.label,
            best=one.best.variant if one.best else "",
            by_dice=one.goal == "dice",
            trivial=_unbeaten(group, row),
            figures=() if row is None else tuple(_key_figures(row)),
            said=tuple(verdicts(one)),
            next=tuple(steps),
            notes=tuple(explained(one)),
        )
        found.append(answer)
    return found


def _unbeaten(group: Group, best: Row | None) -> str:
    """Return the best trivial baseline and its Dice, if this network does not beat it."""
    trivial = max(group.trivial(), key=lambda row: row["dice"], default=None)
    if trivial is None or best is None or not has(best, "dice") or best["dice"] > trivial["dice"]:
        return ""
    return f"{trivial['variant']} ({trivial['dice']:.3f})"


def _key_figures(row: Row) -> Iterator[tuple[str, str]]:
    for column in map(BY_NAME.__getitem__, _KEY_FIGURES):
        if has(row, column.name) and not (column.is_ratio and is_baseline(row)):
            of_baseline = f"× {column.label} of {row['baseline']}"
            yield of_baseline if column.is_ratio else column.heading, figure(row, column)


def _title(groups: Sequence[Group], answers: Sequence[Answer], ranks: Ranking) -> str:
    """Return the page's heading: the answer where there is one."""
    tasks = list(dict.fromkeys(str(group.first["task"]) for group in groups if group.first["task"]))
    where = f" on {tasks[0]}" if len(tasks) == 1 else f" on all {len(tasks)} tasks" if tasks else ""
    best, unbeaten = {answer.best for answer in answers}, {answer.trivial for answer in answers}
    if answers and "" not in unbeaten:
        beaten_by = unbeaten.pop() if len(unbeaten) == 1 else "what needs no training"
        return f"No network beats {beaten_by}{where}"
    is_one = len(best) == 1 and all(answer.best and answer.by_dice for answer in answers)
    if is_one and unbeaten == {""}:
        return f"Best: {answers[0].best}{where}"
    if ranks.first and unbeaten == {""}:
        return f"Best: {ranks.first}"
    more = " and more" if len(tasks) > 3 else ""
    return f"Networks on {', '.join(tasks[:3])}{more}" if tasks else "Networks measured"


# ---- effects and ranks


def _effects(runs: Runs) -> Effects:
    found = effects(runs)
    rows = records(found.table)
    keys = {_key(row, GROUP): row for row in reversed(rows)}
    labels = dict(zip(keys, told_apart(list(keys.values()), GROUP), strict=True))
    drawn: list[plots.Plot] = []
    for _, part in found.table.groupby(list(GROUP), dropna=False, sort=False):
        label = labels[_key(records(part.iloc[:1])[0], GROUP)]
        drawn += plots.effects(part, label or "all")
    lines = []
    for row in rows:
        if has(row, "change"):
            column = BY_NAME[row["figure"]]
            setting = (labels[_key(row, GROUP)] or "all",) if len(labels) > 1 else ()
            names = (str(row[name]) for name in ("slot", "alternative", "reference"))
            change = plots.change_and_interval(row, column)
            units = str(row["units"] or EMPTY)
            lines.append((*setting, *names, column.label, change, units, row["basis"] or ""))
    flagged = [row for row in records(found.interactions) if row.get("flagged")]
    interactions = tuple(map(_interaction, flagged))
    return Effects(_figure("effects", drawn), tuple(lines), interactions, sentences(found.findings))


def _key(row: Row, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in names)


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


def _ranks(runs: Runs, groups: Sequence[Group]) -> Ranking:
    found = rank(runs)
    group_of = {_of(row): group.label for group in groups for row in group.rows}
    bodies: dict[str, list[Row]] = {}
    for row in records(found.table):
        if row["front_probability"] is not None:
            linked = {**row, "anchor": anchor(row["variant"])}
            bodies.setdefault(group_of[_of(row)], []).append(linked)
    tests, drawn = records(found.tests), []
    names = ("run_id", *SETTING)
    for test, label in zip(tests, told_apart(tests, names), strict=True):
        mine = _alike(found.table, test, names).drop_duplicates("variant")
        plot = plots.ranks(mine, test["critical_difference"], label or "all")
        drawn += [plot] if plot else []
    first = ""
    if len(found.ranks) == 1:
        means = found.ranks[0].means
        best = min(means, key=lambda name: means[name])
        first = f"{best}, by mean rank on {found.ranks[0].data_sets} data sets"
    tables = tuple((label, tuple(rows), _axes(rows)) for label, rows in bodies.items())
    return Ranking(tables, _figure("ranks", drawn), first, sentences(found.findings))


def _axes(rows: Sequence[Row]) -> str:
    """Return a front's columns: those of Dice, latency and memory that were measured."""
    found = {
        "Dice": ("dice",),
        "latency": ("latency_ms", "latency_ratio"),
        "memory": ("peak_memory_mib",),
    }
    measured = [
        axis
        for axis, names in found.items()
        if any(has(row, name) for row in rows for name in names)
    ]
    return " and ".join(filter(None, (", ".join(measured[:-1]), *measured[-1:])))


# ---- training


def _accuracy_cells(runs: Runs, groups: Sequence[Group]) -> dict[str, list[Row]]:
    """Return the accuracy cells of each group, by its key."""
    key_of = {_of(row): group.key for group in groups for row in group.rows}
    found: dict[str, list[Row]] = {group.key: [] for group in groups}
    for cell in records(runs.cells):
        key = key_of.get(_of(cell))
        if cell["probe"] == "accuracy" and key is not None:
            found[key].append(cell)
    return found


def _of(row: Row) -> tuple[Any, ...]:
    """Return the values that say in which group a row of any table belongs.

    A variant's batch is that of its row in the results.
    """
    return _key(row, ("variant", *_OF_RUN))


def _curves(runs: Runs, groups: Sequence[Group]) -> tuple[Figure, list[str]]:
    """Return the plot, and which runs' curves cannot be read, and why."""
    from unet_bench.analysis.curves import read_curves

    drawn: list[plots.Plot] = []
    problems = []
    for run_id, folder in runs.folders.items():
        try:
            evaluations = read_curves(folder)
        except StoreError as error:
            problems.append(str(error))
            continue
        apart = [name for name in CONDITIONS if name in evaluations]
        for group in groups:
            if group.first["run_id"] == run_id:
                mine = records(_alike(evaluations, group.first, apart))
                drawn += plots.curves(mine, group, plots.worst_and_best(group))
    return _figure("curves", drawn), problems


def _alike(frame: pd.DataFrame, row: Row, names: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a frame that are like a row in these columns."""
    for name in names:
        values, wanted = frame[name], row.get(name)
        frame = frame[values.isna() if wanted is None else (values == wanted).fillna(False)]
    return frame


def _heats(runs: Runs, groups: Sequence[Group], cells: Cells) -> Iterator[Heat]:
    """Yield the mean Dice of each class over seeds and folds, classes in their own order."""
    by_cell: dict[tuple[Any, ...], list[Row]] = {}
    for row in records(runs.classes):
        by_cell.setdefault(_key(row, ("run_id", "cell_id")), []).append(row)
    for group in groups:
        dice: dict[str, dict[int, list[float]]] = {}
        classes: dict[int, str] = {}
        for cell in cells[group.key]:
            for line in by_cell.get(_key(cell, ("run_id", "cell_id")), ()):
                index = line["class_index"]
                classes[index] = line["class_name"] or f"class {index}"
                if has(line, "dice"):
                    of_variant = dice.setdefault(cell["variant"], {})
                    of_variant.setdefault(index, []).append(line["dice"])
        order = [row["variant"] for row in group.rows if row["variant"] in dice]
        lines = []
        for name in order:
            lines.append((name, tuple(_mean(dice[name].get(index)) for index in sorted(classes))))
        if lines:
            names = tuple(classes[index] for index in sorted(classes))
            yield Heat(group.label, names, tuple(lines))


def _mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None


def _examples(runs: Runs, groups: Sequence[Group], cells: Cells) -> tuple[list[Examples], int]:
    """Return the examples of the first groups, and how many further groups may have some."""
    names: dict[tuple[Any, ...], dict[int, str]] = {}
    columns = ["run_id", "task", "class_index", "class_name"]
    for row in records(runs.classes[columns].drop_duplicates()):
        if row["class_name"]:
            of_task = names.setdefault(_key(row, ("run_id", "task")), {})
            of_task[row["class_index"]] = row["class_name"]
    found: list[Examples] = []
    more = 0
    for group in groups:
        if len(found) == MOST_EXAMPLES:
            more += 1
            continue
        folder = runs.folders.get(group.first["run_id"])
        classes = names.get(_key(group.first, ("run_id", "task")), {})
        wanted = plots.worst_and_best(group)
        of = examples(group, cells[group.key], folder, classes, wanted)
        found += [of] if of else []
    return found, more


# ---- from a page's content to text


def _rendered(page: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("unet_bench.present.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {"packed": _packed_views, "anchor": anchor, "seen": seen, "counted": counted}
    environment.filters |= filters
    figures = (*(page[name] for name in ("pareto", "memory", "curves")), page["effects"].plot)
    is_plotted = any(figure.views for figure in (*figures, page["ranks"].plot))
    own = {name: Markup(_own(f"report.{name}")) for name in ("css", "js")}
    template = environment.get_template(_TEMPLATE)
    return template.render(**page, **own, plotly=_plotly() if is_plotted else "")


def _packed_views(figure: Figure) -> str:
    """Return a plot's views as compressed JSON, since each view repeats the text of its points."""
    return _packed(json.dumps([asdict(view) for view in figure.views], allow_nan=False).encode())


def _own(name: str) -> str:
    folder = resources.files("unet_bench.present.report").joinpath("templates")
    return folder.joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _plotly() -> str:
    """Return plotly's script, compressed; a page inflates it when everything else is shown."""
    return _packed(resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes())


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
