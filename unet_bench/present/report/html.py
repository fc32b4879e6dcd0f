"""The report as one web page that needs nothing else: text, tables, plots and pictures in a single
file.

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Final

import pandas as pd
from markupsafe import Markup

from unet_bench.analysis.summary import SETTING
from unet_bench.errors import StoreError
from unet_bench.present.explanation import notes, steps, verdicts
from unet_bench.present.findings import sentences
from unet_bench.present.report import plots
from unet_bench.present.report.examples import Examples, error_legend, examples
from unet_bench.present.report.groups import (
    Group,
    anchor,
    groups_of,
    has,
    is_baseline,
    seen,
    told_apart,
)
from unet_bench.present.report.networks import networks
from unet_bench.present.report.plots import View
from unet_bench.present.report.run_summary import environments, facts
from unet_bench.present.report.table import table
from unet_bench.present.table import EMPTY, HEADINGS, figure
from unet_bench.store.figures import PEERS
from unet_bench.store.runs import Runs
from unet_bench.store.schema import CONDITIONS
from unet_bench.store.tables import records

Row = Mapping[str, Any]

MOST_EXAMPLES: Final = (
    8  # groups with pictures, so that a page of many runs stays small enough to send
)
_TEMPLATE: Final = "report.html.j2"


@dataclass(frozen=True)
class Plot:
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
    """Dice per class of a group: class names, and a line per variant, None where there is no
    figure.
    """

    title: str
    classes: tuple[str, ...]
    lines: tuple[tuple[str, tuple[float | None, ...]], ...]


@dataclass(frozen=True)
class Answer:
    """What to use among rows that may be compared: the network, its figures, and how sure that is."""

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

    plot: Plot
    lines: tuple[tuple[str, ...], ...]
    interactions: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """For each group a table of fronts; mean ranks over data sets as a plot; notes."""

    bodies: tuple[
        tuple[str, tuple[Row, ...], str], ...
    ]  # the group, its rows, in what the front is
    plot: Plot
    first: str  # the best by mean rank, in words, if there is one set of ranks
    notes: tuple[str, ...]


def html(runs: Runs) -> str:
    """The page."""
    groups = groups_of(runs.results)
    cells = _accuracy_cells(runs, groups)
    answers, ranks = _answers(runs, groups), _ranks(runs, groups)
    curves, unread = _curves(runs, groups)
    page = {
        "answers": answers,
        "facts": facts(runs),
        "environments": environments(records(runs.results)),
        "groups": groups,
        "table": table(groups),
        "pareto": Plot("pareto", tuple(plots.pareto(groups))),
        "effects": _effects(runs),
        "ranks": ranks,
        "memory": Plot("memory", tuple(plots.memory(groups))),
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
    return _rendered(page)


# ---- answers


def _answers(runs: Runs, groups: Sequence[Group]) -> list[Answer]:
    from unet_bench.analysis.recommend import recommend

    group_of = {group.peers: group for group in groups}
    found = []
    for one in recommend(runs):
        row = one.best.network.row if one.best else None
        group = group_of[tuple(one.conditions[name] for name in PEERS)]
        known = one.conditions["run_id"] in runs.folders
        found.append(
            Answer(
                label=group.label,
                best=one.best.variant if one.best else "",
                by_dice=one.goal == "dice",
                trivial=_unbeaten(group, row),
                figures=() if row is None else tuple(_key_figures(row)),
                said=tuple(verdicts(one)),
                next=tuple(
                    (what, command if known or "--resume" not in command else "")
                    for what, command in steps(one)
                ),
                notes=tuple(notes(one)),
            )
        )
    return found


def _unbeaten(group: Group, best: Row | None) -> str:
    """The best trivial baseline of the group and its Dice, if this network does not beat it."""
    trivial = max(group.trivial(), key=lambda row: row["dice"], default=None)
    if trivial is None or best is None or not has(best, "dice") or best["dice"] > trivial["dice"]:
        return ""
    return f"{trivial['variant']} ({trivial['dice']:.3f})"


def _key_figures(row: Row) -> Iterator[tuple[str, str]]:
    headings = {heading.column: heading for heading in HEADINGS}
    for name in ("dice", "latency_ratio", "latency_ms", "peak_memory_mib", "params", "macs"):
        if has(row, name) and not (name == "latency_ratio" and is_baseline(row)):
            label = (
                f"× latency of {row['baseline']}"
                if name == "latency_ratio"
                else headings[name].label
            )
            yield label, figure(row, headings[name])


def _title(groups: Sequence[Group], answers: Sequence[Answer], ranks: Ranking) -> str:
    """The page's heading: the answer where there is one."""
    tasks = list(dict.fromkeys(str(group.first["task"]) for group in groups if group.first["task"]))
    best, unbeaten = {answer.best for answer in answers}, {answer.trivial for answer in answers}
    where = f" on {tasks[0]}" if len(tasks) == 1 else f" on all {len(tasks)} tasks" if tasks else ""
    if answers and "" not in unbeaten:
        return f"No network beats {unbeaten.pop() if len(unbeaten) == 1 else 'what needs no training'}{where}"
    if (
        len(best) == 1
        and answers[0].best
        and unbeaten == {""}
        and all(answer.by_dice for answer in answers)
    ):
        return f"Best: {answers[0].best}{where}"
    if ranks.first and unbeaten == {""}:
        return f"Best: {ranks.first}"
    return (
        f"Networks on {', '.join(tasks[:3])}{' and more' * (len(tasks) > 3)}"
        if tasks
        else "Networks measured"
    )


