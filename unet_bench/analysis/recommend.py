"""Which network to use under a budget, what is as good, and what more would cost.

runs ─▶ networks that may be compared ─▶ candidates under a budget ─▶ a recommendation
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unet_bench.analysis.budget import Budget
from unet_bench.analysis.candidates import Candidates, Option, options
from unet_bench.analysis.findings import Finding
from unet_bench.analysis.front import networks_of, reliability_of, scores_of
from unet_bench.analysis.runtimes import in_any_runtime, main_groups, runtime_findings
from unet_bench.store.figures import PEERS, Network
from unet_bench.store.runs import Runs
from unet_bench.store.schema import BEHIND, NO_TIME, WENT_ON
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


def recommend(
    runs: Runs, budget: Budget | None = None, *, any_runtime: bool = False
) -> list[Recommendation]:
    """Return a recommendation for every group of networks that may be compared.

    Of several runtimes that is the one in which they were trained; a finding says which is faster.
    With `any_runtime` a network by each of its runtimes is a candidate.

    Without a budget, it is the best of all. Of a race it is that of the last rung in which a
    network fits the budget.
    """
    runs = in_any_runtime(runs) if any_runtime else runs
    groups, scores = networks_of(runs.results), scores_of(runs)
    rungs = _rungs_of(groups)
    several = len({key[0] for key in groups}) > 1
    recommendations: list[Recommendation] = []
    answered: set[tuple[Any, ...]] = set()  # races
    main = set(main_groups(groups).values())
    for key, group in groups.items():
        if key not in main:
            continue
        conditions = dict(zip(PEERS, key, strict=True))
        networks = tuple(one for one in group if not one.is_trivial)
        if not networks:
            continue
        rung = networks[0].row.get("rung")
        race = (*race_of(conditions), conditions["batch_effective"])
        if rung and (race in answered or not _is_whole(rung, race, networks, rungs)):
            continue
        trivial = tuple(n for n in group if n.is_trivial and n.number("dice") is not None)
        scored = scores.get(key[:-1], {})
        candidates = Candidates(networks, trivial, budget or Budget(), scored, runs.corrected)
        folder = str(runs.folders.get(conditions["run_id"], "RUN"))
        manifest = runs.manifests.get(conditions["run_id"], {})
        chosen = options(candidates)
        found = tuple(reliability_of(networks, scored))
        advice = Recommendation(conditions, several, candidates, chosen, folder, manifest, found)
        if rung and not advice.best and rung > 1:
            continue  # one of an earlier rung may fit
        if rung:
            answered.add(race)
            found += tuple(_of_race(conditions["budget"], networks, rungs[race]))
            advice = replace(advice, findings=found, manifest=_as_trained(manifest, rung))
        if advice.best and not any_runtime:
            found += tuple(runtime_findings(advice.best.variant, groups, key))
            advice = replace(advice, findings=found)
        recommendations.append(advice)
    return recommendations


Race = tuple[Any, ...]  # what its rows have in common
Rungs = dict[int, tuple[Network, ...]]  # the networks of each


def _rungs_of(groups: Mapping[tuple[Any, ...], Sequence[Network]]) -> dict[Race, Rungs]:
    """Return the networks of races by their rungs."""
    found: dict[Race, Rungs] = {}
    for key, group in groups.items():
        conditions = dict(zip(PEERS, key, strict=True))
        networks = tuple(one for one in group if not one.is_trivial)
        if networks and (rung := networks[0].row.get("rung")):
            race = (*race_of(conditions), conditions["batch_effective"])
            found.setdefault(race, {})[rung] = networks
    return found


def _is_whole(
    rung: int, race: Race, networks: Sequence[Network], rungs: Mapping[Race, Rungs]
) -> bool:
    """Return whether all who were chosen for a rung were trained in it."""
    before = rungs[race].get(rung - 1, ())
    there = {one.variant for one in networks}
    return all(one.variant in there for one in before if one.row.get("race") == WENT_ON)


def _as_trained(manifest: Mapping[str, Any], rung: int) -> dict[str, Any]:
    """Return the manifest of a run that trained as a rung of this race did, and did not race.

    That is what measures its networks again.
    """
    stated = manifest.get("suite")
    suite: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {}
    rungs = suite.get("rungs")
    if not isinstance(rungs, list) or len(rungs) < rung:
        return dict(manifest)
    alone = {"race": False, "rungs": [], "time_budget": "", "steps": rungs[rung - 1]}
    return {**manifest, "suite": {**suite, **alone}}


def _of_race(budget: str, here: Sequence[Network], rungs: Rungs) -> Iterator[Finding]:
    """Yield how many networks of a race were trained for so long, and why others were not."""
    rows = [one.row for networks in rungs.values() for one in networks]
    trained = {one.variant for one in here}
    said = [str(row.get("race") or "") for row in rows if row["variant"] not in trained]
    entered = {row["variant"] for row in rows}
    values = {
        "networks": len(entered),
        "here": len(trained),
        "budget": budget,
        "behind": sum(text.startswith(BEHIND) for text in said),
        "no_time": sum(text.startswith(NO_TIME) for text in said),
    }
    if len(entered) > len(trained):
        yield Finding("race", values)
