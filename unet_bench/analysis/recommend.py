"""Which network to use under a budget, what is as good, and what more would cost.

runs ─▶ networks that may be compared ─▶ candidates under a budget ─▶ a recommendation
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unet_bench.analysis.budget import Budget
from unet_bench.analysis.candidates import Candidates, Option, options
from unet_bench.analysis.findings import Finding
from unet_bench.analysis.front import networks_of, reliability_of, scores_of
from unet_bench.store.figures import PEERS, Network
from unet_bench.store.runs import Runs
from unet_bench.store.tables import race_of


@dataclass(frozen=True)
class Recommendation:
    """What to use among networks that may be compared: `options`, the best first."""

    conditions: Mapping[str, Any]  # by the names in PEERS
    of_several: bool  # runs, which its heading tells apart
    candidates: Candidates
    options: tuple[Option, ...]
    folder: str
    manifest: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()

    @property
    def best(self) -> Option | None:
        """The best network that fits; None where nothing fits."""
        return self.options[0] if self.options and self.options[0].role == "best" else None

    @property
    def goal(self) -> str:
        """The figure that the best is the best in."""
        return self.candidates.goal

    def named(self, role: str) -> list[Option]:
        """Return the options of a role."""
        return [option for option in self.options if option.role == role]


def recommend(runs: Runs, budget: Budget | None = None) -> list[Recommendation]:
    """Return a recommendation for every group of networks that may be compared.

    Without a budget, it is the best of all. Of a race it is that of the last rung in which a
    network fits the budget.
    """
    groups, scores = networks_of(runs.results), scores_of(runs)
    several = len({key[0] for key in groups}) > 1
    recommendations: list[Recommendation] = []
    answered: set[tuple[Any, ...]] = set()  # races
    for key, group in groups.items():
        conditions = dict(zip(PEERS, key, strict=True))
        networks = tuple(one for one in group if not one.is_trivial)
        race = race_of(conditions) if networks and networks[0].row.get("rung") else None
        if not networks or race in answered:
            continue
        trivial = tuple(n for n in group if n.is_trivial and n.number("dice") is not None)
        scored = scores.get(key[:-1], {})
        candidates = Candidates(networks, trivial, budget or Budget(), scored, runs.corrected)
        folder = str(runs.folders.get(conditions["run_id"], "RUN"))
        manifest = runs.manifests.get(conditions["run_id"], {})
        chosen = options(candidates)
        found = tuple(reliability_of(networks, scored))
        advice = Recommendation(conditions, several, candidates, chosen, folder, manifest, found)
        if race is None:
            recommendations.append(advice)
        elif advice.best:
            answered.add(race)
            found += tuple(_of_race(race, conditions, groups.values()))
            recommendations.append(replace(advice, findings=found))
    return recommendations


def _of_race(
    race: tuple[Any, ...], conditions: Mapping[str, Any], groups: Iterable[Sequence[Network]]
) -> Iterator[Finding]:
    """Yield how many networks of a race were trained for so long, and why others were not."""
    rows = [one.row for group in groups for one in group if not one.is_trivial]
    rows = [row for row in rows if row.get("rung") and race_of(row) == race]
    here = [row for row in rows if row.get("budget") == conditions["budget"]]
    stopped = [str(row["race"]) for row in rows if str(row.get("race") or "").startswith("stopped")]
    values = {
        "networks": len({row["variant"] for row in rows}),
        "here": len(here),
        "budget": conditions["budget"],
        "behind": sum("clearly behind" in text for text in stopped),
        "no_time": sum("no time" in text for text in stopped),
    }
    if stopped:
        yield Finding("race", values)
