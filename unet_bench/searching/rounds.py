"""A search: rounds of races among candidates, then the best of them trained anew.

request ─▶ round 1: points at random ─▶ slot model ─▶ round 2: points it believes in ─▶ finalists
        ─▶ fresh seeds, test images ─▶ what was found

Each stage is an ordinary run in a folder of its own, so that a search goes on where it was stopped,
and every command reads its runs. Rounds score validation images; the test images are scored once,
at the end.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from unet_bench import pipeline
from unet_bench.analysis.budget import Budget, fit
from unet_bench.errors import InvalidSuite, StoreError
from unet_bench.execute.options import ExecutionOptions
from unet_bench.host.files import atomic_write
from unet_bench.limits import read_json
from unet_bench.networks.variants import BASELINE
from unet_bench.plan.budget import FEWEST_GO_ON, GO_ON
from unet_bench.registry import plugins
from unet_bench.searching.space import Point, Space, read_space
from unet_bench.spec.suite import LONGER, Suite, from_options, parse_budget
from unet_bench.stats.additive import AdditiveModel, additive_model
from unet_bench.store.log import iterate_rows, latest
from unet_bench.store.run_folder import MANIFEST
from unet_bench.text_format import counted

if TYPE_CHECKING:
    from unet_bench.execute.driver import Progress
    from unet_bench.plan.cells import Planned
    from unet_bench.store.log import Row

REQUEST: Final = "search.json"
ENDS: Final = {"round-1": 0.38, "round-2": 0.72, "confirmed": 1.0}
"""The stages, and the part of the time after which each ends."""
SPARE: Final = 0.9  # of a round's time; the rest is for what takes longer than foreseen
STEPS: Final = 40  # of a first rung; where there is time for more, up to so many times as many
MOST_LONGER: Final = 5
RUNGS: Final = 3
POOL: Final = 24  # candidates that are examined at a time
EXAMINED: Final = 0.25  # of a stage's time at most, where few keep the limits
PROPOSED: Final = 400  # at most
FEWEST: Final = 6  # candidates of a round, the baseline being one
MOST: Final = 96
MOST_OVER: Final = 1.3  # how much longer than its share a first rung of the fewest may take
WITH_ALL_SEEDS: Final = 8  # networks of a first rung
CARRIED: Final = 3  # of the first round's best into the second
DRAWS: Final = 500  # points, of which the best by one drawing of the model is proposed
FINALISTS: Final = 3
SEEDS: Final = (0, 1)
FRESH_SEEDS: Final = (1000, 1001, 1002)
MOST_CONFIRMED: Final = 3  # times as many steps as the last rung has
RESERVE: Final = 0.85  # of the last stage's time; the rest is for timing and what takes longer
TIMED_S: Final = 0.4  # of timed blocks, where latency is limited


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is searched for. Raises InvalidSuite."""

    suite: Mapping[str, Any]  # the fields of Suite that were given
    budget: str
    limits: Mapping[str, float] = field(default_factory=dict)
    space: tuple[str, ...] = ()
    base: str = BASELINE
    seed: int = 0

    def __post_init__(self) -> None:
        parse_budget(self.budget)
        Budget(**self.limits)


@dataclass(frozen=True)
class Found:
    """What a search came to; `confirmed` is the run to believe."""

    path: Path
    confirmed: Path
    limits: Budget
    space: Space
    trained: int  # networks in all rounds
    claimed: Mapping[str, float]  # the Dice by which finalists were chosen
    model: AdditiveModel


class NothingFits(InvalidSuite):
    """No candidate keeps the limits, or none can be trained in the time."""


