"""The rows of runs, apart where they may not be compared, and what to call them.

results ─▶ one group per run, task and setting, its rows the best first
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from unet_bench.analysis.front import told_apart as fewest_conditions
from unet_bench.present.findings import conditions_text
from unet_bench.store.figures import Network, peer_groups
from unet_bench.store.schema import SIZE
from unet_bench.store.tables import records
from unet_bench.text_format import conditions, scored_size

Row = Mapping[str, Any]

_NUMBERS: Final = {"threads": "threads", "batch_requested": "batch", "batch_effective": "batch run"}
_QUIET: Final = (
    "dataset_hash",
    "batch_effective",
)  # told only where nothing else tells groups apart


@dataclass(frozen=True)
class Group:
    """Rows that may be compared with one another: one run, one task, one setting."""

    key: str  # an id
    peers: tuple[Any, ...]  # what its rows have in common, by the names in PEERS
    title: str  # all that its rows have in common
    label: str  # what tells it from the other groups
    rows: tuple[
        Row, ...
    ]  # networks by Dice, then latency, the best first; then what has failed; then trivial baselines

    @property
    def first(self) -> Row:
        """A row, for what all have in common."""
        return self.rows[0]

    @property
    def baseline(self) -> Row | None:
        """The row of the baseline, if it is there."""
        return next((row for row in self.rows if is_baseline(row)), None)

    def networks(self, *needed: str) -> list[Row]:
        """The rows that are no trivial baselines and have all of these figures."""
        return [
            row
            for row in self.rows
            if not row["trivial"] and all(has(row, name) for name in needed)
        ]

    def scored(self, *needed: str) -> list[Row]:
        """The networks with all of these figures and a Dice of which no seed or fold failed."""
        return [row for row in self.networks("dice", *needed) if Network(row).succeeded("accuracy")]

    def trivial(self, least: float = -math.inf) -> list[Row]:
        """The trivial baselines that have a Dice, of at least as much."""
        rows = (row for row in self.rows if row["trivial"] and has(row, "dice"))
        return [row for row in rows if row["dice"] >= least]


def groups_of(frame: pd.DataFrame) -> list[Group]:
    """The groups of a frame of `read_runs`, in its order."""
    parts = peer_groups(records(frame))
    apart, several = fewest_conditions(parts), len({key[0] for key in parts}) > 1
    return [
        Group(
            f"g{i}",
            key,
            _title(rows[0], several),
            _label(rows[0], conditions_text(apart[key])),
            tuple(sorted(rows, key=_rank)),
        )
        for i, (key, rows) in enumerate(parts.items())
    ]


def is_baseline(row: Row) -> bool:
    """Whether the row is the one that ratios are to."""
    return row["variant"] is not None and row["variant"] == row["baseline"]


def has(row: Row, name: str) -> bool:
    """Whether there is a figure."""
    value = row.get(name)
    return isinstance(value, bool | int | float) and math.isfinite(value)


def statuses(row: Row) -> dict[str, str]:
    """The status of each probe, plugins' included, that was asked for."""
    found = (
        (name.removesuffix("_status"), row[name]) for name in row if str(name).endswith("_status")
    )
    return {probe: status for probe, status in found if status is not None}


def failed(row: Row) -> bool:
    """Whether any probe left no figures."""
    return any(status != "ok" for status in statuses(row).values())


def anchor(name: str) -> str:
    """An id for a variant's section: letters, digits and dashes, unlike for unlike names, the same
    in every report.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"v-{plain}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:6]}"


def seen(text: str) -> str:
    """Text of which everything is seen: what has no shape, or turns the direction of the rest, as
    its code.
    """
    return "".join(
        _escaped(c) if unicodedata.category(c)[0] == "C" or c in _BLANK else c for c in text
    )


_BLANK: Final = (
    "\u115f\u1160\u2028\u2029\u2800\u3164\uffa0"  # without a shape, though not control characters
)


def _escaped(character: str) -> str:
    code = ord(character)
    return (
        " " if character in "\t\n\r" else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _rank(row: Row) -> tuple[Any, ...]:
    dice = -row["dice"] if has(row, "dice") else math.inf
    latency = row["latency_ms"] if has(row, "latency_ms") else math.inf
    return row["trivial"], failed(row), dice, latency


def _label(row: Row, apart: str) -> str:
    """Its task, and what tells it from the others."""
    return " · ".join(dict.fromkeys(filter(None, (row["task"], *apart.split(" · "))))) or "no task"


def _title(row: Row, several_runs: bool) -> str:
    known = {name: value for name, value in row.items() if value is not None}
    words = [
        known.get("task", ""),
        *conditions(known, ("match", "fit", "recipe", "budget", "pretrained", "evaluation")),
    ]
    words += scored_size(known)
    words += conditions(
        known, ("device", "precision", "memory_format", "mode", "batch_norm", "algorithms")
    )
    words += [
        f"{name.split('_')[0]} {known[name]}"
        for name in ("threads", "batch_requested")
        if name in known
    ]
    words += _halved(known)
    return (
        " · ".join(map(str, [*[known["run_id"]] * several_runs, *filter(None, words)]))
        or "no setting is stated"
    )


def _halved(row: Row) -> list[str]:
    run = row.get("batch_effective")
    return [f"run at batch {run}"] if run is not None and run != row.get("batch_requested") else []


def told_apart(heads: Sequence[Row], names: Sequence[str]) -> list[str]:
    """What differs between rows in these columns; more where even that is the same."""
    differing = [name for name in names if len({head.get(name) for head in heads}) > 1]
    said = [
        " · ".join(_words(head, [name for name in differing if name not in _QUIET]))
        for head in heads
    ]
    if len(set(said)) == len(said):
        return said
    return [
        " · ".join((words, *_words(head, _QUIET))) for words, head in zip(said, heads, strict=True)
    ]


def _words(row: Row, names: Sequence[str]) -> list[str]:
    words = []
    for name in names:
        if name in SIZE:
            words += (
                scored_size(row, "") if name == next(side for side in names if side in SIZE) else []
            )
        elif row.get(name) is not None:
            words.append(f"{_NUMBERS[name]} {row[name]}" if name in _NUMBERS else str(row[name]))
    return words
