"""Many variants against one baseline: Dunnett's quantile, and tables with a false verdict."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_bench.stats.family import Error, Family, dunnett
from unet_bench.stats.intervals import t_975
from unet_bench.stats.paired import paired_difference, paired_differences

Spread = Callable[[np.random.Generator, int], np.ndarray]

# Dunnett 1964 (New tables for multiple comparisons with a control, Biometrics 20), two-sided, 5 %.
TABLES = {
    5: (2.57, 3.03, 3.29, 3.48, 3.62, 3.73, 3.82, 3.90, 3.97),
    10: (2.23, 2.57, 2.76, 2.89, 2.99, 3.07, 3.14, 3.19, 3.24),
    20: (2.09, 2.38, 2.54, 2.65, 2.73, 2.80, 2.86, 2.90, 2.95),
    math.inf: (1.96, 2.21, 2.35, 2.44, 2.51, 2.57, 2.61, 2.65, 2.69),
}


@pytest.mark.parametrize("df", TABLES)
def test_quantiles_are_those_of_dunnetts_tables(df: float) -> None:
    found = [dunnett(count, df) for count in range(1, 10)]
    assert found == pytest.approx(TABLES[df], abs=0.006)


@given(st.integers(2, 2000), st.floats(1.6, 400))
def test_quantiles_lie_between_students_and_bonferronis(count: int, df: float) -> None:
    from scipy.special import stdtrit

    assert stdtrit(df, 0.975) < dunnett(count, df) <= stdtrit(df, 1 - 0.025 / count) * 1.0001
    assert dunnett(count, df) <= dunnett(count + 1, df) * 1.0001


def test_a_single_difference_is_judged_by_its_own_interval() -> None:
    assert (dunnett(1, 2.0), dunnett(1, math.inf)) == (t_975(2), pytest.approx(1.96, abs=1e-4))
    pairs = [(None, value) for value in (0.015, 0.025, 0.035)]
    assert paired_differences({"v": pairs}, corrected=True)["v"] == paired_difference(pairs)
    # Nor do those count that have but one pair.
    single = {f"v{n}": [(None, 9.0)] for n in range(30)}
    found = paired_differences({**single, "v": pairs}, corrected=True)["v"]
    assert found == paired_difference(pairs)
    assert Family.of([Error(math.nan, 1), Error(0.1, 3), Error(0.1)]).count == 2


def test_one_that_scatters_wildly_does_not_hide_the_others() -> None:
    steady = {f"v{n}": [(None, 0.1 + 0.001 * seed) for seed in (n % 3, 1, 2)] for n in range(6)}
    wild = {"wild": [(None, value) for value in (-0.4, 0.5, 0.1)]}
    found = paired_differences({**steady, **wild}, corrected=True)
    assert [found[name].verdict for name in steady] == ["better"] * 6
    assert found["wild"].verdict == "not separable"


def test_a_verdict_takes_the_own_interval_too_and_what_is_needed_follows_it() -> None:
    pairs = {f"v{n}": [(None, 0.0152 + 0.01 * (seed - n)) for seed in range(3)] for n in range(9)}
    each = {name: paired_difference(of) for name, of in pairs.items()}
    together = paired_differences(pairs, corrected=True)
    for name, found in together.items():
        assert found.interval == each[name].interval
        assert found.verdict in (each[name].verdict, "not separable")
        assert (found.pairs_needed or 0) >= (each[name].pairs_needed or 0)
        if found.verdict == "not separable":
            assert found.pairs_needed is None or found.pairs_needed > 3
    assert (each["v0"].verdict, together["v0"].verdict) == ("better", "not separable")
    assert (each["v8"].verdict, together["v8"].verdict) == ("worse", "worse")


@given(
    st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=12), min_size=1, max_size=6),
    st.floats(-1, 1),
)
def test_together_no_more_is_told_apart_than_one_by_one(
    values: list[list[float]], shift: float
) -> None:
    pairs = {n: [(None, value + shift) for value in of] for n, of in enumerate(values)}
    for n, found in paired_differences(pairs, corrected=True).items():
        alone = paired_difference(pairs[n])
        assert found.verdict in (alone.verdict, "not separable")
        if found.verdict == "not separable":
            assert found.pairs_needed is None or found.pairs_needed > found.pairs
        else:
            assert found.pairs_needed is not None
            assert 2 <= found.pairs_needed <= found.pairs


# ---- false verdicts


def equal(rng: np.random.Generator, networks: int) -> np.ndarray:
    return np.ones(networks)


def unequal(rng: np.random.Generator, networks: int) -> np.ndarray:
    """Every second network scatters three times as much as the others."""
    return np.where(np.arange(networks) % 2, 3.0, 1.0)


def wild(rng: np.random.Generator, networks: int) -> np.ndarray:
    """One scatters forty times as much."""
    return np.where(np.arange(networks) == networks - 1, 40.0, 1.0)


def tables_with_a_false_verdict(
    spread: Spread, seeds: int, trials: int, corrected: bool = True, skewed: bool = False
) -> float:
    """How many tables of 31 networks that equal the baseline call one better or worse."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(trials):
        errors = -rng.lognormal(0, 0.5, (32, seeds)) if skewed else rng.normal(size=(32, seeds))
        dice = 0.8 + 0.01 * spread(rng, 32)[:, None] * errors
        pairs = {n: [(None, float(d)) for d in dice[n] - dice[0]] for n in range(1, 32)}
        found = paired_differences(pairs, corrected=corrected)
        wrong += any(one.verdict != "not separable" for one in found.values())
    return wrong / trials


def test_of_equal_networks_hardly_a_table_has_a_false_verdict() -> None:
    assert tables_with_a_false_verdict(equal, 3, 80) <= 0.08
    assert tables_with_a_false_verdict(equal, 3, 80, corrected=False) >= 0.45


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize(
    ("spread", "skewed", "most"),
    [(equal, False, 0.05), (equal, True, 0.05), (wild, False, 0.075), (unequal, False, 0.15)],
)
def test_false_verdicts_of_equal_networks_are_as_few_as_stated(
    spread: Spread, skewed: bool, most: float, seeds: int
) -> None:
    assert tables_with_a_false_verdict(spread, seeds, 400, skewed=skewed) <= most
