"""The results of a run as text: a table for the terminal, csv, GitHub markdown or JSON.

DataFrame ─▶ sorted ─▶ one section per task × setting ─▶ rich tables or markdown
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from unet_bench.errors import unknown
from unet_bench.store.schema import BY_NAME, CONDITIONS, INTERVALS
from unet_bench.store.tables import csv_text, records
from unet_bench.text_format import conditions, escaped, printable, scored_size

WIDTH: Final = 140  # characters, of what `print` shows
FORMATS: Final = ("table", "csv", "md", "json")

EMPTY: Final = "–"
_MARKS: Final[Mapping[str, str]] = {"not separable": "≈"}


@dataclass(frozen=True)
class Heading:
    """A column as it is shown: its label, and the factor and decimals of its figures (0: three
    digits, counts whole).

    A difference names the column of its `verdict`, which is added to it, and has a sign.
    """

    column: str
    label: str
    factor: float = 1.0
    decimals: int = 0
    verdict: str = ""


HEADINGS: Final = (
    Heading("params", "params M", 1e-6),
    Heading("macs", "GMACs", 1e-9),
    Heading("latency_ms", "latency ms"),
    Heading("latency_ratio", "ratio"),
    Heading("throughput_img_s", "img/s"),
    Heading("peak_memory_mib", "infer MiB"),
    Heading("train_peak_memory_mib", "train MiB"),
    Heading("train_step_ms", "step ms"),
    Heading("train_step_ratio", "step ratio"),
    Heading("energy_j_img", "J/img"),
    Heading("best_batch", "best batch"),
    Heading("largest_batch", "largest"),
    Heading("dice", "Dice", decimals=3),
    Heading("dice_difference", "Δ Dice", decimals=3, verdict="dice_verdict"),
    Heading("iou", "IoU", decimals=3),
)


@dataclass(frozen=True)
class Line:
    """One variant of a section. `best` holds, for each figure, whether no other network's is
    better.
    """

    variant: str
    is_baseline: bool
    figures: tuple[str, ...]
    best: tuple[bool, ...]
    problem: str  # what is not ok or not clean, and why: "speed oom: CUDA out of memory"
    is_trivial: bool = False


@dataclass(frozen=True)
class Section:
    """The rows that may be compared with one another."""

    title: str
    labels: tuple[str, ...]
    lines: tuple[Line, ...]


class Displayed:
    """What a notebook shows as a table, and `print` as text."""

    def rendered(self, format: str) -> RenderableType:
        """A rich renderable for `table`, text for `csv`, `md` and `json`."""
        raise NotImplementedError

    def _repr_markdown_(self) -> str:
        return str(self.rendered("md"))

    def __str__(self) -> str:
        console = Console(width=WIDTH, file=io.StringIO())
        with console.capture() as captured:
            console.print(self.rendered("table"))
        return captured.get()


def render(
    frame: pd.DataFrame,
    *,
    format: str = "table",
    sort: str | None = None,
    columns: Sequence[str] | None = None,
) -> RenderableType:
    """Show a frame of `read_results`: a rich renderable for `table`, text for the other formats.

    Sorted by Dice and then latency, or by the column `sort`, the best first; then rows that are not
    ok, then trivial baselines. `columns` names what is shown instead of the usual: in csv and JSON that is
    everything. Raises UnknownName.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "unet-bench show --help")
    for name in (sort, *(columns or ())):
        if name is not None and name not in frame:
            raise unknown(
                "column", name, map(str, frame), "python -m unet_bench.store.documentation"
            )
    ordered = _ordered(frame, sort)
    if format in ("csv", "json"):
        chosen = ordered[list(columns)] if columns else ordered
        return csv_text(chosen) if format == "csv" else as_json(chosen)
    headings = (
        tuple(Heading(name, name) for name in columns if name != "variant") if columns else HEADINGS
    )
    shown, caption = list(_sections(ordered, headings)), _caption(frame)
    if format == "md":
        return as_markdown(shown, f"{escaped(caption)}. Bold: best.")
    return as_table(
        shown, f"{caption}\n* baseline · bold: best · ±: the longer side of the 95 % interval"
    )


def sections(frame: pd.DataFrame) -> list[Section]:
    """The usual columns of a frame of `read_results`, apart where rows may not be compared."""
    return list(_sections(_ordered(frame, None), HEADINGS))


# ---- from the frame to sections


