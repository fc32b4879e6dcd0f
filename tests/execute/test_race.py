"""Races: who is trained in which rung, what rows say of it, and that a broken race goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
import pytest
from support.sampling import sampled

from unet_bench import pipeline, run
from unet_bench.analysis.recommend import recommend
from unet_bench.errors import InvalidSuite
from unet_bench.execute.driver import Finished, Quiet
from unet_bench.execute.jobs import Ended, Event, Job, Started
from unet_bench.execute.options import ExecutionOptions
from unet_bench.plan.cells import Plan
from unet_bench.present.explanation import steps
from unet_bench.present.table import results_document
from unet_bench.spec.suite import from_dict
from unet_bench.store.runs import read_runs
from unet_bench.store.tables import read_results

TINY = {
    "data": ["cells"],
    "size": "32x32",
    "width_scale": 0.0625,
    "batch": 2,
    "threads": 1,
    "floors": False,
    "probes": ["accuracy"],
}
NAMES = ["unet", "unet-add", "unet-bilinear", "unet-no-skip"]
GOOD = dict(zip(NAMES, (0.80, 0.81, 0.79, 0.40), strict=True))
Score = Callable[[str, int, int], float | None]


def dice_of(name: str, steps: int, seed: int) -> float | None:
    """More steps are better; seeds lie 0.02 apart, not alike for all."""
    return GOOD[name] + 0.001 * math.log(steps) + 0.02 * ((len(name) + seed) % 2)


class Instant:
    """An executor that trains nothing: a cell's Dice is what `score` says, None a failure."""

    remote = False
    ending_s = 0.0

    def __init__(
        self, score: Score, most: float = math.inf, each_s: float = 0.0, says_s: float = 0.0
    ) -> None:
        self.score, self.left, self.each_s, self.says_s = score, most, each_s, says_s
        self.ran: list[tuple[str, int, int]] = []
        self.probes: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        pass

    def device(self, wanted: str) -> str:
        return "cpu"

    def at_once(self, device: str, threads: int) -> int:
        return 1

    def run(self, jobs: Sequence[Job], until: float = math.inf) -> Iterator[Event]:
        for job in jobs:
            if time.monotonic() >= until:
                return
            if self.left <= 0:
                raise KeyboardInterrupt
            self.left -= 1
            yield Started(job)
            time.sleep(self.each_s)
            of = job.cell["variant"]["name"], job.cell["protocol"]["steps"], job.cell["seed"]
            self.probes.append(str(job.cell["probe"]))
            if job.cell["probe"] != "accuracy":
                yield Ended(job, {"status": "ok", "wall_s": self.each_s})
                continue
            self.ran.append(of)
            dice = self.score(*of)
            result = {"status": "ok", "dice": dice} if dice else {"status": "nonfinite"}
            yield Ended(job, result | {"wall_s": self.says_s})


@pytest.fixture(scope="module")
def plans() -> Iterator[Callable[..., Plan]]:
    """Plans by the options of a suite, each made once."""
    made: dict[str, Plan] = {}
    with ExitStack() as stack:

        def plan(**options: Any) -> Plan:
            key = str(options)
            if key not in made:
                suite = from_dict({"variants": NAMES, **TINY, "seeds": [0, 1], **options})
                made[key] = stack.enter_context(pipeline.plan(suite))
            return made[key]

        yield plan


def race(
    plan: Plan, out: Path, executor: Instant, resume: Path | None = None, limit_s: float = math.inf
) -> Finished:
    options = ExecutionOptions(time_limit_s=limit_s)
    plan = replace(plan, executor=executor)
    return pipeline.execute(plan, out, Quiet(), resume, options)


def fates(path: Path) -> dict[tuple[str, int], str]:
    """What became of each network after a rung."""
    frame = read_results(path)
    return dict(zip(zip(frame["variant"], frame["rung"], strict=True), frame["race"], strict=True))


