"""Scoring fewer images: how many, which, and that it is said."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unet_bench.data.dataset import FEWEST_SCORED, Dataset, Sample, with_fewer_scored


def dataset(count: int, side: int = 16, rare: int = 0) -> Dataset:
    def sample(split: str, number: int) -> Sample:
        mask = np.zeros((side, side), np.uint8)
        mask[0, 0] = 2 if number < rare else 1
        return Sample(f"{split}{number}", np.full((side, side, 1), number % 256, np.uint8), mask)

    val, test = (tuple(sample(split, n) for n in range(count)) for split in ("val", "test"))
    return Dataset("many", ("a", "b", "c"), 1, (sample("train", 0),), val, test)


@given(st.integers(1, 60), st.integers(1, 40), st.sampled_from([16, 40]))
def test_as_many_as_asked_for_in_tiles_but_a_few(count: int, most: int, side: int) -> None:
    fewer = with_fewer_scored(dataset(count, side), (16, 16), most)
    tiles = 1 if side == 16 else 9
    fewest = min(count, FEWEST_SCORED, most)
    expected = count if count * tiles <= most else max(most // tiles, fewest)
    assert (len(fewer.val), len(fewer.test), len(fewer.train)) == (expected, expected, 1)
    assert len({sample.name for sample in fewer.test}) == expected
    assert bool(fewer.notes) == (expected < count)


def test_a_draw_repeats_itself_and_has_each_class_in_its_share() -> None:
    fewer = [with_fewer_scored(dataset(200, rare=50), (16, 16), 20) for _ in range(2)]
    assert fewer[0].hash == fewer[1].hash != dataset(200, rare=50).hash
    rare = sum((sample.mask == 2).any() for sample in fewer[0].test)
    assert rare in (4, 5, 6)
    assert "20 of 200 test images" in fewer[0].notes[0]
