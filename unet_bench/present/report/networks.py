"""A section for each variant: what it is made of, its figures, its shape as a picture, what went
wrong.

rows and cells of a variant ─▶ choices that differ, figures per group, stages ─▶ Network
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from unet_bench.geometry.shapes import Stage
from unet_bench.present.drawing import draw
from unet_bench.present.groups import Group, anchor, differences, has, seen
from unet_bench.present.table import state
from unet_bench.store.columns import Column
from unet_bench.store.run_folder import RunFolder, cell_stem
from unet_bench.store.runs import Runs
from unet_bench.store.schema import shown_columns
from unet_bench.store.tables import records
from unet_bench.text_format import figure

Row = Mapping[str, Any]

_LARGEST_PICTURE: Final = 200  # stages


@dataclass(frozen=True)
class Network:
    """The section of a variant.

    `figures`: for each group its label and (label, text) of what was measured.
    """

    name: str
    anchor: str
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
    rows: dict[str, list[tuple[Group, Row]]] = {}
    for group in groups:
        for row in group.rows:
            rows.setdefault(row["variant"] or "", []).append((group, row))
    cells = _by_variant(runs)
    return [_network(name, found, cells.get(name, []), runs) for name, found in rows.items()]


def _by_variant(runs: Runs) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for cell in records(runs.cells):
        found.setdefault(cell["variant"], []).append(cell)
    return found


def _network(
    name: str, found: Sequence[tuple[Group, Row]], cells: Sequence[Row], runs: Runs
) -> Network:
    first = found[0][1]
    facts = {
        "the same network as": first.get("same_as"),
        "choices that cannot matter": (first.get("inactive") or "").replace(",", ", "),
        "parts by": (first.get("plugins") or "").replace(",", ", "),
    }
    drawing, undrawn = _drawing(name, cells, runs.folders)
    shown = shown_columns(runs.columns)
    return Network(
        name=name,
        anchor=anchor(name),
        is_trivial=first["trivial"],
        differs=tuple(
            dict.fromkeys(line for group, row in found for line in differences(row, group.baseline))
        ),
        facts=tuple((label, str(value)) for label, value in facts.items() if value),
        figures=tuple((group.label, _figures(row, shown)) for group, row in found),
        states=tuple(dict.fromkeys(word for _, row in found if (word := state(row)))),
        problems=tuple(dict.fromkeys((*_quality(found), *_failures(found, cells)))),
        drawing=drawing,
        undrawn=undrawn,
    )


def _figures(row: Row, shown: Sequence[Column]) -> tuple[tuple[str, str], ...]:
    return tuple((column.heading, figure(row, column)) for column in shown if has(row, column.name))


def _quality(found: Sequence[tuple[Group, Row]]) -> list[str]:
    rows = [row for _, row in found if row.get("quality") not in (None, "clean")]
    return [": ".join(filter(None, (row["quality"], row.get("evidence")))) for row in rows]


def _failures(found: Sequence[tuple[Group, Row]], cells: Sequence[Row]) -> list[str]:
    """Return probe, status, error and log of each cell without figures.

    For a table without cells it is the row's error.
    """
    bad = [cell for cell in cells if cell["status"] != "ok"]
    words = []
    for cell in bad:
        error = f": {cell['error']}" if cell.get("error") else ""
        log = f" (log: {cell['log']})" if cell.get("log") else ""
        words.append(f"{cell['probe']} {cell['status']}{error}{log}")
    return words or [str(row["error"]) for _, row in found if row.get("error")]


def _drawing(
    name: str, cells: Sequence[Row], folders: Mapping[str, Path]
) -> tuple[Markup | None, str]:
    for cell in cells:
        folder = folders.get(cell["run_id"])
        if cell["probe"] == "cost" and folder is not None:
            file = RunFolder(folder).samples_of(cell_stem("cost", measured_cell(cell)))
            try:
                stages = _stages(file)
            except (OSError, ValueError, TypeError, KeyError) as error:
                return (
                    None,
                    f"Its shape in {file.name} cannot be read ({type(error).__name__}: {error}).",
                )
            if stages:
                return Markup(
                    draw(seen(name), stages, tip=f"tip-{anchor(name)}")
                ), ""  # which escapes all text
    return None, ""


def measured_cell(cell: Row) -> str:
    """Return the id of the cell that was measured.

    For a network that was measured under another name, it is that of its twin.
    """
    own = str(cell["cell_id"])
    return own.rpartition("-")[0] if cell.get("same_as") else own


def _stages(file: Path) -> list[Stage]:
    """Return the stages in a file of samples.

    There are none where the file is missing, or they are too many for a picture.
    """
    if not file.is_file():
        return []
    stages = json.loads(file.read_text(encoding="utf-8"))["stages"]
    if len(stages) > _LARGEST_PICTURE:
        return []
    return [
        Stage(
            str(s["name"]),
            int(s["level"]),
            int(s["channels"]),
            tuple(map(int, s["size"])),
            str(s["skip"]),
        )
        for s in stages
    ]
