"""Races: who is clearly behind, and how often the best one is stopped by bad luck."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_bench.stats.race import MARGIN, Spread, spread_of, standings

SAMPLED = 8  # networks of the first rung with a second seed
STEADY = {f"v{n}": {0: 0.8 + 0.001 * n, 1: 0.802 + 0.001 * n} for n in range(8)}


def scored(truth: np.ndarray, sd: float, sampled: int, random: np.random.Generator) -> dict:
    """Dice of a rung: a second seed for some, spread evenly."""
    with_second = {*np.linspace(0, len(truth) - 1, sampled).round().astype(int)}
    return {
        n: {seed: of + sd * random.standard_normal() for seed in range(1 + (n in with_second))}
        for n, of in enumerate(truth)
    }


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.04])
@pytest.mark.parametrize("count", [2, 12, 60])
def test_the_best_is_seldom_stopped_and_clear_losers_are(count: int, spread: float) -> None:
    random = np.random.default_rng(count)
    lost = left = 0
    for _ in range(300):
        truth = 0.8 + spread * random.standard_normal(count)
        going = np.arange(count)
        for rung in range(2):
            sampled = min(SAMPLED, len(going)) if rung == 0 else len(going)
            found = standings(scored(truth[going], 0.015, sampled, random), decisions=2)
            going = going[[not found[n].is_clear for n in range(len(going))]]
        lost += truth.argmax() not in going
        left += len(going)
    assert lost <= 0.05 * 300 + 2 * math.sqrt(0.05 * 300)
    if spread > 0.015 and count > 2:
        assert left < 0.75 * 300 * count


def test_who_is_behind_by_more_than_chance_explains_may_stop() -> None:
    found = standings({**STEADY, "slow": {0: 0.7, 1: 0.7}})
    assert next(iter(found)) == "v7"
    assert (found["v7"].behind, found["v7"].surely) == (0, 0)
    assert found["slow"].behind == pytest.approx(0.108)
    assert MARGIN < found["slow"].surely < found["slow"].behind
    assert [name for name, of in found.items() if of.is_clear] == ["slow"]


def test_one_seed_says_nothing_of_chance() -> None:
    found = standings({"a": {0: 0.9}, "b": {0: 0.1}})
    assert spread_of({"a": {0: 0.9}, "b": {0: 0.1}}) is None
    assert found["b"].behind == pytest.approx(0.8)
    assert not found["b"].is_clear


def test_more_decisions_ask_for_more() -> None:
    scores = {**STEADY, "slow": {0: 0.7, 1: 0.7}}
    surely = [standings(scores, decisions)["slow"].surely for decisions in (1, 2, 5)]
    assert surely == sorted(surely, reverse=True)
    assert len(set(surely)) == 3


def test_networks_are_compared_by_the_seeds_that_both_have() -> None:
    # The second seed is worse for everybody who has it.
    scores = {**{name: {0: of[0], 1: of[0] - 0.3} for name, of in STEADY.items()}, "one": {0: 0.8}}
    found = standings(scores)
    assert next(iter(found)) == "v7"
    assert found["one"].behind == pytest.approx(0.007)


def test_seeds_that_move_all_alike_are_no_spread() -> None:
    alike = {name: {0: 0.1 * n, 1: 0.1 * n + 0.2} for n, name in enumerate("abc")}
    assert spread_of(alike) == Spread(pytest.approx(0.0, abs=1e-12), 2)
    assert spread_of({"a": {0: 0.1, 1: 0.2}}) is None


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.dictionaries(st.integers(0, 3), st.floats(0, 1), min_size=1),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_the_leader_stands_first_and_is_never_stopped(scores: dict, decisions: int) -> None:
    found = standings(scores, decisions)
    assert found.keys() == scores.keys()
    assert all(not math.isnan(of.surely) for of in found.values())
    if found:
        first = next(iter(found.values()))
        assert (first.behind, first.surely, first.is_clear) == (0, 0, False)