# ---- effects and ranks


def _effects(runs: Runs) -> Effects:
    from unet_bench.analysis.effects import effects
    from unet_bench.analysis.matched_pairs import GROUP

    found = effects(runs)
    rows = records(found.table)
    keys = {tuple(row[name] for name in GROUP): row for row in reversed(rows)}
    labels = dict(zip(keys, told_apart(list(keys.values()), GROUP), strict=True))
    label = {key: text or "all" for key, text in labels.items()}
    of = found.table.groupby(list(GROUP), dropna=False, sort=False)
    views = [view for _, part in of for view in plots.effects(part, label[_key(part, GROUP)])]
    lines = (
        (
            *((label[tuple(row[name] for name in GROUP)],) if len(label) > 1 else ()),
            *(str(row[name]) for name in ("slot", "alternative", "reference")),
            plots.RELATIVE.get(row["figure"], row["figure"]),
            plots.change(row, 1.0 if row["figure"] == "dice" else 100.0),
            str(row["units"] or EMPTY),
            row["basis"] or "",
        )
        for row in rows
        if has(row, "change")
    )
    flagged = (_interaction(row) for row in records(found.interactions) if row.get("flagged"))
    return Effects(
        Plot("effects", tuple(views)), tuple(lines), tuple(flagged), sentences(found.findings)
    )


def _key(part: pd.DataFrame, names: Sequence[str]) -> tuple[Any, ...]:
    row = records(part.iloc[:1])[0]
    return tuple(row[name] for name in names)


def _interaction(row: Row) -> str:
    factor = 1.0 if row["figure"] == "dice" else 100.0
    here, there = ({"change": row[f"change_at_{side}"]} for side in ("reference", "alternative"))
    return (
        f"{row['slot']} × {row['with_slot']}: {row['alternative']} in place of {row['reference']} changes "
        f"{plots.RELATIVE.get(row['figure'], row['figure'])} by {plots.change(here, factor)} with "
        f"{row['with_reference']}, by {plots.change(there, factor)} with {row['with_alternative']} "
        f"(p {_p(row['p_adjusted'])}, adjusted by Holm's method)"
    )


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 0.001 else "below 0.001"


def _ranks(runs: Runs, groups: Sequence[Group]) -> Ranking:
    from unet_bench.analysis.rank import rank

    found = rank(runs)
    group_of = {_of(row): group.label for group in groups for row in group.rows}
    bodies: dict[str, list[Row]] = {}
    for row in records(found.table):
        if row["front_probability"] is not None:
            bodies.setdefault(group_of[_of(row)], []).append(
                {**row, "anchor": anchor(row["variant"])}
            )
    names = ("run_id", *SETTING)
    tests = records(found.tests)
    labels = told_apart(tests, names)
    views = []
    for test, text in zip(tests, labels, strict=True):
        mine = _alike(found.table, test, names).drop_duplicates("variant")
        view = plots.ranks(mine, test["critical_difference"], text or "all", "mean rank")
        views += [view] if view else []
    first = ""
    if len(found.ranks) == 1:
        name = min(found.ranks[0].means, key=lambda name: found.ranks[0].means[name])
        first = f"{name}, by mean rank on {found.ranks[0].data_sets} data sets"
    tables = tuple((label, tuple(rows), _axes(rows)) for label, rows in bodies.items())
    return Ranking(tables, Plot("ranks", tuple(views)), first, sentences(found.findings))


