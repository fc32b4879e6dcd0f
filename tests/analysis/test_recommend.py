"""The best network under a budget, what is as good, the next step up, and what to measure to be
sure.
"""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from support.growth import growth
from support.paths import ROOT

from unet_bench.analysis.budget import Budget
from unet_bench.analysis.candidates import ONE_SEED
from unet_bench.analysis.recommend import Recommendation, recommend
from unet_bench.cli.options import Chosen, PanelledCommand, with_options
from unet_bench.errors import InvalidSuite, StoreError, UnknownName
from unet_bench.execute.options import ExecutionOptions
from unet_bench.present.explanation import command, notes, steps, verdicts
from unet_bench.present.recommend import COLUMNS, recommend_document, table
from unet_bench.spec.option import options
from unet_bench.spec.suite import Suite, from_options
from unet_bench.store.runs import Runs, read_runs
from unet_bench.store.tables import cells_frame, results_frame, typed_table

QUICK = ROOT / "results" / "reference" / "quick-cpu"
MANIFEST = {
    "run_id": "r",
    "suite": Suite(variants=("all",), models=("net:Mine",), data=("my brains", "brain"))
    .resolved(on_gpu=False)
    .to_dict(),
}

Row = dict[str, Any]


def network(
    variant: str,
    dice: Sequence[float | None] = (0.8,),
    ms: float | None = 10.0,
    mib: float | None = 100.0,
    *,
    half: float = 0.01,
    wide: float = 0.02,
    folds: int = 1,
    **values: Any,
) -> list[Row]:
    """The cells of a network, a Dice for each (fold, seed); `half` and `wide` (a part) are halves
    of the intervals.

    The baseline takes 10 ms.
    """
    shared = {
        "schema_version": 1,
        "run_id": "r",
        "variant": variant,
        "task": "t",
        "dataset_hash": "t",
        "baseline": "unet",
    }
    shared |= {
        "recipe": "short",
        "batch_requested": 4,
        "batch_effective": 4,
        "status": "ok",
        "quality": "clean",
        **values,
    }
    rows = [
        {
            "probe": "accuracy", "seed": n // folds, "dice": x,
            "fold": f"{n % folds}/{folds}" if folds > 1 else None,
            "dice_ci_low": None if x is None else x - half,
            "dice_ci_high": None if x is None else x + half,
            "status": "ok" if x is not None else "nonfinite",
        }
        for n, x in enumerate(dice)
    ]  # fmt: skip
    if ms is not None:
        ends = {"latency_ci_low_ms": ms * (1 - wide), "latency_ci_high_ms": ms * (1 + wide)}
        times = {"latency_ms": ms, **ends} if shared["quality"] == "clean" else {}
        ratio = {"latency_ratio": ms / 10, "latency_ratio_ci_low": ms / 10 * (1 - wide)}
        rows.append(
            {"probe": "speed", **times, **ratio, "latency_ratio_ci_high": ms / 10 * (1 + wide)}
        )
    if mib is not None:
        rows.append({"probe": "memory", "peak_memory_mib": mib, "train_peak_memory_mib": 4 * mib})
    rows.append({"probe": "cost", "params": 2_000_000, "macs": 3_000_000_000})
    rows = [{**shared, **row} for row in rows]
    return [{**row, "cell_id": f"{n} {row}"} for n, row in enumerate(rows)]


def runs_of(
    *networks: list[Row], manifest: Mapping[str, Any] = MANIFEST, cells: bool = True
) -> Runs:
    rows = [row for rows in networks for row in rows]
    own = cells_frame(rows) if cells else typed_table("cells")
    found = {"r": Path("results/r")}
    return Runs(results_frame(rows, manifest), own, typed_table("classes"), found, {"r": manifest})


def only(*networks: list[Row], **budget: float) -> Recommendation:
    [found] = recommend(runs_of(*networks), Budget(**budget))
    return found


def roles(found: Recommendation) -> dict[str, str]:
    return {option.variant: option.role for option in found.options}


def said(found: Recommendation) -> str:
    return "\n".join(
        (*verdicts(found), *(f"{why}: {how}" for why, how in steps(found)), *notes(found))
    )


def text_of(shown: Any) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined]


# ---- the choice