def _ordered(frame: pd.DataFrame, sort: str | None) -> pd.DataFrame:
    keys = [sort] if sort else ["dice", "latency_ms"]
    ascending = [True, *(not _high_is_good(name) for name in keys)]
    marked = frame.assign(_not_ok=_not_ok(frame))
    by = ["trivial", "_not_ok", *keys]
    return marked.sort_values(by, ascending=[True, *ascending], kind="stable").drop(
        columns="_not_ok"
    )


def _not_ok(frame: pd.DataFrame) -> Any:
    return (frame[_statuses(frame)] != "ok").fillna(False).any(axis=1)


def _statuses(names: Iterable[Any]) -> list[str]:
    """One of each probe's, plugins' included."""
    return [name for name in names if str(name).endswith("_status")]


def _high_is_good(name: str) -> bool:
    return name in BY_NAME and BY_NAME[name].better == "high"


def _sections(frame: pd.DataFrame, headings: Sequence[Heading]) -> Iterator[Section]:
    """In the order in which the runs were given, and the tasks and settings were run."""
    several = frame["run_id"].nunique(dropna=False) > 1
    groups = [rows for _, rows in frame.groupby(["run_id", *CONDITIONS], dropna=False, sort=False)]
    for rows in sorted(groups, key=lambda rows: rows.index.min()):
        measured = [heading for heading in headings if rows[_needed(heading)].notna().any()]
        labels = tuple(heading.label for heading in measured)
        yield Section(_title(rows) + _origin(rows) * several, labels, tuple(_lines(rows, measured)))


def _origin(rows: pd.DataFrame) -> str:
    """Which of several runs the rows are of, and in which environment: unlike ones stand apart,
    never averaged.
    """
    found = (("run", "run_id"), ("on", "device_name"), ("environment", "env_id"))
    return "".join(
        f" · {word} {', '.join(_parts(rows[name]))}" for word, name in found if _parts(rows[name])
    )


def _needed(heading: Heading) -> str:
    """The column without which there is nothing to show: of a difference its interval, from two
    pairs on.
    """
    return INTERVALS[heading.column][0] if heading.verdict else heading.column


def _title(rows: pd.DataFrame) -> str:
    """The conditions that the section's rows share."""
    row = rows.iloc[0].dropna().to_dict()
    words = [
        row.get("task", ""),
        *conditions(row, ("fit", "match", "recipe", "budget", "pretrained", "evaluation")),
    ]
    words += scored_size(row)
    words += conditions(
        row, ("device", "precision", "memory_format", "mode", "batch_norm", "algorithms")
    )
    words += [
        f"{name.split('_')[0]} {row[name]}"
        for name in ("threads", "batch_requested")
        if name in row
    ]
    return " · ".join(filter(None, map(str, words)))


def _lines(rows: pd.DataFrame, headings: Sequence[Heading]) -> Iterator[Line]:
    # A verdict says more than being the best of differences, which even a bad one may be.
    best = {
        heading.column: None if heading.verdict else _best(rows, heading.column)
        for heading in headings
    }
    for row in records(rows):
        yield Line(
            variant=printable(row["variant"]),
            is_baseline=row["variant"] == row["baseline"],
            figures=tuple(figure(row, heading) for heading in headings),
            best=tuple(
                not row["trivial"] and row[h.column] is not None and row[h.column] == best[h.column]
                for h in headings
            ),
            problem=": ".join(
                filter(None, (_problem(row), _one_line(row["error"] or row["evidence"] or "")))
            ),
            is_trivial=row["trivial"],
        )


def _best(rows: pd.DataFrame, name: str) -> object:
    """The best figure of a column among networks, where figures differ and one end of them is good."""
    figures = rows.loc[~_not_ok(rows) & ~rows["trivial"], name].dropna()
    if name not in BY_NAME or not BY_NAME[name].better or figures.nunique() < 2:
        return None
    return figures.max() if _high_is_good(name) else figures.min()


def _problem(row: dict[str, Any]) -> str:
    statuses = {
        name.removesuffix("_status"): row[name] for name in _statuses(row) if row[name] is not None
    }
    alike = len(set(statuses.values())) == 1  # then there is no need to name the probes
    bad = [
        status if alike else f"{probe} {status}"
        for probe, status in statuses.items()
        if status != "ok"
    ]
    return ", ".join(
        [*dict.fromkeys(bad), *[row["quality"]] * (row["quality"] not in (None, "clean"))]
    )


def _one_line(text: str) -> str:
    return printable(next(iter(text.strip().splitlines()), ""))