class Search:
    """A search in its folder; `run` goes on after the stages that are finished."""

    def __init__(
        self,
        path: Path,
        request: Request,
        progress: Progress,
        execution: ExecutionOptions | None = None,
        spent_s: Mapping[str, float] | None = None,
    ) -> None:
        self.path, self.request, self.progress = path, request, progress
        self.execution = execution or ExecutionOptions()
        self.spent_s = dict(spent_s or {})  # of finished stages
        self.limits = Budget(**request.limits)
        self.at_once = 0  # trainings, side by side; 0: not known yet
        self.begun = time.monotonic() - sum(self.spent_s.values())
        self.space = read_space(request.space, plugins.load(()).checked(), request.base)

    @classmethod
    def resumed(
        cls, path: Path, progress: Progress, execution: ExecutionOptions | None = None
    ) -> Search:
        """Return the search in a folder. Raises StoreError."""
        try:
            stored = read_json(path / REQUEST)
            request = Request(**{**stored["request"], "space": tuple(stored["request"]["space"])})
            spent_s = {name: float(stored["spent_s"].get(name, 0)) for name in stored["spent_s"]}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(
                f"{path} holds no search that can go on ({type(error).__name__}: {error}): start a "
                "new one"
            ) from error
        return cls(path, request, progress, execution, spent_s)

    def save(self) -> None:
        """Write down what is asked for, and what is finished."""
        self.path.mkdir(parents=True, exist_ok=True)
        content = {"version": 1, "request": asdict(self.request), "spent_s": self.spent_s}
        with atomic_write(self.path / REQUEST) as draft:
            draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def run(self) -> Found:
        """Search, and return what was found. Raises NothingFits, and as a run does."""
        first = self.round("round-1", self.at_random())
        model = self.model([first])
        leaders = self.leaders(first)[:CARRIED]
        second = self.round(
            "round-2", itertools.chain(leaders, self.proposed(model, networks_in(first)))
        )
        finalists = self.leaders(second)[:FINALISTS] or leaders
        if not finalists:
            raise NothingFits(f"no network that keeps the limits was trained well: see {self.path}")
        confirmed = self.confirm(finalists, second)
        trained = networks_in(first) | networks_in(second)
        return Found(
            self.path,
            confirmed,
            self.limits,
            self.space,
            len(trained),
            {name: dice for name, (_, dice) in reached(second).items()},
            self.model([first, second]),
        )

    def at_random(self) -> Iterator[str]:
        """Yield the baseline and points of the space at random, among the first the published."""
        drawn = map(self.space.name, self.space.draws(self.request.seed))
        yield self.space.base.name
        yield from itertools.islice(drawn, FEWEST)
        yield from self.space.published
        yield from drawn

    def proposed(self, model: AdditiveModel, seen: Collection[str]) -> Iterator[str]:
        """Yield points not seen by Thompson sampling: the best of many, as effects may truly be.

        So a choice that is not known to be worse is still tried, the less the surer that is.
        """
        import numpy as np

        chance = np.random.default_rng(self.request.seed)
        draws = self.space.draws(self.request.seed + 1)
        known = set(seen)
        for _ in range(PROPOSED):
            weights = model.sampled(chance)
            drawn = [*itertools.islice(draws, DRAWS)]
            best: Point = max(drawn, key=lambda point: float(model.row(point) @ weights))
            if (name := self.space.name(best)) not in known:
                known.add(name)
                yield name

    def model(self, runs: Sequence[Path]) -> AdditiveModel:
        """Return what the first rungs of rounds tell of single choices."""
        points, differences = [], []
        for run in runs:
            dice = of_rung(run, 1)
            start = dice.get(self.space.base.name, 0.0)
            for name, value in dice.items():
                if (point := self.space.point(name)) is not None:
                    points.append(point)
                    differences.append(value - start)
        return additive_model(self.space.alternatives, points, differences)

    def leaders(self, run: Path) -> list[str]:
        """Return the networks of a round that keep the limits, the best first.

        The baseline, which every round has, is left out.
        """
        found, kept = reached(run), self.kept(run) - {self.space.base.name}
        return sorted((name for name in found if name in kept), key=found.__getitem__, reverse=True)

    def round(self, stage: str, names: Iterator[str]) -> Path:
        """Race as many of these networks as there is time for, in order; return the run."""
        if stage in self.spent_s or self.folder_of(stage):
            return self.finish(stage)
        chosen, steps = self.affordable(stage, names)
        suite = self.suite(
            variants=chosen,
            rungs=tuple(steps * LONGER**rung for rung in range(RUNGS)),
            time_budget=f"{max(1.0, self.left_s(stage)):.0f}s",
        )
        self.progress.waiting(
            f"{stage}: {counted(len(chosen), 'network')} of {self.space.size:,} combinations, "
            f"{', '.join(map(str, suite.rungs))} steps"
        )
        return self.finish(stage, suite)

    def affordable(self, stage: str, names: Iterator[str]) -> tuple[list[str], int]:
        """Return the networks that a round begins with, and for how many steps.

        Raises NothingFits.
        """
        kept: list[str] = []
        over: dict[str, float] = {}
        took_s = share_s = 0.0
        for name, each_s in self.fitting(stage, names, over):
            both_s = each_s * (2 if len(kept) < WITH_ALL_SEEDS else 1)
            share_s = first_rung(len(kept) + 1) * self.left_s(stage)  # examining takes time, too
            if len(kept) == MOST or (len(kept) >= FEWEST and took_s + both_s > share_s):
                break
            kept.append(name)
            took_s += both_s
        if self.limits.max_latency_ms is not None and len(kept) > 1:
            kept = self.quick_enough(stage, kept)
        if len(kept) < 2:
            near = min(over, key=over.__getitem__, default="")
            hint = f"; the nearest, {near}, takes {over[near]:.2g} times as much" if near else ""
            raise NothingFits(
                f"no network that was tried keeps {self.limits.text() or 'to what can be built'}"
                f"{hint}: allow more, or widen --space"
            )
        if took_s > MOST_OVER * share_s:
            raise NothingFits(
                f"budget {self.request.budget} is too small: {STEPS} steps of "
                f"{counted(len(kept), 'network')} take about {took_s:.0f} s, and a round of it has "
                f"{share_s:.0f} s for them; give several times as much"
            )
        longer = min(MOST_LONGER, share_s / took_s)
        return kept, int(STEPS * max(1.0, longer))

    def fitting(
        self, stage: str, names: Iterator[str], over: dict[str, float]
    ) -> Iterator[tuple[str, float]]:
        """Yield the baseline and the networks that keep the limits, as far as is known unrun.

        Each with the seconds that a short training takes. In `over`: how far others are from it.
        It ends where no new ones come, or examining has taken its share of a stage's time.
        """
        base, seen = self.space.base.name, set[str]()
        until = time.monotonic() + EXAMINED * self.left_s(stage)
        while not seen or time.monotonic() < until:
            drawn = dict.fromkeys(itertools.islice(names, POOL))
            pool = [name for name in drawn if name not in seen and name != base]
            if not pool:
                return
            for name, planned in self.examined([base, *pool]).items():
                times = exceeded(planned, self.limits)
                if name in seen or planned.status:
                    continue
                if name == base or not times:
                    yield name, planned.seconds / self.at_once
                else:
                    over[name] = max(times.values())
            seen |= {base, *pool}

    def examined(self, names: Sequence[str]) -> dict[str, Planned]:
        """Return what is foreseen of a short training of each network, by its name."""
        suite = self.suite(variants=names, steps=STEPS, seeds=SEEDS[:1])
        with pipeline.plan(suite, execution=self.execution) as plan:
            self.at_once = plan.at_once
            scored = [one for one in plan.planned if one.probe.scores]
            return {one.names[0]: one for one in scored}

    def quick_enough(self, stage: str, names: Sequence[str]) -> list[str]:
        """Time networks; return those that keep the limits, and the baseline."""
        self.progress.waiting(f"{stage}: timing {counted(len(names), 'network')}")
        suite = self.suite(variants=names, probes=("cost", "speed"), speed_s=TIMED_S)
        kept = self.kept(self.executed(f"{stage}-timed", suite, self.left_s(stage)))
        base = self.space.base.name
        return [name for name in names if name in kept or name == base]

    def kept(self, run: Path) -> set[str]:
        """Return the networks of a run that keep the limits, as far as it measured them."""
        from unet_bench.analysis.front import networks_of
        from unet_bench.store.figures import Peers
        from unet_bench.store.runs import read_runs

        found = set()
        for group in networks_of(read_runs([run]).results).values():
            networks = [one for one in group if not one.is_trivial]
            baseline = Peers(tuple(networks)).baseline
            for one in networks:
                if not fit(one, baseline, self.limits).over:
                    found.add(one.variant)
        return found

    def confirm(self, finalists: Sequence[str], before: Path) -> Path:
        """Train the finalists and the baseline with fresh seeds, score test images; return the run.

        Where there is no time for as many steps as they had, there are fewer finalists, and seeds.
        """
        if "confirmed" in self.spent_s or self.folder_of("confirmed"):
            return self.finish("confirmed")
        base = self.space.base.name
        left_s = RESERVE * self.left_s("confirmed") * self.at_once_of(before)
        had, step_s = paces(before)
        plans = itertools.product(range(len(finalists), 0, -1), (len(FRESH_SEEDS), 2))
        for count, seeds in plans:
            names = list(dict.fromkeys([base, *finalists[:count]]))
            all_s = seeds * sum(step_s.get(name, max(step_s.values())) for name in names)
            steps = int(left_s / all_s)
            if steps >= min(had, STEPS * LONGER):
                break
        steps = max(STEPS, min(steps, had * MOST_CONFIRMED))
        suite = replace(
            self.suite(variants=names, steps=steps, seeds=FRESH_SEEDS[:seeds], score="test"),
            probes=(),
            floors=True,
            keep_weights=True,
        )
        self.progress.waiting(
            f"confirmed: {', '.join(names)}: {steps} steps, {seeds} fresh seeds, test images"
        )
        return self.finish("confirmed", suite)

    def at_once_of(self, run: Path) -> int:
        """Return how many trainings ran side by side."""
        if not self.at_once:
            with pipeline.plan(pipeline.suite_of_run(run), execution=self.execution) as plan:
                self.at_once = plan.at_once
        return self.at_once

    def suite(self, **fields: Any) -> Suite:
        """Return a suite of this search: what was asked for, and a stage's own fields."""
        of_round = {
            "probes": ("cost", "accuracy"),
            "seeds": SEEDS,
            "score": "validation",
            "floors": False,
            "limit_tmac": 0.0,
            "examples": 0,
        }
        own = {**of_round, **fields, "baseline": self.space.base.name}
        return from_options({**self.request.suite, **own})

    def left_s(self, stage: str) -> float:
        """Return the seconds until a stage ends."""
        end = self.begun + ENDS[stage] * parse_budget(self.request.budget)
        return max(1.0, end - time.monotonic())

    def folder_of(self, stage: str) -> Path | None:
        """Return the run of a stage that was begun."""
        begun = sorted((self.path / stage).glob(f"*/{MANIFEST}"))
        return begun[-1].parent if begun else None

    def finish(self, stage: str, suite: Suite | None = None) -> Path:
        """Run a stage to its end, if it is not there yet, and note that it is finished."""
        folder = self.folder_of(stage)
        if stage in self.spent_s and folder:
            return folder
        folder = self.executed(stage, suite, self.left_s(stage))
        self.spent_s[stage] = time.monotonic() - self.begun - sum(self.spent_s.values())
        self.save()
        return folder

    def executed(self, stage: str, suite: Suite | None, seconds: float) -> Path:
        """Run a suite, or go on with the run that a stage has begun; return its folder."""
        begun = self.folder_of(stage)
        if begun:
            suite, recipe = pipeline.suite_of_run(begun), pipeline.recipe_of_run(begun)
        else:
            recipe = None
        assert suite is not None
        execution = replace(self.execution, time_limit_s=seconds, begun=time.monotonic())
        with pipeline.plan(suite, recipe, execution) as plan:
            done = pipeline.execute(plan, self.path / stage, self.progress, begun, execution)
        return done.path