def test_the_best_dice_under_the_budget_and_the_step_up() -> None:
    found = only(
        network("unet", [0.80]),
        network("large", [0.90], ms=30),
        network("huge", [0.95], ms=80),
        network("small", [0.70], ms=5),
        max_latency_ms=20,
    )
    assert roles(found) == {"unet": "best", "small": "worse", "large": "step up"}
    assert len(found.candidates.within) == 2
    assert "Dice 0.100 higher (apparently: one seed), and over the budget by latency 1.50×" in said(
        found
    )
    assert only(network("unet", [0.8]), network("large", [0.9], ms=30)).best.variant == "large"  # type: ignore[union-attr]


def test_a_sure_step_up_goes_before_a_nearer_one() -> None:
    found = only(
        network("unet", [0.80, 0.82, 0.84]),
        network("nearer", [0.80, 0.83, 0.842], ms=21),
        network("surer", [0.85, 0.872, 0.89], ms=30),
        network("surest", [0.85, 0.872, 0.89], ms=40),
        max_latency_ms=20,
    )
    assert roles(found) == {"unet": "best", "surer": "step up"}
    assert "0.051 higher (separably), and over the budget by latency 1.50×" in said(found)


limits = st.sampled_from(
    [
        "max_latency_ms",
        "max_memory_mib",
        "max_train_memory_mib",
        "max_params_m",
        "max_gmacs",
        "min_dice",
    ]
)


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 0.9), st.floats(1, 50), st.floats(1, 500)), min_size=1, max_size=6
    ),
    st.dictionaries(limits, st.floats(0.05, 1), max_size=3),
)
def test_the_best_fits_and_nothing_that_fits_is_better(
    drawn: list[tuple[float, ...]], shares: dict[str, float]
) -> None:
    tops = {
        "max_latency_ms": 50,
        "max_memory_mib": 500,
        "max_train_memory_mib": 2000,
        "max_params_m": 4,
        "max_gmacs": 6,
    }
    budget = {name: share * tops.get(name, 1) for name, share in shares.items()}
    found = only(
        *(network(f"v{n}", [d], ms=ms, mib=mib) for n, (d, ms, mib) in enumerate(drawn)), **budget
    )
    fitting = [
        d
        for d, ms, mib in drawn
        if ms <= budget.get("max_latency_ms", ms)
        and mib <= budget.get("max_memory_mib", mib)
        and 4 * mib <= budget.get("max_train_memory_mib", 4 * mib)
        and budget.get("max_params_m", 2) >= 2
        and budget.get("max_gmacs", 3) >= 3
        and d >= budget.get("min_dice", 0)
    ]
    assert len(found.candidates.within) == len(fitting)
    assert (found.best.network.row["dice"] if found.best else None) == max(fitting, default=None)


def test_as_good_by_pairs_although_seeds_move_both_far() -> None:
    """Seeds move all by 0.1; in pairs `twin` cannot be told from the best, `less` is lower for
    sure.
    """
    seeds = [0.7, 0.8, 0.9]
    found = only(
        network("unet", [0.5, 0.6, 0.7]),
        network("best", seeds, ms=20),
        network(
            "twin",
            [d - e for d, e in zip(seeds, (0.004, -0.003, 0.002), strict=True)],
            ms=10,
            mib=50,
        ),
        network("less", [d - e for d, e in zip(seeds, (0.020, 0.021, 0.019), strict=True)], ms=10),
    )
    assert roles(found) == {"best": "best", "twin": "as good", "less": "worse", "unet": "worse"}
    assert "twin is equally good within error, and 2.00× faster and takes 50 % less memory" in said(
        found
    )
    gaps = {option.variant: option.gap for option in found.options}
    assert gaps["less"] is not None
    assert (gaps["less"].verdict, gaps["less"].pairs) == ("separable", 3)


def test_the_cheapest_of_those_as_good_comes_first() -> None:
    others = [network("a", [0.795], ms=20), network("b", [0.79], ms=10)]
    found = only(network("unet", [0.7]), network("top", [0.8], ms=30), *others)
    assert list(roles(found)) == ["top", "b", "a", "unet"]
    assert "b is equally good within error, and 3.00× faster; as good, too: a" in said(found)
    level = only(network("unet", [0.8], ms=10), network("a", [0.79], ms=10.1))  # within error
    assert "equally good within error, but not cheaper: a" in said(level)
    mixed = only(network("unet", [0.8], ms=10), network("a", [0.79], ms=20, mib=50))
    assert "a is equally good within error, and 2.00× slower but takes 50 % less memory" in said(
        mixed
    )