def test_who_is_clearly_behind_stops_and_the_others_train_longer(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    executor = Instant(dice_of)
    found = fates(race(plans(rungs=[10, 30, 90]), tmp_path, executor).path)
    going = NAMES[:3]
    assert found.pop(("unet-no-skip", 1)).startswith("stopped: clearly behind unet-add, by 0.4")
    assert found == {(name, rung): "went on" for name in going for rung in (1, 2)} | {
        (name, 3): "finished" for name in going
    }
    trained = {(name, 10, seed) for name in NAMES for seed in (0, 1)}
    trained |= {(name, steps, seed) for name in going for steps in (30, 90) for seed in (0, 1)}
    assert sorted(executor.ran) == sorted(trained)


@pytest.mark.slow
def test_a_large_field_has_a_second_seed_for_some_only_and_the_best_have_both(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    several = [f"unet-{name}" for name in ("residual", "instance", "shallow", "narrow", "light")]
    names = [*NAMES, *several, "unet-separable", "segnet", "unet-cascade"]
    plan = plans(variants=[name for name in names if name != "unet-cascade"], rungs=[10, 30])
    executor = Instant(lambda name, steps, seed: 0.7 + 0.002 * ((len(name) + seed) % 2))
    race(plan, tmp_path, executor)
    first = [name for name, steps, seed in executor.ran if (steps, seed) == (10, 1)]
    assert len(first) == 8
    assert "unet" in first
    both = {name for name, steps, seed in executor.ran if (steps, seed) == (30, 1)}
    assert both == {name for name, *_ in executor.ran} > set(first)


def test_a_network_that_fails_stops_and_does_not_lead(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    def score(name: str, steps: int, seed: int) -> float | None:
        diverged = name == "unet-add" and (steps, seed) == (30, 1)
        return None if diverged else dice_of(name, steps, seed)

    found = fates(race(plans(rungs=[10, 30, 90]), tmp_path, Instant(score)).path)
    assert found["unet-add", 1] == "went on"
    assert found["unet-add", 2] == "stopped: failed"
    assert found["unet", 3] == found["unet-bilinear", 3] == "finished"


def test_sizes_are_races_of_their_own(plans: Callable[..., Plan], tmp_path: Path) -> None:
    """Where images are larger than both, their hash is one, too."""

    class Sized(Instant):
        def run(self, jobs: Sequence[Job], until: float = math.inf) -> Iterator[Event]:
            for event in super().run(jobs, until):
                size = event.job.cell["task"]["scored"][0] if isinstance(event, Ended) else 0
                if isinstance(event, Ended) and size == 16:  # there the last one is the best
                    name = event.job.cell["variant"]["name"]
                    event.result["dice"] = dice_of(NAMES[3 - NAMES.index(name)], 10, 0)
                yield event

    plan = plans(size="32x32,16x16", rungs=[10, 30])
    frame = read_results(race(plan, tmp_path, Sized(dice_of)).path)
    last = frame[frame["rung"] == 2]
    assert set(last[last["scored_height"] == 32]["variant"]) == set(NAMES[:3])
    assert "unet-no-skip" in set(last[last["scored_height"] == 16]["variant"])


def test_a_seed_that_failed_and_is_well_at_the_next_try_counts(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    def once_failed(name: str, steps: int, seed: int) -> float | None:
        return None if (name, steps, seed) == ("unet-add", 10, 1) else dice_of(name, steps, seed)

    plan = plans(rungs=[10, 30])
    path = race(plan, tmp_path, Instant(once_failed)).path
    assert fates(path)["unet-add", 1] == "stopped: failed"
    race(plan, tmp_path, Instant(dice_of), resume=path)
    assert fates(path)["unet-add", 2] == "finished"
    assert fates(path)["unet-add", 1] == "went on"


def test_a_race_without_rivals_in_sight_is_not_out_of_time(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = plans(variants=["unet"], rungs=[10, 30], time_budget="1h")
    assert fates(race(plan, tmp_path, Instant(dice_of)).path)["unet", 2] == "finished"


def test_who_was_left_out_for_lack_of_time_stays_out(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = plans(rungs=[10, 30], time_budget="1h")
    left_out = [
        replace(p, status="skipped", reason="dear") if p.names[0] == "unet-add" else p
        for p in plan.planned
    ]
    path = race(replace(plan, planned=left_out), tmp_path, Instant(dice_of)).path
    again = Instant(dice_of)
    race(plan, tmp_path, again, resume=path)
    assert again.ran == []
    frame = read_results(path).set_index("variant")
    assert list(frame.loc[["unet-add"], "accuracy_status"]) == ["skipped"]
    assert frame.loc[["unet-add"], "race"].isna().all()


def test_in_the_middle_of_a_rung_everybody_is_shown_and_the_whole_rung_answers(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    """Eight trainings, and one of the second rung: who went on is shown where it was trained."""
    with suppress(KeyboardInterrupt):
        race(plans(rungs=[10, 30]), tmp_path, Instant(dice_of, 10))
    [path] = tmp_path.iterdir()
    runs = read_runs([path])
    shown = str(results_document(runs.results).rendered("md"))
    assert all(shown.count(f"| {name} ") == 1 for name in NAMES if name != "unet")
    [advice] = recommend(runs)
    assert advice.conditions["budget"] == "10 steps"
    assert advice.best
    assert advice.best.variant == "unet-add"


def test_what_would_make_an_answer_sure_is_an_ordinary_run(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    """Of the last rung's steps: another race would stop what it is to tell apart."""
    runs = read_runs([race(plans(rungs=[10, 30]), tmp_path, Instant(dice_of)).path])
    commands = [command for _, command in steps(recommend(runs)[0]) if command]
    assert commands
    for command in commands:
        assert "--steps 30" in command
        assert not {"--race", "--rungs", "--budget"} & {*command.split()}


def test_what_cannot_run_takes_no_part(plans: Callable[..., Plan], tmp_path: Path) -> None:
    said = []

    class Hearing(Quiet):
        def waiting(self, reason: str) -> None:
            said.append(reason)

    plan = plans(variants=[*NAMES, "unet3d"], rungs=[10, 30, 90])
    executor = Instant(dice_of)
    path = pipeline.execute(replace(plan, executor=executor), tmp_path, Hearing()).path
    assert said == [
        "rung 1 of 3: 3 of 4 networks go on (1 clearly behind)",
        "rung 2 of 3: 3 of 3 networks go on",
    ]
    frame = read_results(path).set_index("variant")
    assert list(frame.loc[["unet3d"], "accuracy_status"]) == ["unsupported"]
    assert frame.loc[["unet3d"], "race"].isna().all()


def test_the_baseline_goes_on_however_far_behind(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    score = {**GOOD, "unet": 0.3}
    executor = Instant(lambda name, steps, seed: score[name] + 0.02 * ((len(name) + seed) % 2))
    found = fates(race(plans(rungs=[10, 30]), tmp_path, executor).path)
    assert found["unet", 2] == "finished"
    assert found["unet-no-skip", 1].startswith("stopped: clearly behind")


@pytest.mark.parametrize("most", sampled([1, 5, 8, 9, 12, 15], {8, 12}))
def test_a_race_that_was_ended_goes_on_as_if_unbroken(
    plans: Callable[..., Plan], tmp_path: Path, most: int
) -> None:
    plan = plans(rungs=[10, 30, 90])
    whole = read_runs([race(plan, tmp_path / "whole", Instant(dice_of)).path])
    broken = Instant(dice_of, most)
    with suppress(KeyboardInterrupt):
        race(plan, tmp_path / "broken", broken)
    [path] = (tmp_path / "broken").iterdir()
    rest = Instant(dice_of)
    race(plan, tmp_path, rest, resume=path)
    assert len(broken.ran) == most
    assert len(broken.ran) + len(rest.ran) == len(whole.cells)
    shown = ["variant", "rung", "budget", "seed", "dice", "race"]
    pd.testing.assert_frame_equal(read_runs([path]).cells[shown], whole.cells[shown])


def test_what_was_decided_stands_when_a_race_goes_on(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    """There may be more time then than there was: two would not know what they are compared by."""
    plan = plans(rungs=[10, 30], time_budget="1h")
    slow = replace(plan, planned=[replace(p, seconds=1.0) for p in plan.planned])
    path = race(slow, tmp_path, Instant(dice_of, says_s=1.0), limit_s=5.0).path
    before = fates(path)
    assert sum("no time" in text for text in before.values()) == 1
    again = Instant(dice_of)
    race(plan, tmp_path, again, resume=path)
    assert (fates(path), again.ran) == (before, [])


@pytest.mark.parametrize(("limit_s", "places"), [(100.0, 3), (5.0, 2), (3.0, 0), (1.0, 0)])
def test_a_budget_has_places_for_the_baseline_and_the_best(
    plans: Callable[..., Plan], tmp_path: Path, limit_s: float, places: int
) -> None:
    """Trainings are foreseen to take a second each, of which a network has two."""
    plan = plans(rungs=[10, 30], time_budget="1h")
    plan = replace(plan, planned=[replace(p, seconds=1.0) for p in plan.planned])
    executor = Instant(dice_of, says_s=1.0)
    path = race(plan, tmp_path, executor, limit_s=limit_s).path
    found = fates(path)
    [advice] = recommend(read_runs([path]))
    counts = [f.values for f in advice.findings if f.kind == "race"]
    others = [(of["here"], of["behind"], of["no_time"]) for of in counts]
    assert others == ([(places, 1, 3 - places)] if places else [])
    going = [name for name in NAMES if found[name, 1] == "went on"]
    assert going == ["unet", "unet-add", "unet-bilinear"][:places]
    without = {found[name, 1] for name in NAMES[:3]} - {"went on"}
    assert all(text.startswith("stopped: no time left") for text in without)


def test_timings_that_would_take_the_trainings_time_come_last(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    """Four of them take 0.7 s each, and there are 4 s in all."""
    plan = plans(probes=["speed", "accuracy"], rungs=[10, 30], time_budget="1h")
    plan = replace(plan, planned=[replace(p, seconds=0.0) for p in plan.planned])

    class SlowlyTimed(Instant):
        def run(self, jobs: Sequence[Job], until: float = math.inf) -> Iterator[Event]:
            for event in super().run(jobs, until):
                if isinstance(event, Started) and event.job.timed:
                    time.sleep(0.7)
                yield event

    executor = SlowlyTimed(dice_of)
    done = race(plan, tmp_path, executor, limit_s=4.0)
    first = executor.probes.index("accuracy")
    assert 1 <= first < 4
    assert executor.probes[-1] == "speed"
    assert executor.probes.count("speed") == 4
    assert not done.left
    assert set(read_results(done.path)["speed_status"]) == {"ok"}


def test_later_rungs_are_left_out_when_time_is_up(
    plans: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = plans(rungs=[10, 30, 90])
    done = race(plan, tmp_path, Instant(dice_of, each_s=0.05), limit_s=0.3)
    assert done.left
    assert {p.cell.rung for p in done.left} == {1}
    assert set(read_results(done.path)["rung"]) == {1}


def test_a_race_of_one_has_no_rivals(plans: Callable[..., Plan], tmp_path: Path) -> None:
    found = fates(race(plans(variants=["unet"], rungs=[10, 30]), tmp_path, Instant(dice_of)).path)
    assert found == {("unet", 1): "went on", ("unet", 2): "finished"}


def test_equal_networks_all_go_on(plans: Callable[..., Plan], tmp_path: Path) -> None:
    executor = Instant(lambda name, steps, seed: 0.5)
    found = fates(race(plans(rungs=[10, 30]), tmp_path, executor).path)
    assert [text for (_, rung), text in found.items() if rung == 1] == ["went on"] * 4


def test_a_rungs_training_is_what_the_same_training_gives_alone(tmp_path: Path) -> None:
    options = {**TINY, "seeds": [0, 1], "size": "32x32"}
    raced = run(["unet", "unet-add"], out=tmp_path, rungs=[2, 5], **options)
    alone = run(["unet", "unet-add"], out=tmp_path, steps=2, **options)
    of_rung, figures = raced[raced["budget"] == "2 steps"], ["variant", "dice", "dice_difference"]
    assert of_rung[figures].reset_index(drop=True).equals(alone[figures].reset_index(drop=True))
    # Who else is in the last rung depends on the processor's rounding; the baseline always is.
    last = raced[(raced["budget"] == "5 steps") & (raced["variant"] == "unet")]
    alone = run(["unet"], out=tmp_path, steps=5, **options)
    assert list(last["dice"]) == list(alone["dice"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"race": True, "seeds": [0]}, "two seeds or more"),
        ({"race": True, "epochs": 2}, "leave out epochs"),
        ({"rungs": [30, 10]}, "each larger than the one before"),
        ({"rungs": [1, 2, 3, 4, 5, 6, 7]}, "at most 6 numbers"),
        ({"time_budget": "soon"}, "write 9m, 1h30m, 540s"),
        ({"time_budget": "1s"}, "budget 1s is too small"),
    ],
)
def test_what_cannot_be_raced(options: dict[str, Any], words: str) -> None:
    suite = {"variants": NAMES[:2], **TINY, **options}
    with pytest.raises(InvalidSuite, match=words), pipeline.plan(from_dict(suite)):
        pass