def first_rung(networks: int) -> float:
    """Return which part of a round's time its first rung may take, for so many networks.

    A third of them, three at least, are trained three times as long in each further one.
    """
    going = min(1.0, max(GO_ON, FEWEST_GO_ON / networks))
    return SPARE / (1 + (RUNGS - 1) * LONGER * going)


def exceeded(planned: Planned, limits: Budget) -> dict[str, float]:
    """Return how many times over its limits a network is, by what is known without running it."""
    known = {
        "params": planned.params,
        "macs": planned.macs,
        "peak_memory_mib": planned.predicted_mib,
        "train_peak_memory_mib": planned.predicted_train_mib,
    }
    found = {}
    for limit, value in limits.limits():
        figure = known.get(limit.column)
        if figure is not None and figure * limit.factor > value:
            found[limit.option] = figure * limit.factor / value
    return found


def trainings(run: Path) -> list[Row]:
    """Return the rows of a run's trainings that ended well."""
    return [
        row
        for row in latest(iterate_rows(run)).values()
        if row["probe"] == "accuracy" and row["status"] == "ok" and not row.get("trivial")
    ]


def networks_in(run: Path) -> set[str]:
    """Return the networks that a run trained."""
    return {row["variant"] for row in trainings(run)}


def of_rung(run: Path, rung: int) -> dict[str, float]:
    """Return the mean Dice of each network that was trained in a rung."""
    found: dict[str, list[float]] = {}
    for row in trainings(run):
        if row.get("rung") == rung and row.get("dice") is not None:
            found.setdefault(row["variant"], []).append(row["dice"])
    return {name: fmean(values) for name, values in found.items()}


def reached(run: Path) -> dict[str, tuple[int, float]]:
    """Return the last rung that each network of a race reached, and its Dice there."""
    found: dict[str, tuple[int, float]] = {}
    for rung in range(1, RUNGS + 1):
        found |= {name: (rung, dice) for name, dice in of_rung(run, rung).items()}
    return found


def paces(run: Path) -> tuple[int, dict[str, float]]:
    """Return the steps of the longest trainings, and the seconds a step of each network took."""
    longest, step_s = 0, dict[str, float]()
    for row in sorted(trainings(run), key=lambda row: row["rung"]):
        steps = int(row["budget"].split()[0])
        longest = max(longest, steps)
        step_s[row["variant"]] = (row.get("wall_s") or 0.0) / steps
    return longest, step_s