def _axes(rows: Sequence[Row]) -> str:
    """In what a front is: of Dice, latency and memory those that were measured."""
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
    """The accuracy cells of each group, by its key."""
    key_of = {_of(row): group.key for group in groups for row in group.rows}
    found: dict[str, list[Row]] = {group.key: [] for group in groups}
    for cell in records(runs.cells):
        key = key_of.get(_of(cell))
        if cell["probe"] == "accuracy" and key is not None:
            found[key].append(cell)
    return found


def _of(row: Row) -> tuple[Any, ...]:
    """What says in which group a row of any table belongs: a variant's batch is that of its row in
    the results.
    """
    return (row["variant"], *(row.get(name) for name in ("run_id", *CONDITIONS)))


def _curves(runs: Runs, groups: Sequence[Group]) -> tuple[Plot, list[str]]:
    """The plot, and which runs' curves cannot be read, and why."""
    from unet_bench.analysis.curves import read_curves

    views: list[View] = []
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
                views += plots.curves(mine, group, plots.worst_and_best(group))
    return Plot("curves", tuple(views)), problems


def _alike(frame: pd.DataFrame, row: Row, names: Sequence[str]) -> pd.DataFrame:
    """The rows of a frame that are like a row in these columns."""
    for name in names:
        frame = frame[
            frame[name].isna()
            if row.get(name) is None
            else (frame[name] == row[name]).fillna(False)
        ]
    return frame


def _heats(
    runs: Runs, groups: Sequence[Group], cells: Mapping[str, Sequence[Row]]
) -> Iterator[Heat]:
    """Mean Dice of each class over seeds and folds; the classes' own order."""
    by_cell: dict[tuple[Any, Any], list[Row]] = {}
    for row in records(runs.classes):
        by_cell.setdefault((row["run_id"], row["cell_id"]), []).append(row)
    for group in groups:
        sums: dict[str, dict[int, list[float]]] = {}
        classes: dict[int, str] = {}
        for cell in cells[group.key]:
            for line in by_cell.get((cell["run_id"], cell["cell_id"]), ()):
                classes[line["class_index"]] = line["class_name"] or f"class {line['class_index']}"
                if has(line, "dice"):
                    sums.setdefault(cell["variant"], {}).setdefault(line["class_index"], []).append(
                        line["dice"]
                    )
        order = [row["variant"] for row in group.rows if row["variant"] in sums]
        if order:
            indices = sorted(classes)
            lines = [
                (name, tuple(_mean(sums[name].get(index)) for index in indices)) for name in order
            ]
            yield Heat(group.label, tuple(classes[index] for index in indices), tuple(lines))


def _mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None


def _examples(
    runs: Runs, groups: Sequence[Group], cells: Mapping[str, Sequence[Row]]
) -> tuple[list[Examples], int]:
    """Those of the first groups, and how many more groups have some."""
    names: dict[tuple[Any, Any], dict[int, str]] = {}
    for row in records(
        runs.classes[["run_id", "task", "class_index", "class_name"]].drop_duplicates()
    ):
        if row["class_name"]:
            names.setdefault((row["run_id"], row["task"]), {})[row["class_index"]] = row[
                "class_name"
            ]
    found: list[Examples] = []
    more = 0
    for group in groups:
        run_id = group.first["run_id"]
        if len(found) == MOST_EXAMPLES:
            more += 1
            continue
        classes = names.get((run_id, group.first["task"]), {})
        of = examples(
            group, cells[group.key], runs.folders.get(run_id), classes, plots.worst_and_best(group)
        )
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
    environment.filters |= {
        "packed": _packed_views,
        "anchor": anchor,
        "seen": seen,
        "counted": _count,
    }
    plotly = (
        any(page[name].views for name in ("pareto", "memory", "curves"))
        or page["effects"].plot.views
    )
    own = {name: Markup(_own(f"report.{name}")) for name in ("css", "js")}
    return environment.get_template(_TEMPLATE).render(
        **page, **own, plotly=_plotly() if plotly or page["ranks"].plot.views else ""
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _packed_views(plot: Plot) -> str:
    """A plot's views as JSON, packed: what one hovers over is said again in each of them."""
    return _packed(json.dumps([asdict(view) for view in plot.views], allow_nan=False).encode())


def _own(name: str) -> str:
    return (
        resources.files("unet_bench.present.report")
        .joinpath("templates", name)
        .read_text(encoding="utf-8")
    )


@functools.cache
def _plotly() -> str:
    """Plotly's script, packed: a page inflates it when it has shown everything else."""
    return _packed(resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes())


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