def figure(row: Mapping[str, Any], heading: Heading) -> str:
    """The row's figure as text, with the longer side of its interval and its verdict where it has
    them.
    """
    value = row[heading.column]
    if value is None:
        return EMPTY
    if isinstance(value, bool | str):
        return _one_line(str(value))
    ends = [row[end] for end in INTERVALS.get(heading.column, ()) if row.get(end) is not None]
    half = max((abs(end - value) for end in ends), default=None)
    verdict = row.get(heading.verdict) or ""
    words = (
        "+" * (value > 0 and bool(heading.verdict)) + _number(value, heading),
        "" if half is None else f"±{_number(half, heading, digits=2)}",
        _MARKS.get(verdict, verdict),
    )
    return " ".join(filter(None, words))


def _number(value: float, heading: Heading, digits: int = 3) -> str:
    if isinstance(value, int) and heading.factor == 1:
        return str(value)
    scaled = value * heading.factor
    if heading.decimals:
        return f"{scaled:.{heading.decimals}f}"
    return (
        f"{scaled:.0f}"
        if abs(scaled) >= 10 ** (digits - 1) or scaled == 0
        else f"{scaled:#.{digits}g}"
    )


def _caption(frame: pd.DataFrame) -> str:
    """What all sections have in common, and how many rows are not ok."""
    words = [", ".join(_parts(frame[name])) for name in ("run_id", "device_name", "preset")]
    words = [
        f"{label} {word}"
        for label, word in zip(("run", "on", "preset"), words, strict=True)
        if word
    ]
    of_all = frame[frame["match"].isna() | (frame["variant"] == frame["baseline"]).fillna(False)]
    if scales := sorted(scale for scale in of_all["width_scale"].dropna().unique() if scale != 1):
        words.append(f"width_scale {', '.join(f'{scale:g}' for scale in scales)}")
    if len(found := _parts(frame["env_id"])) > 1:
        words.append(f"{len(found)} environments ({', '.join(found)}): compare figures of one")
    return " · ".join((*words, f"{_not_ok(frame).sum()} of {len(frame)} rows not ok"))


def _parts(column: pd.Series) -> list[str]:
    """A column's values; a row that was measured in several places names them all."""
    return list(
        dict.fromkeys(part for value in column.dropna().unique() for part in str(value).split(", "))
    )


# ---- from sections to text


def as_table(sections: Sequence[Section], caption: str) -> Group:
    """The sections for the terminal, the caption below them."""
    parts: list[RenderableType] = []
    for section in sections:
        parts += [
            Text(printable(section.title), style="bold"),
            _rich_table(section),
            *_rich_problems(section),
            Text(),
        ]
    return Group(*parts, Text(caption, style="dim"))


def _rich_table(section: Section) -> Table:
    """`Text` throughout, since a name in square brackets would be taken for markup."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("variant", overflow="fold")
    for label in section.labels:
        table.add_column(Text(label), justify="right", overflow="fold")
    for line in section.lines:
        style = "cyan" if line.is_baseline else "red" if line.problem else ""
        figures = (
            Text(text, style="bold" if best else "")
            for text, best in zip(line.figures, line.best, strict=True)
        )
        name = Text(line.variant + " *" * line.is_baseline, style=style)
        table.add_row(name, *figures, style="dim italic" if line.is_trivial else None)
    return table


def _rich_problems(section: Section) -> list[Text]:
    return [
        Text(f"{line.variant}: {line.problem}", style="red", no_wrap=True, overflow="ellipsis")
        for line in section.lines
        if line.problem
    ]


def as_markdown(sections: Sequence[Section], caption: str) -> str:
    """The sections as GitHub markdown, the caption (markdown itself) below them."""
    return "\n".join((*map(_markdown_section, sections), f"{caption}\n"))


def _markdown_section(section: Section) -> str:
    rows = [("variant", *section.labels, "not ok"), ("---", *["---:"] * len(section.labels), "---")]
    for line in section.lines:
        name = escaped(line.variant) + " (baseline)" * line.is_baseline
        figures = (
            f"**{escaped(text)}**" if best else escaped(text)
            for text, best in zip(line.figures, line.best, strict=True)
        )
        rows.append((name, *figures, escaped(line.problem)))
    return f"### {escaped(section.title)}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def as_json(frame: pd.DataFrame) -> str:
    """The rows as JSON objects, null where there is no value."""
    return json.dumps(records(frame), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