def test_one_seed_proves_nothing_and_says_so() -> None:
    near, far = 0.8 - 0.9 * ONE_SEED, 0.8 - 2 * ONE_SEED
    found = only(
        network("unet", [0.8], half=0.001),
        network("near", [near], half=0.001),
        network("far", [far], half=0.001),
    )
    assert roles(found) == {"unet": "best", "near": "as good", "far": "worse"}
    assert "one seed proves no difference" in said(found)
    wide = only(network("unet", [0.8], half=0.05), network("far", [far], half=0.05))
    assert roles(wide) == {
        "unet": "best",
        "far": "unclear",
    }  # a wide interval makes nothing as good
    assert "0.036 behind, but cannot be told apart from the best yet: far" in said(wide)


def test_without_cells_intervals_are_compared_and_that_is_said() -> None:
    rows = network("unet", [0.80, 0.81, 0.82]), network("v", [0.60, 0.61, 0.62])
    [found] = recommend(runs_of(*rows, cells=False))
    assert roles(found) == {"unet": "best", "v": "worse"}
    assert "nothing is paired" in said(found)


# ---- the budget


def test_an_interval_that_straddles_the_budget_is_marked() -> None:
    found = only(network("unet", ms=10, wide=0.1), max_latency_ms=10.5)
    assert found.best is not None
    assert [limit.label for limit in found.best.fit.unsure] == ["latency"]
    assert "within error of the budget in latency" in said(found)
    assert "--probes speed" in said(found)
    assert not only(network("unet", ms=10, wide=0.1), max_latency_ms=12).best.fit.unsure  # type: ignore[union-attr]


def test_latency_is_estimated_from_the_ratio_where_the_machine_was_busy() -> None:
    busy = network("v", [0.9], ms=20, quality="contaminated")
    found = only(network("unet", ms=10), busy, max_latency_ms=30)
    assert found.best is not None
    assert found.best.variant == "v"
    assert found.best.latency is not None
    assert (found.best.latency.value, found.best.is_estimated) == (pytest.approx(20), True)
    assert "unet-bench run --resume results/r --rerun contaminated" in said(found)
    assert "~20" in text_of(recommend_document([found]).rendered())
    both = only(network("unet", ms=10, quality="contaminated"), busy, max_latency_ms=30)
    assert both.best is None
    assert "no network has a figure for latency" in said(both)
    assert len(list(steps(both))) == 1  # they were timed: what helps is to time them again
    recompiled = [{**row, "quality": "recompiled"} for row in network("unet", ms=10)]
    assert only(recompiled, busy, max_latency_ms=30).best.variant == "unet"  # type: ignore[union-attr]


def test_nothing_fits_and_the_nearest_is_told() -> None:
    found = only(
        network("unet", ms=30, mib=100),
        network("near", ms=12, mib=90),
        network("far", ms=90),
        max_latency_ms=10,
        max_memory_mib=60,
    )
    assert found.best is None
    assert list(roles(found).items()) == [
        ("near", "nearest"),
        ("unet", "nearest"),
        ("far", "nearest"),
    ]
    assert "nothing fits --max-latency-ms 10 --max-memory-mib 60" in said(found)
    assert "over the budget by latency 1.20×, inference memory 1.50×" in said(found)
    short = only(network("unet", [0.8]), min_dice=0.9)
    assert "Dice 0.100 short" in said(short)


def test_what_nobody_measured_cannot_be_recommended_and_is_named() -> None:
    found = only(network("unet", [0.7]), network("v", [0.9], mib=None), max_memory_mib=200)
    assert roles(found) == {"unet": "best"}
    assert "there is no inference memory of v" in said(found)


def test_what_failed_is_left_out_and_named() -> None:
    found = only(network("unet", [0.7, 0.7]), network("v", [0.9, None]))
    assert roles(found) == {"unet": "best"}
    assert "left out, since a cell failed: v (accuracy nonfinite)" in said(found)
    gone = only(network("unet", [None]))
    assert gone.goal == "latency"
    assert "no network has a Dice: unet is the fastest" in said(gone)
    assert "unet (accuracy nonfinite)" in said(gone)


