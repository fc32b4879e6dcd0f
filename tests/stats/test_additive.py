"""The slot model: effects that are there are found, and what is not known is said to be unknown."""

from __future__ import annotations

import itertools
from random import Random

import numpy as np
import pytest

from unet_bench.stats.additive import additive_model

CHOICES = {"up": ("a", "b", "c"), "norm": ("x", "y"), "depth": ("4", "3", "2")}
POINTS = [
    dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())
]
TRUE = {("up", "b"): 0.03, ("up", "c"): -0.02, ("norm", "y"): 0.0, ("depth", "2"): -0.05}


def dice(point: dict[str, str], noise: float) -> float:
    return 0.8 + sum(TRUE.get(item, 0.0) for item in point.items()) + noise


def test_effects_are_found() -> None:
    chance = Random(0)
    model = additive_model(CHOICES, POINTS, [dice(p, chance.gauss(0, 0.005)) for p in POINTS])
    found = model.effects()
    for value, effect in found.items():
        true = TRUE.get(value, 0.0)
        assert effect.value == pytest.approx(true, abs=0.01)
        assert effect.low < true < effect.high
    assert found["depth", "2"].high < 0 < found["up", "b"].low
    assert model.mean[0] == pytest.approx(0.8, abs=0.01)


def test_intervals_hold_what_is_true() -> None:
    inside = total = 0
    for seed in range(60):
        chance = Random(seed)
        points = chance.sample(POINTS, 12)
        found = additive_model(CHOICES, points, [dice(p, chance.gauss(0, 0.02)) for p in points])
        for value, effect in found.effects().items():
            inside += effect.low <= TRUE.get(value, 0.0) <= effect.high
            total += 1
    assert inside / total > 0.85


def test_without_trainings_nothing_is_known() -> None:
    found = additive_model(CHOICES, [], []).effects()
    assert all(effect.value == 0 and effect.half > 0.02 for effect in found.values())


def test_few_trainings_shrink_effects_and_draws_scatter() -> None:
    model = additive_model(CHOICES, POINTS[:2], [0.8, 0.7])
    assert max(abs(effect.value) for effect in model.effects().values()) < 0.1
    draws = np.array([model.sampled(np.random.default_rng(seed)) for seed in range(50)])
    assert draws[:, 1:].std(axis=0).min() > 0.005


def test_a_network_that_failed_to_learn_does_not_drown_the_others() -> None:
    values = [dice(point, 0.0) for point in POINTS]
    values[5] = 0.01
    found = additive_model(CHOICES, POINTS, values).effects()
    assert found["up", "b"].value > 0.005 > found["up", "c"].value
