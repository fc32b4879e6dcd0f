"""What some images can tell apart: the power of a paired comparison, from a run's own spread."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.power import TTestPower

from unet_bench.analysis.resolution import resolutions
from unet_bench.errors import StoreError
from unet_bench.present.resolution import resolution_document
from unet_bench.stats.power import effect_found

TINY = ("--width-scale", "0.0625", "--size", "32x32", "--steps", "3", "--eval-images", "6")


@pytest.mark.parametrize("pairs", [3, 5, 10, 20, 100])
def test_the_effect_that_is_found_is_that_of_the_noncentral_t(pairs: int) -> None:
    expected = TTestPower().solve_power(nobs=pairs, alpha=0.05, power=0.8)
    assert effect_found(pairs) == pytest.approx(float(expected), rel=2e-3)


def test_a_difference_of_that_size_is_found_in_four_of_five_cases() -> None:
    rng, pairs = np.random.default_rng(0), 3
    drawn = rng.normal(effect_found(pairs), 1, (20_000, pairs))
    limit = 4.302653 * drawn.std(1, ddof=1) / pairs**0.5
    assert (abs(drawn.mean(1)) > limit).mean() == pytest.approx(0.8, abs=0.01)


def cells(dice: dict[str, list[float | None]], **columns: object) -> pd.DataFrame:
    rows = [
        {"variant": name, "seed": seed, "dice": value}
        for name, values in dice.items()
        for seed, value in enumerate(values)
        if value is not None
    ]
    usual = {
        "probe": "accuracy", "status": "ok", "trivial": False, "task": "mine", "fold": None,
        "train_images": 20, "test_images": 8, "dice_ci_low": None, "dice_ci_high": None,
    }  # fmt: skip
    return pd.DataFrame(rows).assign(**{**usual, **columns})


def test_only_what_seeds_do_not_share_counts() -> None:
    """Both move together by 0.1 from seed to seed; their difference by 0.01."""
    [found] = resolutions(cells({"a": [0.5, 0.6, 0.7], "b": [0.51, 0.6, 0.69]}))
    assert found.sd == pytest.approx(0.01)
    assert found.smallest(3) == pytest.approx(0.01 * effect_found(3))
    assert (found.trainings, found.train_images, found.test_images) == (3, 20, 8)
    assert found.other_images is None


def test_seeds_that_one_lacks_and_baselines_without_training_do_not_count() -> None:
    frame = cells({"a": [0.5, 0.6, 0.7], "b": [0.51, 0.6, None], "floor": [0.1, 0.9, 0.1]})
    frame["trivial"] = frame["variant"] == "floor"
    [found] = resolutions(frame)
    assert found.networks == ("a", "b")
    assert found.sd == pytest.approx(np.std([0.01, 0.0], ddof=1))


def test_unlike_trainings_are_told_apart() -> None:
    short = cells({"a": [0.2, 0.3], "b": [0.1, 0.4]}, budget="10 steps")
    long = cells({"a": [0.8, 0.8], "b": [0.8, 0.81]}, budget="90 steps")
    assert [one.sd > 0.1 for one in resolutions(pd.concat([short, long]))] == [True, False]


def test_one_training_each_says_nothing() -> None:
    with pytest.raises(StoreError, match="--seeds 0,1,2"):
        resolutions(cells({"a": [0.5], "b": [0.6]}))


def test_a_page_says_what_seeds_help_against() -> None:
    frame = cells({"a": [0.5, 0.6, 0.7], "b": [0.51, 0.6, 0.69]})
    said = str(resolution_document(resolutions(frame)).rendered("md"))
    assert "with 3 seeds a difference of 0.033 Dice can be found" in said
    assert "too few to say how other images would differ" in said
    frame = frame.assign(dice_ci_low=0.4, dice_ci_high=0.6)
    assert "by up to 0.100 (8 scored)" in str(
        resolution_document(resolutions(frame)).rendered("md")
    )


def test_a_pilot_trains_and_a_run_does_not(unet_bench, tmp_path) -> None:
    words = ("--variants", "unet,unet-shallow", "--seeds", "0,1", *TINY)
    done = unet_bench("data", "resolve", "cells", *words, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [row["seeds"] for row in told] == [2, 3, 5, 10, 20]
    [run] = (tmp_path / "results").iterdir()
    again = unet_bench("data", "resolve", str(run), "--json")
    assert json.loads(again.stdout) == told
