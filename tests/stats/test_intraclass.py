"""The intraclass correlation: against a worked example, and against what a second training says."""

from __future__ import annotations

import numpy as np
import pytest

from unet_bench.stats.reliability import reliability


def scores(figures: np.ndarray) -> dict[str, dict[object, float]]:
    """By network (rows) and seed (columns)."""
    return {f"v{n}": dict(enumerate(map(float, row))) for n, row in enumerate(figures)}


def test_it_is_that_of_the_worked_example() -> None:
    # Shrout and Fleiss 1979, table 2: six targets, four judges; ICC(3,1) 0.71 and ICC(3,4) 0.91.
    judged = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    found = reliability(scores(np.array(judged)))
    assert found is not None
    assert (found.single, found.mean) == pytest.approx((0.71, 0.91), abs=0.005)
    # McGraw and Wong 1996, table 7, by their F quantiles.
    assert (found.low, found.high) == pytest.approx((0.67, 0.99), abs=0.01)
    assert (found.networks, found.seeds) == (6, 4)


def test_what_a_seed_adds_to_all_alike_does_not_count() -> None:
    figures = np.arange(5.0)[:, None] + np.array([0.0, 3.0, -9.0])
    found = reliability(scores(figures))
    assert found is not None
    assert (found.mean, found.single, found.low) == pytest.approx((1.0, 1.0, 1.0))


def test_chance_alone_is_no_ranking_and_too_little_has_no_reliability() -> None:
    found = reliability(scores(np.random.default_rng(1).normal(size=(40, 3))))
    assert found is not None
    assert found.low == 0
    assert found.mean < 0.4
    assert reliability(scores(np.ones((4, 1)))) is None
    assert reliability(scores(np.ones((2, 5)))) is None
    assert reliability(scores(np.ones((4, 3)))) is None
    assert reliability({}) is None


def test_networks_that_lack_a_seed_are_left_out() -> None:
    of = scores(np.random.default_rng(0).normal(size=(6, 3)))
    del of["v5"][2]
    found = reliability(of)
    assert found is not None
    assert found.networks == 5


def test_it_says_how_rankings_by_other_seeds_would_correlate() -> None:
    rng = np.random.default_rng(0)
    networks = rng.normal(size=(4000, 1))
    one, other = (networks + 0.8 * rng.normal(size=(4000, 3)) for _ in range(2))
    found = reliability(scores(one[:400]))
    assert found is not None
    correlation = np.corrcoef(one.mean(axis=1), other.mean(axis=1))[0, 1]
    assert found.low < correlation < found.high