@pytest.mark.parametrize("limit", ["max_latency_ms", "max_memory_mib", "max_params_m", "min_dice"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_a_number_above_zero(limit: str, value: float) -> None:
    with pytest.raises(InvalidSuite, match="above 0"):
        Budget(**{limit: value})


def test_dice_is_at_most_one() -> None:
    with pytest.raises(InvalidSuite, match="between 0 and 1"):
        Budget(min_dice=85)


# ---- trivial baselines, and runs without accuracy


def floor(dice: float) -> list[Row]:
    return network("floor-otsu", [dice], ms=None, mib=None)[:1]


def test_a_trivial_baseline_that_is_not_beaten_is_named() -> None:
    assert "no network that fits beats floor-otsu" in said(
        only(network("unet", [0.8]), floor(0.85))
    )
    assert "unet cannot be told apart from floor-otsu" in said(
        only(network("unet", [0.8]), floor(0.79))
    )
    assert "floor" not in said(only(network("unet", [0.8]), floor(0.5)))


def test_without_accuracy_the_fastest_then_the_leanest_is_recommended_and_that_is_said() -> None:
    fast = only(network("unet", [], ms=10), network("v", [], ms=5, mib=200))
    assert fast.goal == "latency"
    assert roles(fast) == {"v": "best", "unet": "worse"}
    assert "no network has a Dice: v is the fastest" in said(fast)
    lean = only(network("unet", [], ms=None), network("v", [], ms=None, mib=50))
    assert (lean.goal, lean.best.variant if lean.best else None) == ("peak_memory_mib", "v")
    assert "--probes cost,speed,memory,accuracy" in said(fast)


# ---- what to measure next


def test_seeds_that_would_settle_it_by_the_command_of_the_run() -> None:
    seeds = [0.80, 0.82, 0.84]
    noisy = [d - e for d, e in zip(seeds, (0.002, 0.010, 0.006), strict=True)]
    found = only(network("unet", seeds), network("v", noisy))
    [(why, how)] = steps(found)
    needed = found.options[1].gap.pairs_needed  # type: ignore[union-attr]
    assert needed is not None
    assert f"some {needed} trainings of each in place of 3" in why
    suite = suite_of(how)
    assert suite.variants == ("unet", "v")
    assert suite.seeds == tuple(range(needed))
    assert suite.data == ("my brains", "brain")


def test_folds_ask_for_folds() -> None:
    dice = [0.80, 0.82, 0.84]
    noisy = [d - e for d, e in zip(dice, (0.002, 0.010, 0.006), strict=True)]
    [(why, how)] = steps(only(network("unet", dice, folds=3), network("v", noisy, folds=3)))
    assert "further folds" in why
    assert not how


def suite_of(text: str) -> Suite:
    """Return the suite that `run` makes of a command."""
    found: list[Suite] = []

    @with_options(given=options(Suite), how=options(ExecutionOptions))
    def run(given: Chosen, how: Chosen) -> None:
        found.append(from_options(given))

    app = typer.Typer(add_completion=False)
    app.command(cls=PanelledCommand)(run)
    app(shlex.split(text)[2:], standalone_mode=False)
    return found[0]


def test_commands_are_quoted_complete_or_marked_as_not() -> None:
    assert command({}, ["a b"], seeds=(0, 1)) == "unet-bench run --variants 'a b' --seeds 0,1 …"
    asked = command(MANIFEST, ["v", "net:Mine"], probes=("speed",), only=True)
    assert asked == (
        "unet-bench run --variants v --model net:Mine --probes speed --preset quick "
        "--data 'my brains' --data brain --batch 4"
    )
    damaged = {"suite": {"no such field": 1}}
    assert command(damaged, ["v"]) == "unet-bench run --variants v …"


def test_a_command_asks_for_the_suite_of_the_run_and_what_is_changed() -> None:
    """Whatever the run was asked for: what its preset fills in is filled in again."""
    asked = Suite(
        base="unet",
        vary=("up=bilinear,transpose", "skip=none"),
        probes=("cost",),
        data=("-odd name", "it's"),
        train_s=7.5,
        interval=0.05,
        floors=False,
        batch=(4, 8),
        seeds=(3,),
    )
    for suite in (asked, Suite(preset="full"), Suite(recipe="default")):
        resolved = suite.resolved(on_gpu=False)
        assert suite_of(command({"suite": resolved.to_dict()}, [])).resolved(False) == resolved
        again = suite_of(command({"suite": resolved.to_dict()}, ["v"], probes=("energy",)))
        changes = {"variants": ("v",), "base": "", "vary": ()}
        probes = (*resolved.probes, "energy")
        assert again.resolved(False) == replace(resolved, **changes, probes=probes)


def test_a_command_names_the_executor_of_the_run() -> None:
    executor = {"name": "slurm", "devices": ["cuda:0"], "options": {"partition": "a b"}}
    assert command({**MANIFEST, "executor": executor}, []).startswith(
        "unet-bench run --executor slurm --devices cuda:0 --executor-option 'partition=a b' "
    )
    local = {"name": "local", "devices": [], "options": {}}
    assert command({**MANIFEST, "executor": local}, []) == command(MANIFEST, [])


# ---- groups, text, the command


def test_rows_that_may_not_be_compared_have_recommendations_of_their_own() -> None:
    found = recommend(
        runs_of(
            network("unet"),
            network("unet", task="u", dataset_hash="u"),
            network("unet", device="cuda"),
        )
    )
    assert len(found) == 3
    assert (
        len({text_of(recommend_document([one]).rendered()).splitlines()[0] for one in found}) == 3
    )
    nobody = recommend(runs_of(floor(0.5)))
    assert nobody == []
    assert "no network" in str(recommend_document(nobody).rendered("md"))


@pytest.mark.parametrize("format", ["table", "csv", "md", "json"])
def test_every_format_takes_hostile_names(format: str) -> None:
    names = ["[bold]unet[/bold]", "<script>", "a|b", "x" * 300, "\u202eabc", "two\nlines", "=cmd()"]
    found = recommend(
        runs_of(*(network(name, [0.8 + 0.001 * n]) for n, name in enumerate(names))),
        Budget(max_params_m=3),
    )
    shown = recommend_document(found).rendered(format)
    text = shown if isinstance(shown, str) else text_of(shown)
    assert "=cmd()" in text
    if format == "csv":
        assert list(pd.read_csv(io.StringIO(text))) == list(COLUMNS)
    if format == "json":
        [data] = json.loads(text)
        assert data["best"] == "=cmd()"
        assert len(data["options"]) == len(names)
    if format == "md":
        assert "- use =cmd()" in text
        assert not any(line.startswith("- ") and "as <script" in line for line in text.splitlines())
    if format == "table":
        assert "[bold]" in text


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UnknownName):
        recommend_document([]).rendered("pdf")


def test_the_command_says_by_its_exit_code_whether_anything_fits(
    unet_bench: Callable[..., Any],
) -> None:
    limits = ("--max-latency-ms", "42", "--max-memory-mib", "30")
    fits = unet_bench("recommend", str(QUICK), *limits)
    assert fits.returncode == 0
    assert "use unet-shallow" in fits.stdout
    assert "a step up is unet-valid-resize: Dice 0.006 higher (unproven)" in fits.stdout
    each = unet_bench("recommend", str(QUICK), *limits, "--no-correction")
    assert "a step up is unet-residual: Dice 0.048 higher (separably)" in each.stdout
    nothing = unet_bench("recommend", str(QUICK), "--max-latency-ms", "1", "--json")
    assert nothing.returncode == 1
    assert json.loads(nothing.stdout)[0]["best"] is None
    assert unet_bench("recommend", str(QUICK), "--max-latency-ms", "0").returncode == 2
    table_alone = unet_bench("recommend", str(QUICK / "results.csv"))
    assert table_alone.returncode == 0
    assert "nothing is paired" in table_alone.stdout


def test_recommendations_take_time_in_proportion_to_their_tasks() -> None:
    def runs(tasks: int) -> Runs:
        networks = [
            network(f"v{n}", [0.5 + 0.004 * n], ms=5 + n % 17, task=task, dataset_hash=task)
            for task in (f"t{number}" for number in range(tasks))
            for n in range(100)
        ]
        return runs_of(*networks)

    budget = Budget(max_latency_ms=15)
    found = recommend(runs(3), budget)
    assert len(found) == 3
    assert len(table(found)) > 3
    assert growth(lambda runs: recommend(runs, budget), runs, 16) < 1.5


def test_the_reference_run_without_a_budget() -> None:
    [found] = recommend(read_runs([QUICK]))
    assert found.best is not None
    assert found.best.variant == "unet-residual"
    assert "0.042 to 0.301 behind, but cannot be told apart from the best yet" in said(found)
    [each] = recommend(read_runs([QUICK], corrected=False))
    assert "0.061 to 0.301 behind, but cannot be told apart from the best yet" in said(each)


def test_seeds_that_would_settle_several_stand_in_one_command() -> None:
    rows = [
        network("unet", [0.80, 0.82, 0.81]),
        network("b", [0.74, 0.82, 0.78]),
        network("c", [0.73, 0.81, 0.79]),
    ]
    found = only(*rows)
    assert roles(found) == {"unet": "best", "b": "unclear", "c": "unclear"}
    [(words, command)] = [step for step in steps(found) if "to tell" in step[0]]
    assert "to tell unet apart from c, b" in words or "to tell unet apart from b, c" in words
    assert "unet,b,c" in command or "unet,c,b" in command


# ---- what is said is so


def test_a_named_network_whose_cell_failed_is_noted_though_nobody_asked() -> None:
    failed = [
        {**row, "status": "oom"} if row["probe"] == "speed" else row for row in network("b", [0.95])
    ]
    found = only(network("unet", [0.8]), failed)
    assert found.best is not None
    assert found.best.variant == "b"
    assert "not asked for, but a cell failed: b (speed oom)" in said(found)


def test_one_seed_of_either_is_no_proof() -> None:
    found = only(network("unet", [0.9, 0.9, 0.901]), network("b", [0.8]))
    assert "separably" not in said(found)
    assert "one seed proves nothing" in said(found)
    [(_, how)] = steps(found)
    assert "--variants unet,b" in how
    assert "--seeds 0,1,2" in how


def test_nothing_known_to_fit_names_first_what_is_over() -> None:
    budget = {"max_latency_ms": 20, "max_memory_mib": 200}
    neither = only(network("unet", ms=None), network("b", mib=None), **budget)
    assert "no network has all of latency and inference memory" in next(verdicts(neither))
    over = only(network("unet", mib=None), network("b", ms=100, mib=None), **budget)
    assert next(verdicts(over)) == "over the budget already by known figures: b (latency 5.00×)"
    assert "no other network has a figure for inference memory" in list(verdicts(over))[1]


def test_what_the_goal_does_not_use_leaves_nobody_out() -> None:
    found = only(network("unet", [None]), network("b", [None], ms=5))
    assert "left out" not in said(found)
    assert "all accuracy cells failed: unet (accuracy nonfinite), b (accuracy nonfinite)" in said(
        found
    )


def test_digits_tell_a_figure_from_its_limit() -> None:
    text = said(only(network("unet", ms=10.0001), max_latency_ms=10))
    assert "latency 1.00001×" in text
    assert "10.0001 ms" in text
    assert "0.0004 short: Dice 0.8496" in said(
        only(network("unet", [0.8496]), min_dice=0.85)
    ).replace(" (within error)", "")


def test_a_fence_is_never_left() -> None:
    names = ["unet", "```\n<img src=x onerror=alert(1)>\n```"]
    text = str(
        recommend_document(recommend(runs_of(*(network(name, [0.8]) for name in names)))).rendered(
            "md"
        )
    )
    assert "  ````\n  unet-bench run" in text
    assert not any(line.strip().startswith(("<img", "```<", "``` ")) for line in text.splitlines())


def test_the_batch_that_ran_tells_groups_apart() -> None:
    found = recommend(runs_of(network("unet"), network("b", batch_effective=2)))
    assert ["ran at batch 2" in text_of(recommend_document([one]).rendered()) for one in found] == [
        False,
        True,
    ]


def test_a_frame_is_no_run_and_what_is_shown_is_its_own_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from unet_bench.present import notebook

    with pytest.raises(StoreError, match="DataFrame is not a run"):
        notebook.recommend(pd.DataFrame({"variant": ["unet"]}))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="int is not a run"):
        notebook.rank(3)  # type: ignore[arg-type]
    found = notebook.recommend(runs_of(network("unet")))
    assert repr(found) == str(found)
    assert repr(found.groups[0]) == str(found.groups[0])
