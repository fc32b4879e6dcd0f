"""The sweep over sorted points finds what comparing every pair of points does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_bench.stats.pareto import undominated


def by_pairs(points: np.ndarray) -> list[bool]:
    """Whether no other point (dimension, network) is nowhere above and somewhere below each."""
    columns = points.T
    return [not any((one <= own).all() and (one < own).any() for one in columns) for own in columns]


@given(
    st.integers(1, 3).flatmap(
        lambda dimensions: arrays(
            float,
            st.tuples(st.just(dimensions), st.integers(1, 9), st.integers(1, 3)),
            elements=st.integers(0, 4).map(float),
        )
    )
)
def test_it_is_what_every_pair_says_with_ties_and_twins(values: np.ndarray) -> None:
    found = undominated(values)
    for draw in range(values.shape[2]):
        assert found[:, draw].tolist() == by_pairs(values[:, :, draw])


def test_more_than_three_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        undominated(np.zeros((4, 2, 1)))
