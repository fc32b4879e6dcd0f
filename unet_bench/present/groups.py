"""The rows of runs, apart where they may not be compared, and what to call them.

results ─▶ one group per run, task and setting, its rows the best first
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import pandas as pd

from unet_bench.analysis.front import told_apart
from unet_bench.networks.choices import NAMES
from unet_bench.present.findings import conditions_text
from unet_bench.present.table import failed, setting_title
from unet_bench.store.figures import PEERS, Network, Row, peer_groups
from unet_bench.store.tables import records


@dataclass(frozen=True)
class Group:
    """Rows that may be compared with one another: one run, one task, one setting."""

    key: str  # an id
    peers: tuple[Any, ...]  # what its rows have in common, by the names in PEERS
    title: str  # all that its rows have in common
    label: str  # what tells it from the other groups
    rows: tuple[Row, ...]
    """Networks by Dice, then latency, the best first; what has failed; trivial baselines."""

    @property
    def first(self) -> Row:
        """A row, for what all have in common."""
        return self.rows[0]

    @cached_property
    def baseline(self) -> Row | None:
        """The row of the baseline, if it is there."""
        return next((row for row in self.rows if is_baseline(row)), None)

    def networks(self, *needed: str) -> list[Row]:
        """Return the rows that are no trivial baselines and have all of these figures."""
        rows = [row for row in self.rows if not row["trivial"]]
        return [row for row in rows if all(has(row, name) for name in needed)]

    def scored(self, *needed: str) -> list[Row]:
        """Return the networks with all of these figures and a Dice of which no cell failed."""
        return [row for row in self.networks("dice", *needed) if Network(row).succeeded("accuracy")]

    def trivial(self, least: float = -math.inf) -> list[Row]:
        """Return the trivial baselines that have a Dice of at least this."""
        rows = (row for row in self.rows if row["trivial"] and has(row, "dice"))
        return [row for row in rows if row["dice"] >= least]


def groups_of(frame: pd.DataFrame) -> list[Group]:
    """Return the groups of a frame of `read_runs`, in its order."""
    parts = peer_groups(records(frame))
    labels, several = labels_of(parts), len({key[0] for key in parts}) > 1
    groups = []
    for number, (key, rows) in enumerate(parts.items()):
        title, label = _title(rows[0], several), _label(rows[0], labels[key])
        groups.append(Group(f"g{number}", key, title, label, tuple(sorted(rows, key=_rank))))
    return groups


def labels_of(
    keys: Collection[tuple[Any, ...]], names: Sequence[str] = PEERS
) -> dict[tuple[Any, ...], str]:
    """Return, by key, what tells it from the others; `names` are of the conditions in a key."""
    return {key: conditions_text(where) for key, where in told_apart(keys, names).items()}


def is_baseline(row: Row) -> bool:
    """Return whether the row is the one that ratios are to."""
    return row["variant"] is not None and row["variant"] == row["baseline"]


def has(row: Row, name: str) -> bool:
    """Return whether there is a figure."""
    value = row.get(name)
    return isinstance(value, bool | int | float) and math.isfinite(value)


def anchor(name: str) -> str:
    """Return the id of a variant's section: letters, digits and dashes.

    It is unlike for unlike names, and the same in every report.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"v-{plain}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:6]}"


def seen(text: str) -> str:
    """Return text of which everything is visible.

    Characters without a shape, or that turn the text's direction, are shown as their codes.
    """
    return "".join(map(_seen, text))


_BLANK: Final = "\u115f\u1160\u2028\u2029\u2800\u3164\uffa0"
"""Characters without a shape, though not control characters."""


def _seen(character: str) -> str:
    if character in "\t\n\r":
        return " "
    if unicodedata.category(character)[0] != "C" and character not in _BLANK:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def differences(row: Row, baseline: Row | None) -> list[tuple[str, str, str]]:
    """Return (choice, its value, the baseline's) where they differ; architectures do as a whole."""
    if row["trivial"]:
        return []
    if row.get("architecture"):
        words = (row["architecture"], row.get("architecture_args"))
        return [("architecture", " ".join(filter(None, words)), "")]
    if baseline is None or baseline.get("architecture"):
        return []
    inactive = [name.strip() for name in (row.get("inactive") or "").split(",")]
    active = ((name, row.get(name), baseline.get(name)) for name in NAMES if name not in inactive)
    return [
        (name, _worded(own), _worded(theirs))
        for name, own, theirs in active
        if own is not None and own != theirs
    ]


def _worded(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rank(row: Row) -> tuple[Any, ...]:
    dice = -row["dice"] if has(row, "dice") else math.inf
    latency = row["latency_ms"] if has(row, "latency_ms") else math.inf
    return row["trivial"], failed(row), dice, latency


def _label(row: Row, apart: str) -> str:
    """Return a group's task, and what tells it from the others."""
    words = dict.fromkeys((row["task"], *apart.split(" · ")))
    return " · ".join(filter(None, words)) or "no task"


def _title(row: Row, several_runs: bool) -> str:
    words = [str(row["run_id"])] if several_runs else []
    words += setting_title(row)
    batch = row.get("batch_effective")
    if batch not in (None, row.get("batch_requested")):
        words.append(f"run at batch {batch}")
    return " · ".join(words) or "no setting is stated"
