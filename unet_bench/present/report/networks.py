"""A section for each variant: what it is made of, its figures, its shape as a picture, what went
wrong.

rows and cells of a variant ─▶ choices that differ, figures per group, stages ─▶ Network
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Final, TypedDict

from markupsafe import Markup

from unet_bench.geometry.shapes import Stage
from unet_bench.limits import read_json
from unet_bench.present.drawing import draw
from unet_bench.present.groups import Group, anchor, differences, has, seen
from unet_bench.present.table import state
from unet_bench.spec.shape import require_shape
from unet_bench.store.figures import Row, grouped
from unet_bench.store.run_folder import RunFolder, cell_stem
from unet_bench.store.runs import Runs
from unet_bench.store.schema import shown_columns
from unet_bench.store.tables import records
from unet_bench.text_format import figure

_LARGEST_PICTURE: Final = 200  # stages


@dataclass(frozen=True)
class Network:
    """The section of a variant.

    `figures`: for each group its label and (label, text) of what was measured.
    """

    name: str
    is_trivial: bool
    differs: tuple[tuple[str, str, str], ...]  # choice, its value, the baseline's
    facts: tuple[tuple[str, str], ...]
    figures: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    states: tuple[str, ...]  # what is not ok or not clean, in a word each
    problems: tuple[str, ...]
    drawing: Markup | None
    undrawn: str  # why not, where its shape was kept but cannot be read


def networks(runs: Runs, groups: Sequence[Group]) -> list[Network]:
    """Return every variant of the groups once, in their order."""
    rows = [(group, row) for group in groups for row in group.rows]
    cells = grouped(records(runs.cells), itemgetter("variant"))
    by_name = grouped(rows, lambda pair: pair[1]["variant"] or "")
    return [_network(name, own, cells.get(name, []), runs) for name, own in by_name.items()]


def _network(
    name: str, rows: Sequence[tuple[Group, Row]], cells: Sequence[Row], runs: Runs
) -> Network:
    first = rows[0][1]
    facts = {
        "the same network as": first.get("same_as"),
        "choices that cannot matter": (first.get("inactive") or "").replace(",", ", "),
        "parts by": (first.get("plugins") or "").replace(",", ", "),
    }
    drawing, undrawn = _drawing(name, cells, runs.folders)
    shown = shown_columns(runs.columns)
    figures = []
    for group, row in rows:
        measured = (column for column in shown if has(row, column.name))
        figures.append((group.label, tuple((one.heading, figure(row, one)) for one in measured)))
    differs = (choice for group, row in rows for choice in differences(row, group.baseline))
    return Network(
        name=name,
        is_trivial=first["trivial"],
        differs=tuple(dict.fromkeys(differs)),
        facts=tuple((label, str(value)) for label, value in facts.items() if value),
        figures=tuple(figures),
        states=tuple(dict.fromkeys(filter(None, (state(row) for _, row in rows)))),
        problems=tuple(dict.fromkeys(_problems([row for _, row in rows], cells))),
        drawing=drawing,
        undrawn=undrawn,
    )


def _problems(rows: Sequence[Row], cells: Sequence[Row]) -> Iterator[str]:
    """Yield what disturbed it, then probe, status, error and log of each cell without figures.

    For a table without cells it is the row's error.
    """
    for row in rows:
        if row.get("quality") not in (None, "clean"):
            yield ": ".join(filter(None, (row["quality"], row.get("evidence"))))
    failed = [cell for cell in cells if cell["status"] != "ok"]
    for cell in failed:
        error = f": {cell['error']}" if cell.get("error") else ""
        log = f" (log: {cell['log']})" if cell.get("log") else ""
        yield f"{cell['probe']} {cell['status']}{error}{log}"
    if not failed:
        yield from (str(row["error"]) for row in rows if row.get("error"))


def _drawing(
    name: str, cells: Sequence[Row], folders: Mapping[str, Path]
) -> tuple[Markup | None, str]:
    """Return the picture of a network's shape, and why there is none if its file is damaged."""
    for cell in cells:
        folder = folders.get(cell["run_id"])
        if cell["probe"] == "cost" and folder is not None:
            file = RunFolder(folder).samples_of(cell_stem("cost", measured_cell(cell)))
            try:
                stages = _stages(file)
            except (OSError, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
                return None, f"Its shape in {file.name} cannot be read ({problem})."
            if stages:
                drawing = draw(seen(name), stages, tip=f"tip-{anchor(name)}")
                return Markup(drawing), ""  # a drawing escapes all text
    return None, ""


def measured_cell(cell: Row) -> str:
    """Return the id of the cell that was measured.

    For a network that was measured under another name, it is that of its twin.
    """
    own = str(cell["cell_id"])
    return own.rpartition("-")[0] if cell.get("same_as") else own


class _Stage(TypedDict):
    name: str
    level: int
    channels: int
    size: list[int]
    skip: str


class _Shape(TypedDict):
    stages: list[_Stage]


def _stages(file: Path) -> list[Stage]:
    """Return the stages in a file of samples.

    There are none where the file is missing, or they are too many for a picture.
    """
    if not file.is_file():
        return []
    shape = read_json(file)
    require_shape(shape, _Shape, "it")
    if len(shape["stages"]) > _LARGEST_PICTURE:
        return []
    return [
        Stage(stage["name"], stage["level"], stage["channels"], tuple(stage["size"]), stage["skip"])
        for stage in shape["stages"]
    ]
