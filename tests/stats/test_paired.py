"""Differences in pairs: what counts as a unit, what is separable, and whether the intervals hold
what they say.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_bench.stats.intervals import bootstrap_interval, mean_interval
from unet_bench.stats.paired import clustered_mean, coarsest, paired_difference, units

Draw = Callable[[np.random.Generator, int], np.ndarray]


def seeds(*differences: float) -> list[tuple[None, float]]:
    """Pairs of one data set and fold."""
    return [(None, difference) for difference in differences]


# ---- units


def test_several_clusters_are_the_units_and_one_is_not() -> None:
    assert units([("a", 1.0), ("a", 3.0), ("b", 5.0)]) == [2.0, 5.0]
    assert units([("a", 1.0), ("a", 3.0)]) == [1.0, 3.0]


def test_clusters_are_the_coarsest_labels_that_differ() -> None:
    assert coarsest([("a", 0, 1), ("b", 0, 2)]) == ["a", "b"]
    assert coarsest([("a", 0, 1), ("a", 1, 1)]) == [0, 1]
    assert coarsest([("a", 0, 1), ("a", 0, 2)]) == [1, 2]
    assert coarsest([("a", 0), ("a", 0)]) == [None, None]
    assert coarsest([]) == []


def test_seeds_of_a_fold_do_not_narrow_the_interval_over_folds() -> None:
    folds = [0.01, 0.02, 0.06]
    one_seed = paired_difference(list(enumerate(folds)))
    three_seeds = paired_difference([(fold, d) for fold, d in enumerate(folds) for _ in range(3)])
    assert (three_seeds.interval.low, three_seeds.interval.high) == (
        one_seed.interval.low,
        one_seed.interval.high,
    )
    assert (one_seed.pairs, three_seeds.pairs, three_seeds.units) == (3, 9, 3)


# ---- interval and verdict


def test_below_ten_units_the_interval_is_students() -> None:
    found = paired_difference(seeds(0.01, 0.02, 0.03))
    half = 4.302652729911275 * 0.01 / 3**0.5
    assert (found.interval.value, found.interval.low) == (
        pytest.approx(0.02),
        pytest.approx(0.02 - half, rel=1e-3),
    )
    assert found.interval.high == pytest.approx(0.02 + half, rel=1e-3)
    assert found.verdict == "not separable"


def test_from_ten_units_on_it_is_the_bootstrap() -> None:
    values = [float(value) for value in np.random.default_rng(1).exponential(size=10)]
    found = clustered_mean(seeds(*values))
    assert found == bootstrap_interval(values)
    assert clustered_mean(seeds(*values[:9])) == mean_interval(values[:9])


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((0.02, 0.021, 0.022), "better"),
        ((-0.02, -0.021, -0.022), "worse"),
        ((0.02, -0.02, 0.01), "not separable"),
    ],
)
def test_a_verdict_needs_an_interval_without_zero(
    differences: tuple[float, ...], verdict: str
) -> None:
    assert paired_difference(seeds(*differences)).verdict == verdict


def test_one_pair_has_no_interval_and_separates_nothing() -> None:
    found = paired_difference(seeds(0.5))
    assert (found.interval.value, found.verdict, found.pairs_needed) == (0.5, "not separable", None)
    assert math.isnan(found.interval.low)
    assert math.isnan(found.interval.high)


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        paired_difference([])


@pytest.mark.parametrize("count", [2, 9, 10, 30])
def test_differences_without_spread_are_no_problem(count: int) -> None:
    equal = paired_difference(seeds(*[0.25] * count))
    assert (equal.interval.low, equal.interval.high, equal.verdict, equal.pairs_needed) == (
        0.25,
        0.25,
        "better",
        2,
    )
    none = paired_difference(seeds(*[0.0] * count))
    assert (none.interval.low, none.interval.high, none.verdict, none.pairs_needed) == (
        0.0,
        0.0,
        "not separable",
        None,
    )


# ---- how many it would take


def test_pairs_needed_are_the_fewest_that_separate() -> None:
    # Mean 0.01 and standard deviation 0.01: t sd / sqrt(n) falls below the mean between six and
    # seven.
    assert paired_difference(seeds(0.0, 0.01, 0.02)).pairs_needed == 7
    assert paired_difference(seeds(*[0.01 - 0.01 / 2**0.5, 0.01 + 0.01 / 2**0.5])).pairs_needed == 7


def test_pairs_needed_count_every_pair_of_a_unit() -> None:
    clustered = [(fold, d) for fold, d in enumerate((0.0, 0.01, 0.02)) for _ in range(3)]
    assert paired_difference(clustered).pairs_needed == 21
    assert paired_difference([*clustered, (2, 0.02)]).pairs_needed == math.ceil(7 * 10 / 3)


def test_a_difference_too_small_for_a_thousand_says_nothing() -> None:
    assert paired_difference(seeds(-1.0, 1.0, 0.001)).pairs_needed is None
    assert paired_difference(seeds(-1.0, 1.0)).pairs_needed is None


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=14), st.floats(-1, 1))
@settings(max_examples=200, deadline=None)
def test_pairs_needed_never_contradict_the_verdict(values: list[float], shift: float) -> None:
    found = paired_difference(seeds(*[value + shift for value in values]))
    slack = 1e-12 * abs(found.interval.value)
    assert found.interval.low - slack <= found.interval.value <= found.interval.high + slack
    if found.verdict == "not separable":
        assert found.pairs_needed is None or found.pairs_needed > found.pairs
    else:
        assert found.pairs_needed is not None
        assert 2 <= found.pairs_needed <= found.pairs
        assert (found.verdict == "better") == (found.interval.value > 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-1, 1)), min_size=1, max_size=9))
@settings(max_examples=100, deadline=None)
def test_order_does_not_matter_and_sides_are_alike(pairs: list[tuple[int, float]]) -> None:
    found = paired_difference(pairs)
    turned = paired_difference([(cluster, -value) for cluster, value in reversed(pairs)])
    assert turned.interval.value == pytest.approx(-found.interval.value, abs=1e-12)
    assert turned.interval.low == pytest.approx(-found.interval.high, abs=1e-9, nan_ok=True)
    assert turned.pairs == found.pairs


# ---- coverage


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n)


def skewed(rng: np.random.Generator, n: int) -> np.ndarray:
    """Lognormal about its own mean: a few large values on one side."""
    return rng.lognormal(sigma=0.5, size=n) - math.exp(0.125)


def coverage(
    draw: Callable[[np.random.Generator], list[tuple[object, float]]], trials: int = 1200
) -> float:
    """How often the interval holds the true mean, 0."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(trials):
        _, low, high = clustered_mean(draw(rng))
        held += low <= 0 <= high
    return held / trials


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10, 30])
@pytest.mark.parametrize(("draw", "least"), [(normal, 0.935), (skewed, 0.90)])
def test_intervals_hold_the_true_mean_about_as_often_as_they_say(
    n: int, draw: Draw, least: float
) -> None:
    assert least <= coverage(lambda rng: seeds(*draw(rng, n))) <= 0.97


@pytest.mark.parametrize("clusters", [4, 12])
def test_intervals_hold_when_seeds_of_a_data_set_move_together(clusters: int) -> None:
    def draw(rng: np.random.Generator) -> list[tuple[int, float]]:
        effects = rng.normal(size=clusters)
        return [
            (c, effect + 0.5 * rng.normal()) for c, effect in enumerate(effects) for _ in range(3)
        ]

    assert 0.935 <= coverage(draw) <= 0.97
    # Seeds taken for units, as if data sets did not matter, hold far too seldom: the reason for
    # clusters.
    assert coverage(lambda rng: [(None, value) for _, value in draw(rng)]) < 0.85


def test_a_plain_percentile_bootstrap_over_three_holds_far_too_seldom() -> None:
    rng = np.random.default_rng(7)
    held, trials = 0, 2000
    for _ in range(trials):
        values = rng.normal(size=3)
        low, high = np.quantile(values[rng.integers(3, size=(400, 3))].mean(axis=1), (0.025, 0.975))
        held += low <= 0 <= high
    assert held / trials < 0.85
