"""The Pareto front and its probabilities, average ranks over data sets, their picture, and the
U-Score.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from math import inf, isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from support.growth import growth
from support.paths import FILES, ROOT

from unet_bench.analysis.front import DIMENSIONS, Front, ScoresByVariant
from unet_bench.analysis.front import front as front_of
from unet_bench.analysis.rank import COLUMNS, rank, rank_table, read_scores
from unet_bench.errors import InvalidSuite, StoreError, UnknownName
from unet_bench.present.findings import sentence, sentences
from unet_bench.present.rank import rank_document
from unet_bench.present.rank_diagram import draw_critical_differences
from unet_bench.stats.mean_ranks import mean_ranks
from unet_bench.stats.uscore import IOU, iou_quantiles, u_score
from unet_bench.store.figures import Network
from unet_bench.store.runs import Runs, read_runs
from unet_bench.store.tables import typed_table

QUICK = ROOT / "results" / "reference" / "quick-cpu"

# The worked example of Demšar 2006: C4.5 with and without two parameters on fourteen data sets. He
# ranks by more digits than he prints, hence one figure of four.
DEMSAR = """
0.763 0.768 0.771 0.798
0.599 0.591 0.590 0.569
0.954 0.971 0.968 0.967
0.628 0.661 0.654 0.657
0.882 0.888 0.886 0.898
0.936 0.931 0.916 0.931
0.661 0.668 0.609 0.685
0.583 0.583 0.563 0.625
0.775 0.838 0.866 0.875
1.000 1.000 1.000 1.000
0.940 0.962 0.965 0.962
0.619 0.666 0.614 0.669
0.972 0.981 0.9751 0.975
0.957 0.978 0.946 0.970
"""


def row(
    variant: str,
    dice: float | None = None,
    ratio: float | None = None,
    mib: float | None = None,
    **values: Any,
):
    """A row of results; interval `dice_half` or `ratio_half` (of the logarithm) to either side."""
    dice_half, ratio_half = values.pop("dice_half", None), values.pop("ratio_half", None)
    found = {
        "run_id": "r",
        "task": "a",
        "dataset_hash": "a",
        "baseline": "unet",
        "recipe": "short",
        "seeds": 1,
    }
    found |= {
        "variant": variant,
        "trivial": variant.startswith("floor-"),
        "dice": dice,
        "latency_ratio": ratio,
        "peak_memory_mib": mib,
        "batch_requested": 4,
    }
    found |= {
        "accuracy_status": "ok",
        "speed_status": "ok",
        "memory_status": "ok",
        "batch_effective": 4,
    }
    if dice is not None and dice_half is not None:
        found |= {"dice_ci_low": dice - dice_half, "dice_ci_high": dice + dice_half}
    if ratio is not None and ratio_half is not None:
        found |= {
            "latency_ratio_ci_low": ratio * np.exp(-ratio_half),
            "latency_ratio_ci_high": ratio * np.exp(ratio_half),
        }
    return {**found, **values}


def runs_of(rows: Sequence[Mapping[str, Any]]) -> Runs:
    empty = typed_table("results")
    typed = {name: pd.array([r.get(name) for r in rows], dtype=empty[name].dtype) for name in empty}
    return Runs(pd.DataFrame(typed), typed_table("cells"), typed_table("classes"), {}, {})


def front(
    rows: Sequence[Mapping[str, Any]], scores: ScoresByVariant | None = None, draws: int = 2000
) -> Front:
    return front_of([Network(row) for row in rows], scores, draws=draws)


def text_of(shown: Any, width: int = 160) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined]


def demsar() -> pd.DataFrame:
    values = [list(map(float, line.split())) for line in DEMSAR.split("\n") if line]
    return pd.DataFrame(values, columns=["C4.5", "+m", "+cf", "+m+cf"])


# ---- how reliable a ranking is


def test_the_reliability_of_a_ranking_over_seeds_is_stated() -> None:
    scores = {
        name: {("", seed): dice + 0.02 * ((7 * n + 3 * seed) % 5) for seed in range(3)}
        for n, (name, dice) in enumerate([("unet", 0.6), ("a", 0.7), ("b", 0.8), ("c", 0.75)])
    }
    rows = [row(name, float(np.mean(list(of.values())))) for name, of in scores.items()]
    rows.append(row("floor-otsu", 0.1))
    scores["floor-otsu"] = {("", 0): 0.1}
    [finding] = [one for one in front(rows, scores).findings if one.kind == "reliability"]
    assert (finding.values["networks"], finding.values["seeds"]) == (4, 3)
    assert 0.8 < finding.values["single"] < finding.values["mean"] < 1
    said = sentence(finding)
    assert said.startswith(f"reliability of this ranking by Dice: {finding.values['mean']:.2f} (")
    assert "3 seeds of 4 networks" in said
    one_seed = {name: {("", 0): of["", 0]} for name, of in scores.items()}
    assert not [one for one in front(rows, one_seed).findings if one.kind == "reliability"]


def test_a_name_for_the_same_network_counts_once_in_it_and_folds_are_not_seeds() -> None:
    dice = {"unet": 0.6, "a": 0.7, "b": 0.8}
    scores = {
        name: {("", s): d + 0.01 * s * (name == "a") for s in (0, 1)} for name, d in dice.items()
    }
    scores["also-a"] = dict(scores["a"])
    rows = [row(name, 0.5) for name in scores]
    [found] = [one for one in front(rows, scores).findings if one.kind == "reliability"]
    assert found.values["networks"] == 3
    folds = {name: {(str(s), 0): d for (_, s), d in of.items()} for name, of in scores.items()}
    assert not [one for one in front(rows, folds).findings if one.kind == "reliability"]


# ---- the front


def test_of_very_many_networks_there_are_fewer_draws() -> None:
    rows = [row(f"v{n}", 0.5, 1.0 + n, 10.0, dice_half=0.1) for n in range(5001)]
    chances = front(rows).probability.values()
    assert all((200 * chance) == pytest.approx(round(200 * chance)) for chance in chances)


def test_the_front_holds_what_nobody_beats_and_is_certain_without_errors() -> None:
    rows = [
        row("unet", 0.8, 1.0, 100.0),
        row("better", 0.9, 1.0, 100.0),
        row("fast", 0.7, 0.5, 50.0),
        row("worst", 0.6, 2.0, 200.0),
        row("twin", 0.9, 1.0, 100.0),
        row("floor-otsu", 0.95),
    ]
    found = front(rows)
    assert found.members == {
        "unet": False,
        "better": True,
        "fast": True,
        "worst": False,
        "twin": True,
    }
    assert found.probability == {name: float(on) for name, on in found.members.items()}


figures = st.tuples(
    st.floats(0, 1), st.floats(0.1, 10), st.floats(1, 1000), st.floats(0, 0.2), st.floats(0, 0.5)
)


@settings(max_examples=60)
@given(st.lists(figures, min_size=1, max_size=12))
def test_nobody_on_the_front_is_beaten_and_everybody_else_is(
    drawn: list[tuple[float, ...]],
) -> None:
    rows = [
        row(f"v{n}", dice, ratio, mib, dice_half=half, ratio_half=wide)
        for n, (dice, ratio, mib, half, wide) in enumerate(drawn)
    ]
    costs = {f"v{n}": (-dice, np.log(ratio), mib) for n, (dice, ratio, mib, *_) in enumerate(drawn)}

    def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    found = front(rows, draws=50)
    assert any(found.members.values())
    for name, on in found.members.items():
        assert on != any(beats(other, costs[name]) for other in costs.values())
    assert all(0 <= chance <= 1 for chance in found.probability.values())
    assert sum(found.probability.values()) >= 1 - 1e-9  # somebody is on the front of every draw


def test_the_probability_is_that_of_the_errors() -> None:
    """Two networks that differ in Dice alone: one beats the other as two normals do."""
    rows = [
        row("a", 0.80, 1.0, 10.0, dice_half=1.96 * 0.03, baseline="none"),
        row("b", 0.83, 1.0, 10.0, dice_half=1.96 * 0.04, baseline="none"),
    ]
    found = front(rows, draws=20_000)
    assert found.probability["b"] == pytest.approx(0.7257, abs=0.01)  # Φ(0.03 / 0.05)
    assert found.probability["a"] == pytest.approx(1 - 0.7257, abs=0.01)
    assert front(rows) == front(rows)


def test_few_pairs_have_heavier_tails_than_many() -> None:
    """Of equal intervals the one of two pairs draws by t with one degree of freedom: its centre is
    narrower.
    """

    def chance(pairs: int, seeds: int) -> float:
        paired = {"dice_pairs": pairs, "dice_difference": 0.02, "seeds": seeds}
        ends = {"dice_difference_ci_low": -0.02, "dice_difference_ci_high": 0.06}
        rows = [
            row("unet", 0.8, 1.0, 10.0, seeds=seeds),
            row("v", 0.82, 1.0, 10.0, **paired, **ends),
        ]
        return front(rows, draws=20_000).probability["v"]

    from scipy.stats import t

    assert chance(2, 2) == pytest.approx(t.cdf(0.02 / 0.04 * t.ppf(0.975, 1), 1), abs=0.01)
    assert chance(9, 9) == pytest.approx(t.cdf(0.02 / 0.04 * t.ppf(0.975, 8), 8), abs=0.01)
    assert chance(10, 2) == pytest.approx(
        t.cdf(0.02 / 0.04 * t.ppf(0.975, 4), 4), abs=0.01
    )  # five folds, two seeds


def test_paired_differences_count_in_place_of_wide_intervals() -> None:
    """Seeds move both by more than they differ; the difference in pairs is certain all the same."""
    paired = {
        "dice_pairs": 3,
        "dice_difference": 0.02,
        "dice_difference_ci_low": 0.019,
        "dice_difference_ci_high": 0.021,
    }
    rows = [
        row("unet", 0.80, 1.0, 10.0, dice_half=0.1, seeds=3),
        row("v", 0.82, 1.0, 10.0, dice_half=0.1, seeds=3, **paired),
    ]
    assert front(rows).probability["v"] > 0.99


def test_a_busy_machine_leaves_ratios_and_those_still_rank() -> None:
    rows = [row("unet", 0.8, 1.0, 10.0), row("v", 0.8, 0.5, 10.0, quality="contaminated")]
    assert front(rows).members == {"unet": False, "v": True}
    unpaired = row("w", 0.9, None, 10.0, latency_ms=20.0, quality="unpaired")
    assert front([row("unet", 0.8, 1.0, 10.0, latency_ms=10.0), unpaired]).members == {
        "unet": True,
        "w": True,
    }
    untold = front([row("unet", 0.8, 1.0, 10.0), unpaired])  # 20 ms of how many?
    assert untold.members == {"unet": True}
    assert "w" in sentences(untold.findings)[0]


def test_what_lacks_a_figure_or_failed_is_named_and_not_on_the_front() -> None:
    rows = [
        row("unet", 0.8, 1.0, 10.0),
        row("half", 0.9, 0.5, 5.0, accuracy_status="nonfinite"),
        row("oom", None, None, None, memory_status="oom", batch_effective=None),
    ]
    found = rank(runs_of(rows))
    assert list(found.table["variant"][found.table["pareto"].fillna(False)]) == ["unet"]
    assert any("half, oom" in note for note in sentences(found.findings))


def test_a_dimension_that_nobody_measured_is_left_out_and_named() -> None:
    found = front([row("unet", None, 1.0, 10.0), row("v", None, 2.0, 5.0)])
    assert found.members == {"unet": True, "v": True}
    assert "without Dice" in sentences(found.findings)[0]
    nothing = front([row("unet"), row("v")])
    assert nothing.members == {}
    assert set(DIMENSIONS) == {"dice", "latency", "peak_memory_mib"}


def test_variants_measured_as_one_move_as_one() -> None:
    same = {"dice_half": 0.05, "ratio_half": 0.1}
    found = front([row("a", 0.8, 2.0, 10.0, **same), row("b", 0.8, 2.0, 10.0, same_as="a", **same)])
    assert found.probability == {"a": 1.0, "b": 1.0}


def test_rows_that_may_not_be_compared_have_fronts_of_their_own() -> None:
    rows = [row("unet", 0.8, 1.0, 10.0), row("v", 0.9, 0.5, 5.0)]
    rows += [{**r, "run_id": "s"} for r in rows[:1]] + [
        {**r, "batch_requested": 8} for r in rows[:1]
    ]
    assert list(rank(runs_of(rows)).table["pareto"]) == [True, False, True, True]


def test_what_networks_share_cancels_between_them() -> None:
    """Seeds move all by far more than two of them differ; in pairs the difference is sure."""
    seeds = {"unet": (0.9, 0.5, 0.71, 0.6), "b": (0.81, 0.82, 0.80, 0.815)}
    seeds["c"] = tuple(dice + 0.005 + 0.0005 * n for n, dice in enumerate(seeds["b"]))
    rows = [
        row(name, float(np.mean(own)), 1.0, 10.0, seeds=4, dice_half=0.1)
        for name, own in seeds.items()
    ]
    scores = {name: {(None, n): dice for n, dice in enumerate(own)} for name, own in seeds.items()}
    assert front(rows).probability["b"] > 0.1
    assert front(rows, scores).probability["b"] < 0.005
    wide = {**scores, "c": {(None, n): dice for n, dice in enumerate((0.83, 0.83, 0.80, 0.815))}}
    rows[2]["dice"] = float(np.mean(list(wide["c"].values())))
    rows = rows[1:]
    from scipy.stats import t

    apart = np.array(list(wide["c"].values())) - np.array(list(wide["b"].values()))
    expected = t.cdf(apart.mean() / (apart.std(ddof=1) / 2), 3)
    assert front(rows, wide, draws=20_000).probability["c"] == pytest.approx(expected, abs=0.01)


def test_times_and_ratios_are_never_mixed() -> None:
    ratio, time = row("b", 0.8, 2.0, 10.0), row("a", 0.8, None, 10.0, latency_ms=50.0)
    assert front([ratio, time]).members == {"b": True}
    assert front([{**ratio, "latency_ms": 20.0}, time]).members == {"b": True, "a": False}


def test_one_run_for_each_data_set_is_told_how() -> None:
    rows = [
        row(name, 0.8, 1.0, 10.0, run_id=task, task=task, dataset_hash=task)
        for task in "abc"
        for name in ("u", "v", "w")
    ]
    assert any(
        "never joined over runs" in note and "show RUNS -f csv" in note
        for note in sentences(rank(runs_of(rows)).findings)
    )


# ---- average ranks


def test_the_worked_example_of_demsar() -> None:
    found = mean_ranks(demsar())
    assert {name: round(mean, 3) for name, mean in found.means.items()} == {
        "+m+cf": 1.964,
        "+m": 2.0,
        "+cf": 2.893,
        "C4.5": 3.143,
    }
    assert found.chi2 == pytest.approx(9.28, abs=0.005)
    assert found.f == pytest.approx(3.69, abs=0.005)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.p < 0.05
    assert set(found.groups.values()) == {"a"}  # the extremes are 1.18 apart: Nemenyi cannot tell


def test_as_another_implementation_says() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    random = np.random.default_rng(3)
    scores = pd.DataFrame(
        random.normal(size=(12, 6)) + np.linspace(0, 2.5, 6), columns=list("uvwxyz")
    )
    found = mean_ranks(scores)
    p = posthocs.posthoc_nemenyi_friedman(scores)
    for a in scores:
        for b in scores:
            apart = abs(found.means[a] - found.means[b]) > found.critical_difference
            assert apart == (p.loc[a, b] < 0.05)
            assert apart != bool(set(found.groups[a]) & set(found.groups[b]))
    from scipy.stats import friedmanchisquare

    assert found.chi2 == pytest.approx(
        friedmanchisquare(*(scores[name] for name in scores)).statistic
    )


@settings(max_examples=40)
@given(st.integers(2, 8), st.integers(3, 6), st.integers(0, 1000))
def test_ranks_care_about_order_alone(data_sets: int, networks: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = pd.DataFrame(
        random.integers(0, 8, size=(data_sets, networks)) / 8, columns=list("abcdef")[:networks]
    )
    found = mean_ranks(scores)
    assert sum(found.means.values()) == pytest.approx(networks * (networks + 1) / 2)
    bent = scores.apply(lambda of_set: np.exp(3 * of_set) + 10 * random.random(), axis=1)
    assert mean_ranks(bent) == found
    assert mean_ranks(-scores, lower_is_better=True) == found


def test_agreement_is_no_more_than_chance_allows() -> None:
    """Three networks in one order on two data sets: one in six by chance, though F is infinite."""
    found = mean_ranks(pd.DataFrame({"a": [3, 3], "b": [2, 2], "c": [1, 1]}))
    assert found.f == inf
    assert found.p == pytest.approx(1 / 6)
    assert set(found.groups.values()) == {"a"}
    ranking = rank_table(pd.DataFrame({"a": [3, 3], "b": [2, 2], "c": [1, 1]}))
    assert any("cannot be told apart" in note for note in sentences(ranking.findings))
    assert ranking.tests["f"].isna().all()


def test_groups_are_maximal_and_ties_share_a_rank() -> None:
    scores = pd.DataFrame([[5.0, 4, 3, 2, 1, 1]] * 30, columns=list("abcdef"))
    found = mean_ranks(scores)
    assert found.means["e"] == found.means["f"] == 5.5
    for clique in found.cliques:
        assert found.means[clique[-1]] - found.means[clique[0]] <= found.critical_difference
    assert found.groups["e"] == found.groups["f"]
    assert not set(found.groups["a"]) & set(found.groups["f"])


def test_groups_are_made_only_where_friedman_sees_a_difference() -> None:
    """Two of twelve lie apart by more than the critical difference, in a field that is otherwise
    level.
    """
    rows = []
    for n in range(10):
        rank_of_a = (3, 4)[n % 3 == 0]
        rest = [r for r in range(1, 13) if r not in (rank_of_a, 13 - rank_of_a)]
        rows.append([rank_of_a, 13 - rank_of_a, *(rest[(n + i) % 10] for i in range(10))])
    found = mean_ranks(pd.DataFrame(rows, columns=list("abcdefghijkl")), lower_is_better=True)
    assert found.means["b"] - found.means["a"] > found.critical_difference
    assert found.p > 0.05
    assert set(found.groups.values()) == {"a"}


def test_what_is_missing_is_left_out_and_named_never_filled_in() -> None:
    scores = demsar().assign(holey=[1.0] * 13 + [float("nan")], absent=float("nan"))
    found = mean_ranks(scores)
    assert found.left_out == {"holey": 1, "absent": 14}
    assert found.chi2 == pytest.approx(9.28, abs=0.005)
    assert any("holey (1), absent (14)" in note for note in sentences(rank_table(scores).findings))


@pytest.mark.parametrize("shape", [(1, 5), (5, 2), (0, 0)])
def test_too_little_to_rank_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(InvalidSuite, match="at least 2 data sets and 3 networks"):
        mean_ranks(pd.DataFrame(np.ones(shape)))


def test_ranks_over_the_tasks_of_a_setting_without_trivial_baselines_and_failures() -> None:
    rows = [
        row(name, dice + 0.1 * n, task=task, dataset_hash=task)
        for n, task in enumerate("abcdefgh")
        for name, dice in (("unet", 0.5), ("v", 0.6), ("w", 0.4), ("bad", 0.7), ("floor-otsu", 0.9))
    ]
    rows[3] |= {"dice": None, "accuracy_status": "oom"}
    found = rank(runs_of(rows))
    assert found.tests["data_sets"].tolist() == [8]
    assert found.tests["left_out"].tolist() == ["bad"]
    first = found.table[found.table["task"] == "a"].set_index("variant")
    assert first["mean_rank"].dropna().to_dict() == {"v": 1.0, "unet": 2.0, "w": 3.0}
    assert first.loc["v", "score"] == pytest.approx(0.95)
    other = [{**r, "recipe": "long"} for r in rows]
    assert len(rank(runs_of(rows + other)).ranks) == 2
    assert rank(runs_of(rows + [{**r, "run_id": "s"} for r in rows])).tests[
        "data_sets"
    ].tolist() == [8, 8]


def test_one_data_set_has_a_front_but_no_average_ranks_and_says_so() -> None:
    found = rank(runs_of([row(name, 0.8, 1.0, 10.0) for name in ("unet", "v", "w")]))
    assert found.ranks == ()
    assert any("no average ranks" in note for note in sentences(found.findings))
    with pytest.raises(InvalidSuite, match="a diagram shows one"):
        _ = found.drawn


# ---- any table


def test_the_published_table_ranks_densenet_first() -> None:
    scores = read_scores(FILES / "medsegbench_unet.csv", "ENCODER_NAME", "DATASET", "F1")
    found = mean_ranks(scores)
    assert next(iter(found.means)) == "densenet121"
    assert set(found.left_out) == {"mit_b0"}
    assert found.data_sets == 38
    assert found.p < 0.001
    assert not set(found.groups["densenet121"]) & set(found.groups["resnet50"])


def table_file(folder: Path, text: str) -> Path:
    file = folder / "scores.csv"
    file.write_text(text)
    return file


SCORES = "net,data,seed,loss\n" + "".join(
    f"{net},d{d},{s},{loss + 0.01 * s + d}\n"
    for net, loss in (("a", 0.1), ("b", 0.2), ("c", 0.3))
    for d in range(6)
    for s in (0, 1)
)


def test_any_csv_is_ranked_by_its_own_columns(
    unet_bench: Callable[..., Any], tmp_path: Path
) -> None:
    file = table_file(tmp_path, SCORES)
    asked = ("rank", str(file), "--variant", "net", "--data", "data", "--score", "loss")
    said = json.loads(unet_bench(*asked, "--lower-is-better", "--json").stdout)
    assert [(r["variant"], r["mean_rank"]) for r in said["table"]] == [
        ("a", 1.0),
        ("b", 2.0),
        ("c", 3.0),
    ]
    assert said["tests"][0]["data_sets"] == 6
    assert json.loads(unet_bench(*asked, "--json").stdout)["table"][0]["variant"] == "c"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--variant", "net", "--data", "data", "--score", "dice"), "unknown column 'dice'"),
        (("--variant", "net", "--data", "data"), "together"),
        (("--lower-is-better",), "together"),
        (("--variant", "seed", "--data", "loss", "--score", "net"), "holds text"),
    ],
)
def test_a_table_that_cannot_be_ranked(
    unet_bench: Callable[..., Any], tmp_path: Path, words: Sequence[str], said: str
) -> None:
    done = unet_bench("rank", str(table_file(tmp_path, SCORES)), *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_what_is_no_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        read_scores(tmp_path / "absent.csv", "a", "b", "c")
    with pytest.raises(UnknownName):
        read_scores(table_file(tmp_path, "a,b\n1,2\n"), "a", "b", "c")


def test_no_network_of_a_csv_vanishes(tmp_path: Path) -> None:
    names = ["nan", "NA", "None", "null", "b"]
    text = "v,d,s\n" + "".join(
        f"{v},{d},{'' if v == 'b' else n}\n" for n, v in enumerate(names) for d in "xyz"
    )
    scores = read_scores(table_file(tmp_path, text), "v", "d", "s")
    assert set(scores) == set(names)
    found = rank_table(scores)
    assert list(found.ranks[0].means) == ["null", "None", "NA", "nan"]
    assert any("b (3)" in note for note in sentences(found.findings))
    with pytest.raises(StoreError, match="no finite number, 'inf'"):
        read_scores(table_file(tmp_path, "v,d,s\na,x,inf\n"), "v", "d", "s")


# ---- the picture


def many(count: int, name: str = "resnet34-unet+encoder=timm:net{}") -> pd.DataFrame:
    random = np.random.default_rng(1)
    scores = random.normal(size=(20, count)) * 1.5 + np.linspace(0, 6, count)
    return pd.DataFrame(scores, columns=[name.format(n) for n in range(count)])


@pytest.mark.parametrize("count", [3, 30])
def test_labels_of_the_picture_never_overlap(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    seen: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: seen.append(self))
    draw_critical_differences(mean_ranks(many(count)), tmp_path / "ranks.png")
    [drawing] = seen
    drawing.draw_without_rendering()
    boxes = [text.get_window_extent() for text in drawing.axes[0].texts]
    assert len(boxes) > count
    for n, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:n])
        assert box.x0 >= 0
        assert box.x1 <= drawing.bbox.width
        assert box.y0 >= 0
        assert box.y1 <= drawing.bbox.height


def test_the_picture_is_written_and_hostile_names_stay_text(
    tmp_path: Path, unet_bench: Callable[..., Any]
) -> None:
    names = ["<script>alert(1)</script>", "$\\frac{", "x" * 300, "=cmd()"]
    scores = many(4)
    scores.columns = pd.Index(names)
    for suffix in ("svg", "png"):
        draw_critical_differences(mean_ranks(scores), tmp_path / f"ranks.{suffix}")
    svg = (tmp_path / "ranks.svg").read_text()
    assert "<script" not in svg
    assert "x" * 41 not in svg
    assert (tmp_path / "ranks.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(StoreError, match="cannot be written"):
        draw_critical_differences(mean_ranks(scores), tmp_path / "ranks.nonsense")
    file = table_file(tmp_path, SCORES)
    asked = (
        "--variant",
        "net",
        "--data",
        "data",
        "--score",
        "loss",
        "--plot",
        str(tmp_path / "cd.svg"),
    )
    assert "written" in unet_bench("rank", str(file), *asked).stderr
    assert (tmp_path / "cd.svg").stat().st_size > 1000


# ---- U-Score


def test_u_score_is_exact() -> None:
    assert u_score(0.6557507, 34.527041, 65.522368512, 137.05495, IOU["busi"]) == pytest.approx(
        19.26, abs=0.005
    )


def test_u_score_has_ends() -> None:
    assert u_score(0.1, 1.0, 1.0, 200.0, IOU["busi"]) == 0
    assert u_score(0.9, 1.0, 1.0, 200.0, IOU["busi"]) == pytest.approx(100)
    assert u_score(0.9, 500.0, 500.0, 1.0, IOU["busi"]) == pytest.approx(
        200 / (1 + 1 / 0.05)
    )  # the floor of each part


def u_row(variant: str, iou: float | None, task: str = "a", **values: Any) -> dict[str, Any]:
    cost = {
        "params": 30_000_000,
        "macs": 40_000_000_000,
        "throughput_img_s": 100.0,
        "cost_status": "ok",
    }
    return row(variant, iou, 1.0, 10.0, iou=iou, task=task, **cost) | values


def test_u_score_takes_the_quantiles_of_the_data_set_or_of_the_run_and_says_which() -> None:
    named = rank(
        runs_of([u_row("unet", 0.86, "dsb2018"), u_row("v", None, "dsb2018")]), u_score=True
    )
    assert named.table.set_index("variant")["u_score"]["unet"] == pytest.approx(
        u_score(0.86, 30.0, 40.0, 100.0, IOU["dsb2018"])
    )
    assert named.table.set_index("variant")["u_score"].isna()["v"]
    assert not any("very networks" in note for note in sentences(named.findings))
    assert any("batch 4" in note for note in sentences(named.findings))
    ious = [0.5, 0.6, 0.7, 0.8]
    own = rank(
        runs_of([u_row(f"v{n}", iou, batch_effective=1) for n, iou in enumerate(ious)]),
        u_score=True,
    )
    expected = u_score(0.7, 30.0, 40.0, 100.0, tuple(np.quantile(ious, (0.1, 0.9))))  # type: ignore[arg-type]
    assert own.table.set_index("variant")["u_score"]["v2"] == pytest.approx(expected)
    assert any("very networks" in note for note in sentences(own.findings))
    assert not any("at batch" in note for note in sentences(own.findings))
    assert iou_quantiles("a", [0.5, 0.5, 0.5]) is None
    assert any(
        "no U-Score" in note
        for note in sentences(rank(runs_of([u_row("unet", 0.5)]), u_score=True).findings)
    )


# ---- to text


@pytest.mark.parametrize("format", ["table", "csv", "md", "json"])
def test_every_format_shows_hostile_names_as_text(format: str) -> None:
    names = ["[bold]unet[/bold]", "<script>", "a|b", "x" * 300, "\u202eabc", "two\nlines", "=cmd()"]
    rows = [
        row(name, 0.1 * n, 1.0 + n, 10.0, task=task, dataset_hash=task)
        for n, name in enumerate(names)
        for task in "ab"
    ]
    shown = rank_document(rank(runs_of(rows), u_score=True)).rendered(format)
    text = shown if isinstance(shown, str) else text_of(shown)
    assert "[bold]unet[/bold]" in text or "\\[bold]unet\\[/bold]" in text or format == "md"
    if format == "md":
        assert all(
            line.count("|") - line.count("\\|") in (0, *range(5, 12)) for line in text.splitlines()
        )
        assert not re.search(r"(?<!\\)<script>", text)
    if format == "csv":
        assert list(pd.read_csv(io.StringIO(text))) == list(COLUMNS)
    if format == "json":
        assert set(json.loads(text)) == {"table", "tests", "notes"}


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UnknownName):
        rank_document(rank(runs_of([row("unet")]))).rendered("pdf")


def test_the_reference_run(unet_bench: Callable[..., Any]) -> None:
    said = unet_bench("rank", str(QUICK))
    assert said.returncode == 0
    assert "unet-residual" in said.stdout
    assert "P(front)" in said.stdout
    table = rank(read_runs([QUICK])).table.set_index("variant")
    published = read_runs([QUICK]).results.set_index("variant")["pareto"]
    on_front = set(table.index[table["pareto"].fillna(False)])
    assert (
        on_front == set(published.index[published.fillna(False)]) > {"unet-residual", "unet-narrow"}
    )
    assert table.loc["floor-otsu", "pareto"] is pd.NA


def test_no_rows_and_one_row() -> None:
    assert rank(runs_of([])).table.empty
    assert text_of(rank_document(rank(runs_of([]))).rendered()).strip() == ""
    assert rank(runs_of([row("unet", 0.5)])).table["pareto"].tolist() == [True]


def test_ranks_take_time_in_proportion_to_their_tasks() -> None:
    def runs(tasks: int) -> Runs:
        random = np.random.default_rng(0)
        rows = [
            row(
                f"v{n}", random.random(), 0.5 + random.random(), 100 * random.random(),
                dice_half=0.02, ratio_half=0.05, task=f"t{t}", dataset_hash=f"t{t}",
            )
            for t in range(tasks)
            for n in range(40)
        ]  # fmt: skip
        return runs_of(rows)

    found = rank(runs(8))
    assert len(found.table) == 320
    assert not isnan(found.tests["p"][0])
    assert growth(rank, runs, 24) < 1.5
