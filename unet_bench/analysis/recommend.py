"""Which network to use under a budget, what is as good, what more would cost, and what to measure
to be sure.

runs ─▶ rows that may be compared ─▶ a choice (choice.py) ─▶ its words (advice.py) ─▶ a recommendation ─▶ text
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from unet_bench.analysis.budget import Budget
from unet_bench.analysis.candidates import Group, Option, goal_of, options
from unet_bench.analysis.explanation import notes, over, steps, verdicts
from unet_bench.analysis.front import peer_groups, rows_of, scores_of
from unet_bench.store.figures import baseline_of
from unet_bench.store.runs import PEERS, Runs
from unet_bench.store.schema import BY_NAME, INTERVALS
from unet_bench.store.tables import typed_frame


@dataclass(frozen=True)
class Recommendation:
    """What to use among rows that may be compared: `options`, the best first, and all of it in
    words.
    """

    conditions: Mapping[str, Any]  # by the names in PEERS
    budget: Budget
    of_several: bool  # runs, which its heading tells apart
    goal: str  # the figure that the best is the best in
    networks: int
    fitting: int
    options: tuple[Option, ...]
    said: tuple[str, ...]
    next: tuple[tuple[str, str], ...]  # what to measure, and the command, if there is one
    notes: tuple[str, ...]

    @property
    def best(self) -> Option | None:
        """None where nothing fits."""
        return self.options[0] if self.options and self.options[0].role == "best" else None


def recommend(runs: Runs, budget: Budget | None = None) -> list[Recommendation]:
    """A recommendation for every group of rows that may be compared. Without a budget, the best of
    all.
    """
    groups = peer_groups(rows_of(runs.results))
    scores = scores_of(runs)
    several = len({key[0] for key in groups}) > 1
    found = []
    for key, rows in groups.items():
        known = dict(zip(PEERS, key, strict=True))
        networks = [row for row in rows if not row["trivial"]]
        if not networks:
            continue
        own = scores.get(key[:-1], {})
        trivial = [row for row in rows if row["trivial"] and row.get("dice") is not None]
        group = Group(
            networks, trivial, baseline_of(networks), budget or Budget(), own, goal_of(networks)
        )
        folder = str(runs.folders.get(known["run_id"], "RUN"))
        manifest = runs.manifests.get(known["run_id"], {})
        found.append(_recommended(group, known, several, folder, manifest))
    return found


def table(recommendations: Iterable[Recommendation]) -> pd.DataFrame:
    """The networks that are named: `COLUMNS`, the best first within each group."""
    return typed_frame([row for found in recommendations for row in _rows(found)], COLUMNS)


def _recommended(
    group: Group, known: Mapping[str, Any], several: bool, folder: str, manifest: Mapping[str, Any]
) -> Recommendation:
    chosen, fitting = options(group), len(group.within())
    return Recommendation(
        conditions=known,
        budget=group.budget,
        of_several=several,
        goal=group.goal,
        networks=len(group.networks),
        fitting=fitting,
        options=chosen,
        said=tuple(verdicts(group, chosen, fitting)),
        next=tuple(steps(group, chosen, folder, manifest)),
        notes=tuple(notes(group, chosen)),
    )


# ---- to text


_SHOWN_FIGURES: Final = (
    *("dice", *INTERVALS["dice"], "latency_ratio", *INTERVALS["latency_ratio"]),
    *("peak_memory_mib", "train_peak_memory_mib", "params", "macs"),
)
COLUMNS: Final[Mapping[str, str]] = {
    **{name: BY_NAME[name].dtype for name in PEERS},
    "role": "string",
    "variant": "string",
    "baseline": "string",
    "goal": "string",
    "difference": "Float64",  # to the best: of Dice, or of the logarithm of what the goal is
    "difference_ci_low": "Float64",
    "difference_ci_high": "Float64",
    "verdict": "string",
    "pairs": "Int64",
    "pairs_needed": "Int64",
    "latency_ms": "Float64",
    "latency_ci_low_ms": "Float64",
    "latency_ci_high_ms": "Float64",
    "latency_estimated": "boolean",
    "latency_over_best": "Float64",
    **{name: BY_NAME[name].dtype for name in _SHOWN_FIGURES},
    "over_budget": "string",
    "may_exceed": "string",
}


def _rows(found: Recommendation) -> Iterator[dict[str, Any]]:
    for option in found.options:
        row = {**found.conditions, **{name: option.row.get(name) for name in _SHOWN_FIGURES}}
        row |= {
            "role": option.role,
            "variant": option.variant,
            "baseline": option.row.get("baseline"),
        }
        row |= {"goal": found.goal, "latency_over_best": option.speed}
        if option.gap is not None:
            row |= {
                "difference": option.gap.difference,
                "verdict": option.gap.verdict,
                "pairs": option.gap.pairs,
            }
            row |= {"difference_ci_low": option.gap.low, "difference_ci_high": option.gap.high}
            row |= {"pairs_needed": option.gap.pairs_needed}
        if option.latency is not None:
            ends = ("latency_ms", *INTERVALS["latency_ms"])
            row |= dict(zip(ends, option.latency, strict=False)) | {
                "latency_estimated": option.latency.estimated
            }
        row |= {
            "over_budget": over(option) or None,
            "may_exceed": ", ".join(option.fit.unsure) or None,
        }
        yield row
