"""The effects of choices: a table for each slot, interactions that stand out, and notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log1p
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from unet_bench.analysis.matched_pairs import FIGURES, GROUP, TARGET
from unet_bench.present.blocks import Block, Cell, Heading, Line, Notes, Table, Text
from unet_bench.present.document import Document
from unet_bench.present.findings import sentences
from unet_bench.store.columns import Column
from unet_bench.store.figures import Row, grouped
from unet_bench.store.schema import BY_NAME
from unet_bench.store.tables import records
from unet_bench.text_format import EMPTY, one_line, title

if TYPE_CHECKING:
    from unet_bench.analysis.effects import Effects

_LEGEND: Final = (
    "Changes in % of the reference, of Dice as a difference. ±: the longer side of the 95 % "
    "interval, of each by itself. ≈: cannot be told apart from no change, all effects on a figure "
    "taken together (--no-correction: each by itself), or there is no interval. n: how many "
    "contexts the interval counts, in each of which nothing else differs; (n): of this figure "
    "alone. Repeats in other runs or on other data count once; Dice on several data sets counts "
    "the data sets. Of a single context, the interval is the measurement's own. sd: of the effect "
    "over contexts."
)


def effects_document(effects: Effects) -> Document:
    """Return the effects as a document."""
    blocks = list(_blocks(effects))
    notes = sentences(effects.findings)
    blocks += [Notes(notes, "")] if notes else []
    blocks += [Text(_LEGEND, "quiet")] if len(effects.table) else []
    frames = {"effects": effects.table, "interactions": effects.interactions, "fit": effects.fit}
    content: dict[str, Any] = {name: records(frame) for name, frame in frames.items()}
    content["notes"] = list(notes)
    return Document("effects", tuple(blocks), effects.table, content)


def change_text(column: Column, value: float, sign: str = "") -> str:
    """Return a change of a figure: in percent, or as the difference itself."""
    if column.by_difference:
        return f"{value:{sign}.3f}" if abs(value) >= 0.0005 else "0.000"
    percent = 100 * value
    if abs(percent) >= 1000 and not sign:
        return ">999"
    if abs(percent) >= 1e6:
        return f"{percent:{sign}.1e}"
    if abs(percent) < 0.05:
        return "0.0" if value else "0"
    return f"{percent:{sign}.{0 if abs(percent) >= 9.95 else 1}f}"


def _blocks(effects: Effects) -> Iterator[Block]:
    of_group, of_slot = itemgetter("run_id", *GROUP), itemgetter("run_id", *GROUP, "slot")
    fits = grouped(records(effects.fit), of_slot)
    flagged = (row for row in records(effects.interactions) if row["flagged"])
    interactions = grouped(flagged, of_group)
    last = ""
    for group, rows in grouped(records(effects.table), of_group).items():
        group_title = _group_title(rows[0])
        if group_title and group_title != last:
            yield Heading(group_title, level=1)
        last = group_title
        for slot, rows_of_slot in grouped(rows, of_slot).items():
            yield from _slot(rows_of_slot, fits.get(slot, ()))
        if group in interactions:
            yield Heading("interactions that stand out, the largest of each two choices")
            yield _interactions(interactions[group])


def _group_title(row: Row) -> str:
    apart = ("env_id", "batch_effective", TARGET)
    words = [title(row, [name for name in GROUP if name not in apart])]
    if row["batch_effective"] not in (None, row["batch_requested"]):
        words.append(f"run as {row['batch_effective']}")
    words += [f"environment {row['env_id']}"] if row["env_id"] else []
    words += [f"matched to {row[TARGET]}"] if row[TARGET] else []
    return one_line(" · ".join(words))


def _slot(rows: Sequence[Row], fit: Sequence[Row]) -> Iterator[Block]:
    """Yield what the alternatives of a slot change against its reference, a line for each."""
    measured = {row["figure"] for row in rows}
    shown = [column for column in FIGURES if column.name in measured]
    lines = []
    for alternative, changes in grouped(rows, itemgetter("alternative")).items():
        of_figure = {row["figure"]: row for row in changes}
        units = max(row["units"] for row in changes)
        texts = [_change(column, of_figure.get(column.name), units) for column in shown]
        lines.append(Line(one_line(alternative), tuple(map(Cell, (str(units), *texts)))))
    reference = one_line(rows[0]["reference"])
    yield Heading(f"{rows[0]['slot']}: against {reference}, changes in %")
    labels = ("alternative", "n", *(column.label for column in shown))
    yield Table(labels, tuple(lines), is_wide=True)
    if below := _spread(fit):
        yield Text(below, "quiet")


def _change(column: Column, row: Row | None, units: int) -> str:
    """Return a change with its interval, and its number of contexts if not its line's."""
    if row is None or row["change"] is None:
        return EMPTY
    change, low, high = row["change"], row["ci_low"], row["ci_high"]
    half = None if low is None or high is None else max(change - low, high - change)
    words = [change_text(column, change, sign="+")]
    words += [f"±{change_text(column, half)}"] if half else []
    is_unsure = not row["separable"] and (half is None or half > 0)
    text = " ".join(words) + ("≈" if is_unsure else "")
    return text if row["units"] == units else f"{text} ({row['units']})"


def _spread(fit: Sequence[Row]) -> str:
    """Return how much each effect varies over contexts, where there are several."""
    rows = {row["figure"]: row for row in fit if row["residual_sd"]}
    words = []
    for column in FIGURES:
        if row := rows.get(column.name):
            sd, explained = row["residual_sd"], row["r2_within"]
            text = f"{sd:.3f}" if column.by_difference else f"{100 * sd:.1f} %"
            r2 = "" if explained is None else f" (R² {explained:.2f})"
            words.append(f"{column.label} {text}{r2}")
    return "sd over contexts: " + ", ".join(words) if words else ""


def _interactions(flagged: Sequence[Row]) -> Table:
    """Return a table of interactions that stand out: the largest of each two choices and figure."""
    ordered = sorted(flagged, key=lambda row: -abs(log1p(row["difference"])))
    choices = itemgetter("figure", "slot", "with_slot")
    lines = tuple(_interaction(rows[0]) for rows in grouped(ordered, choices).values())
    labels = ("interactions", "n", "figure", "effect", "becomes", "p, Holm")
    return Table(labels, lines, is_wide=True)


def _interaction(row: Row) -> Line:
    column = BY_NAME[row["figure"]]
    names = ("alternative", "with_alternative", "with_reference")
    own, other, usual = (one_line(row[name]) for name in names)
    at, becomes = (
        change_text(column, row[f"change_at_{end}"], "+") for end in ("reference", "alternative")
    )
    unit = "" if column.by_difference else " %"
    p = "< 0.001" if row["p_adjusted"] < 0.001 else f"{row['p_adjusted']:.3f}"
    changes = f"{at}{unit} at {usual}", f"{becomes}{unit} at {other}"
    texts = (str(row["units"]), column.label, *changes, p)
    return Line(f"{row['slot']}={own} × {row['with_slot']}={other}", tuple(map(Cell, texts)))
